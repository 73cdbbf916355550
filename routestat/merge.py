"""python -m routestat.merge FILES --out FILE: the counts of the parts of a trace, added."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from routestat.cli.output_folders import check_out_file
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app, run
from routestat.counting.counts import Counts
from routestat.counting.counts_sum import Sum

app = new_app()


@app.command()
def merge(
    files: Annotated[
        list[Path], typer.Argument(help="Files that count wrote, each of another part of one trace.")
    ],
    out: Annotated[Path, typer.Option(help="File of the sum, such as all.counts.")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Add the parts that are there, though others are missing.")
    ] = False,
) -> None:
    """Add the counts of the parts of a trace: exactly what counting all of it at once gives.

    Example: python -m routestat.merge counts/part-*.counts --out counts/all.counts
    """
    check_out_file(out)
    total = Sum()
    with ProgressBars() as ticker:
        for done, file in enumerate(files, start=1):
            total.add(Counts.load(file), str(file))
            ticker("adding", done, len(files))
        found, missing = total.finished(allow_missing)
        found.save(out)
    if missing:
        print(f"warning: {missing} missing: {out} holds the rest", file=sys.stderr)
    print(f"{len(files)} files: {found.n_tokens:,} tokens of {found.n_documents:,} documents: {out}")


def main() -> None:
    """Entry of ``python -m routestat.merge``."""
    sys.exit(run(app, "routestat merge"))


if __name__ == "__main__":
    main()
