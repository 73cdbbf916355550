"""python -m routestat.predict RUN --layer 5 --after 2,3/1,7: the next choices after an observed history.

With ``--board`` it scores all predictors of a trace instead.
"""

import json
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from routestat.cli import options
from routestat.cli.board_source import (
    BoardSource,
    board_source,
    given_options,
    parse_horizons,
    require_one_use,
)
from routestat.cli.open_run import open_run
from routestat.cli.open_trace import opened_trace
from routestat.cli.output_folders import check_out, keep_traces_apart
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.queries import QueryAnswerer, QueryOptions, Record
from routestat.cli.runner import new_app, parse_order, require_tokens, run
from routestat.counting.counts import count
from routestat.errors import RoutestatError
from routestat.forecast.specification import BoardPlan
from routestat.inference.smoothing.prior import parse_alpha
from routestat.progress import limited_threads, silent
from routestat.report.html.study import write_report
from routestat.report.terminal.study import summarise
from routestat.study.expected_time import expected_seconds
from routestat.study.trace_study import study
from routestat.traces.locations import locate
from routestat.traces.manifest import replace_file

app = new_app()
#: Parts of the study of a board.
PARTS = ("prediction",)
#: Predictions that a stream keeps for repeated queries.
KEPT = 1 << 14


@app.command()
def predict(
    context: typer.Context,
    run_folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", parser=locate, help="A report that analyze wrote, or a trace."),
    ],
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
    board: Annotated[
        bool,
        typer.Option(
            "--board",
            help="Score all predictors on held-out documents of the trace, or of the report's trace with the layers "
            "and options of the report, and write a report on them.",
        ),
    ] = False,
    layers: Annotated[
        str | None,
        typer.Option(
            help="With --board: layers, such as 0-31 or 0,4,8, or all (if not given: the report's, or all)."
        ),
    ] = None,
    horizons: Annotated[
        str, typer.Option(help="With --board: how many layers ahead to predict, such as 1-8 or 1,2,4.")
    ] = "1-8",
    network: Annotated[
        bool,
        typer.Option(
            "--network", help="With --board: also train a small neural network (minutes; needs torch)."
        ),
    ] = False,
    groups: Annotated[
        int | None, typer.Option(min=1, help="With --board: groups of whole documents (if not given: 256).")
    ] = None,
    threads: options.Threads = None,
    cluster: options.Cluster = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="With --board: a beginning that most documents share: count it once, drop it, or keep it in every "
            "document."
        ),
    ] = None,
    drop_dummy_rows: options.DummyRows = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="Read LAYER and history, such as 5 2,3/1,7, line by line; write JSON lines."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the predictions to this JSON file too; with --board, the folder of the report (if not given: "
            "reports/board- and the trace's name)."
        ),
    ] = None,
) -> None:
    """Predict the choices after an observed history, with probabilities and credible intervals.

    Example: python -m routestat.predict reports/tiny-mixtral --layer 5 --after 12

    With --board: score all predictors of a trace, on documents that they were not fitted on.

    Example: python -m routestat.predict --board data/traces/tiny-mixtral --layers 0-7
    """
    require_one_use(given_options(context), board)
    if board:
        source = board_source(run_folder, layers, cluster, template, drop_dummy_rows, groups)
        plan = BoardPlan(
            parse_alpha(alpha or source.alpha),
            parse_horizons(horizons),
            network=network,
            seed=seed,
            threads=threads,
        )
        _make_board(source, plan, out)
        return
    if not isinstance(run_folder, Path):
        raise RoutestatError(f"{run_folder}: expected a folder of this machine, got a URL; copy it first")
    if not 0 < level < 1:
        raise RoutestatError(f"--level is a share between 0 and 1, such as 0.95, got {level}")
    if out is not None and out.is_dir():
        raise RoutestatError(f"--out {out} is a folder; name a .json file")
    query_options = QueryOptions(ahead, parse_order(order), top, level, seed)
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
    _show(record, close, answers.is_state_view)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, json.dumps(record, indent=1, allow_nan=False).encode())


def _make_board(source: BoardSource, plan: BoardPlan, out: Path | None) -> None:
    """Score the predictors of a trace, write the report on them, and print the board."""
    how: dict[str, Any] = {
        "cluster": source.cluster,
        "template": source.template,
        "dummy_rows": source.dummy_rows,
    }
    with (
        ProgressBars() as ticker,
        limited_threads(plan.threads),
        opened_trace(source.trace, ticker.of("checking"), layers=source.layers, **how) as trace,
    ):
        source.require_unchanged(trace)
        require_tokens(trace, source.layers)
        folder = out or Path("reports") / f"board-{source.trace.resolve().name}"
        keep_traces_apart(folder)
        if source.run is not None and folder.resolve() == source.run.resolve():
            raise RoutestatError(f"--out {folder} is the report that is read; name another folder")
        check_out(folder)
        counts = count(
            trace, source.layers, groups=source.groups, threads=plan.threads, progress=ticker.of("counting")
        )
        ticker.expect(expected_seconds(counts, PARTS, len(plan.horizons)))
        findings = study(
            trace,
            counts,
            None,
            np.random.default_rng(plan.seed),
            parts=PARTS,
            alpha=plan.alpha,
            plan=plan,
            threads=plan.threads,
            tick=ticker,
        )
        page = write_report(findings, folder, tick=ticker, threads=plan.threads)
    summarise(findings, page)


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


def _show(record: Record, close: str, states: bool) -> None:
    console = Console()
    used = record["history"][-max(record["order"], 1) :]
    chose = [f"layer {one['layer']} experts {', '.join(map(str, one['experts']))}" for one in used]
    seen = f"{record['n_tokens']:,} tokens did"
    if record["order"] == 0:
        seen = f"the prediction rests on {record['n_tokens']:,} tokens, whatever they chose"
    elif not states:
        seen = f"the rarest of these was chosen by {record['n_tokens']:,} tokens"
    text = " and ".join(chose).replace(" experts", " chose experts", 1).capitalize()
    console.print(f"{text} ({seen}). Layer {record['next_layer']} then chooses:", highlight=False)
    table = Table(box=None, pad_edge=False)
    columns = ["state", "experts"] if states else ["expert"]
    for name in (*columns, "probability", f"{100 * record['level']:g}% credible"):
        table.add_column(name, justify="right")
    for row in record["predictions"]:
        low, high = row["interval"]
        cells = [str(row["state"]), ", ".join(map(str, row["experts"]))] if states else [str(row["expert"])]
        limits = "unknown" if low is None or high is None else f"{low:.4f} – {high:.4f}"
        table.add_row(*cells, f"{row['probability']:.4f}", limits)
    console.print(table)
    for line in (*record["notes"], close):
        console.print(line, highlight=False, soft_wrap=True)


def main() -> None:
    """Entry of ``python -m routestat.predict``."""
    sys.exit(run(app, "routestat predict"))


if __name__ == "__main__":
    main()
