"""What `analyze` prints on blocks, windows and specialisation."""

from rich.console import Console
from rich.text import Text

from routestat.report.structure_sentences import structure_answers
from routestat.report.terminal.console import one_line
from routestat.study.trace_study import Study


def print_structure(console: Console, study: Study) -> None:
    """Print one paragraph on each kind of structure; paths have a part of their own.

    Parameters
    ----------
    console : Console
    study : Study
    """
    answers = [answer for answer in structure_answers(study) if answer.anchor != "paths"]
    if answers:
        console.print()
    for answer in answers:
        console.print(Text.assemble((f"{answer.title}. ", "bold"), one_line(answer.sentence)))
