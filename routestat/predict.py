"""python -m routestat.predict RUN --layer 5 --after 2,3/1,7: the next choices after an observed history."""

import json
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import typer

from routestat.cli import options
from routestat.cli.answer_table import show_answer
from routestat.cli.open_run import open_run
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.queries import QueryAnswerer, QueryOptions
from routestat.cli.runner import new_app, parse_order, run
from routestat.errors import RoutestatError
from routestat.progress import silent
from routestat.traces.manifest import replace_file

app = new_app()
#: Predictions that a stream keeps for repeated queries.
KEPT = 1 << 14


@app.command()
def predict(
    run_folder: options.RunFolder,
    layer: Annotated[int | None, typer.Option(help="The layer whose choice is known.")] = None,
    after: Annotated[
        str | None,
        typer.Option(
            help="Its choice: a state (12) or its experts (1,7). Choices of earlier layers go first, separated by /: "
            "2,3/1,7."
        ),
    ] = None,
    ahead: Annotated[int, typer.Option(min=1, help="Number of layers ahead.")] = 1,
    order: Annotated[
        str,
        typer.Option(
            help="Number of earlier layers to use: 0, 1, 2, or auto: the order chosen in the report; for a trace 1, "
            "or 2 if two choices are known."
        ),
    ] = "auto",
    top: options.TopRows = 5,
    level: Annotated[float, typer.Option(help="Level of the credible intervals.")] = 0.95,
    alpha: options.AlphaOfTrace = "",
    seed: options.Seed = 0,
    experts: Annotated[
        bool, typer.Option("--experts", help="List single experts, and how many have to be fetched.")
    ] = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="Read LAYER and history, such as 5 2,3/1,7, line by line; write JSON lines."
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the predictions to this JSON file too.")] = None,
) -> None:
    """Predict the choices after an observed history, with probabilities and credible intervals.

    Example: python -m routestat.predict reports/tiny-mixtral --layer 5 --after 12
    """
    if not 0 < level < 1:
        raise RoutestatError(f"--level is a share between 0 and 1, such as 0.95, got {level}")
    if out is not None and out.is_dir():
        raise RoutestatError(f"--out {out} is a folder; name a .json file")
    query_options = QueryOptions(ahead, parse_order(order), top, level, seed, experts)
    if stream:
        if layer is not None or after is not None or out is not None:
            raise RoutestatError(
                "--stream reads layers and histories from its lines: no --layer, --after, --out"
            )
        _stream(QueryAnswerer(open_run(run_folder, alpha, silent), query_options))
        return
    for name, given in (("--layer", layer), ("--after", after)):
        if given is None:
            raise RoutestatError(f"Missing option {name}: the layer whose choice is known, and that choice")
    with ProgressBars() as ticker:
        answers = QueryAnswerer(open_run(run_folder, alpha, ticker), query_options, ticker)
        record, close = answers.answer(int(layer or 0), str(after))
    show_answer(record, close)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, json.dumps(record, indent=1, allow_nan=False).encode())


def _stream(answers: QueryAnswerer) -> None:
    """Write one JSON line for each line of standard input, as soon as it is read."""
    kept = lru_cache(KEPT)(lambda query: _line(answers, query))
    bad = number = 0
    try:
        for number, text in enumerate(sys.stdin, 1):
            query = text.strip()
            if not query or query.startswith("#"):
                continue
            try:
                said = kept(query)
            except RoutestatError as error:
                bad += 1
                said = json.dumps({"line": number, "error": " ".join(str(error).split())})
            print(said, flush=True)
    except BrokenPipeError:
        # The reader has closed the pipe; what is left in the buffer must not raise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if bad:
        raise RoutestatError(f"{bad} of {number} lines had no answer; each states the reason")


def _line(answers: QueryAnswerer, query: str) -> str:
    layer, _, history = query.replace("\t", " ").partition(" ")
    try:
        number = int(layer)
    except ValueError:
        raise RoutestatError(f"a line is LAYER HISTORY, such as 5 2,3/1,7; got {query[:60]!r}") from None
    return json.dumps(answers.answer(number, history)[0], allow_nan=False)


def main() -> None:
    """Entry of ``python -m routestat.predict``."""
    sys.exit(run(app, "routestat predict"))


if __name__ == "__main__":
    main()
