"""The whole-depth paths that `analyze` prints."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from routestat.report.numbers import experts_words, many, number
from routestat.report.path_sentences import path_sentences
from routestat.report.terminal.console import print_titled
from routestat.study.routes import PathFinding
from routestat.study.trace_study import Study
from routestat.traces.metadata import Router

TOP_PATHS = 3
# Layers of a path shown on one line; the report has all of them.
PATH_LAYERS = 6


def print_paths(console: Console, study: Study, found: PathFinding) -> None:
    """Print the sentences on the paths, and the first layers of the most probable ones."""
    answer, *further = path_sentences(found, study.states)
    lines = []
    rows = zip(found.dominant.states, found.dominant_expected, found.dominant_tokens, strict=True)
    for states, expected, tokens in list(rows)[:TOP_PATHS]:
        words = [
            _word(router, int(state), study.states)
            for router, state in zip(study.routers, states, strict=True)
        ]
        lines.append(
            f"{_shown(words)}   {number(float(expected))} tokens expected, taken by {many(int(tokens), 'token')}"
        )
    print_titled(
        console, "Most probable paths through all layers (not tested)", Text(answer), [*lines, *further]
    )


def _shown(words: Sequence[str]) -> str:
    return " → ".join(words[:PATH_LAYERS]) + (" → …" if len(words) > PATH_LAYERS else "")


def _word(router: Router, state: int, view: str) -> str:
    return experts_words([state] if view == "expert" else router.alphabet.unrank(state).tolist())
