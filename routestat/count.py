"""python -m routestat.count TRACES --out FILE: the tables of a trace, or of one part of it, as a file.

A command only: ``routestat.count`` is the function of that name, which importing this module would hide.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from routestat.cli import options
from routestat.cli.open_trace import opened_trace
from routestat.cli.output_folders import check_out_file
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app, parse_layers, require_tokens, run
from routestat.counting import counts
from routestat.counting.context import parse_contexts
from routestat.errors import RoutestatError
from routestat.progress import Progress, limited_threads
from routestat.traces.document_stretches import in_stretches
from routestat.traces.parts import check_part, parse_part, part_of
from routestat.traces.store import Trace

if __name__ == "routestat.count":
    raise ImportError(
        "routestat.count is a function and, as python -m routestat.count, a command; no module to import"
    )

app = new_app()


@app.command()
def count(
    traces: options.TraceFolder,
    out: Annotated[Path, typer.Option(help="File of the counts, such as part-03.counts.")],
    layers: options.Layers = "all",
    part: Annotated[
        str,
        typer.Option(
            metavar="K/N",
            help="Count only part K of N, such as 3/16: whole documents, cut evenly by rows; merge adds them.",
        ),
    ] = "1/1",
    contexts: Annotated[
        str,
        typer.Option(
            help="What to condition on, separated by commas: nothing, layer-N (N layers before), token-N (N tokens "
            "before), or several joined by +, such as layer-2+layer-1. The three that are given if none is are those "
            "that analyze needs."
        ),
    ] = "nothing,layer-1,token-1",
    states: Annotated[
        str,
        typer.Option(
            help="What is counted: subset (sets of experts), expert, or auto: subset if there are few."
        ),
    ] = "auto",
    groups: options.Groups = 256,
    threads: options.Threads = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    cluster: options.Cluster = None,
    template: options.Template = "once",
    drop_dummy_rows: options.DummyRows = False,
) -> None:
    """Count a trace into a file, whole or one part of it.

    The parts of a trace can be counted by any number of machines; routestat.merge adds them to exactly what one process
    counts.

    Example: python -m routestat.count data/traces/tiny-mixtral --part 3/16 --out counts/part-03.counts
    """
    wanted, conditions, (number, of) = parse_layers(layers), parse_contexts(contexts), parse_part(part)
    how: dict[str, Any] = {
        "cluster": cluster,
        "template": template,
        "dummy_rows": "drop" if drop_dummy_rows else "keep",
    }
    if of > 1 and (workers is not None or scheduler is not None):
        raise RoutestatError(
            "--part counts one part here, --workers and --scheduler divide the trace themselves"
        )
    check_out_file(out)

    def counted(trace: Trace, progress: Progress) -> counts.Counts:
        require_tokens(trace, wanted)
        return counts.count(
            trace, wanted, conditions, groups, states=states, threads=threads, progress=progress
        )

    with ProgressBars() as ticker, limited_threads(threads):
        checking, counting = ticker.of("checking"), ticker.of("counting")
        if of == 1:
            with opened_trace(traces, checking, workers, scheduler, **how) as trace:
                found = counted(trace, counting)
        else:
            # The rest of the trace is checked by those who count it.
            one = part_of(in_stretches(Trace.open(traces, verify=False, **how)), number, of)
            check_part(one, checking)
            size = one.rows.stop - one.rows.start
            found = counted(one, lambda done, _: counting(min(done, size), size))
        found.save(out)
    what = f"part {number} of {of}: " if of > 1 else ""
    print(f"{what}{found.n_tokens:,} tokens of {found.n_documents:,} documents counted: {out}")


def main() -> None:
    """Entry of ``python -m routestat.count``."""
    sys.exit(run(app, "routestat count"))


if __name__ == "__main__":
    main()
