"""python -m routestat.predict RUN --layer 5 --after 2,3/1,7: the next choices after an observed history.

With ``--board`` it scores all predictors of a trace instead.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from routestat.cli import options
from routestat.cli.answer_table import show_answer
from routestat.cli.board_source import (
    BoardSource,
    board_source,
    given_options,
    parse_horizons,
    require_one_use,
)
from routestat.cli.choices import Given
from routestat.cli.open_answers import open_answers
from routestat.cli.open_trace import opened_trace
from routestat.cli.output_folders import check_out, keep_traces_apart, named_folder
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.queries import QueryOptions
from routestat.cli.query_stream import answer_stream
from routestat.cli.runner import new_app, parse_order, require_tokens, run
from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.errors import RoutestatError
from routestat.forecast.specification import BoardPlan
from routestat.inference.smoothing.prior import parse_alpha
from routestat.progress import limited_threads
from routestat.report.html.study import write_report
from routestat.report.terminal.study import summarise
from routestat.study.data_set import TrainingSet
from routestat.study.expected_time import expected_seconds
from routestat.study.trace_study import study
from routestat.traces.locations import Location, locate
from routestat.traces.manifest import replace_file

app = new_app()
#: Parts of the study of a board.
PARTS = ("prediction",)


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
    experts: Annotated[
        bool, typer.Option("--experts", help="List single experts, and how many have to be fetched.")
    ] = False,
    board: Annotated[
        bool,
        typer.Option(
            "--board",
            help="Score all predictors on held-out documents of the trace, or of the report's trace with the layers "
            "and options of the report, and write a report on them.",
        ),
    ] = False,
    train: Annotated[
        Path | None,
        typer.Option(
            parser=locate,
            metavar="TRACE",
            help="With --board: also fit all predictors to this other trace of the same model, and score them on the "
            "first one.",
        ),
    ] = None,
    domains: Annotated[
        bool,
        typer.Option(
            "--domains",
            help="With --board: also predict every domain of the trace from every other (as long again as the board).",
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
    similar: Annotated[
        bool,
        typer.Option(
            "--similar",
            help="With --board: also predict from similar tokens and, with token ids, from earlier tokens of the same "
            "id (minutes).",
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
    predictor: options.Predictor = None,
    previous: options.PreviousChoices = None,
    token: options.TokenId = None,
    previous_token: options.PreviousTokenId = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read LAYER and history, such as 5 2,3/1,7, line by line, and with a ridge also previous=, token= and "
            "previous-token=; write JSON lines.",
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

    With --with: a ridge regression on everything before, calibrated on held-out documents.

    Example: python -m routestat.predict reports/tiny-mixtral --with best --layer 1 --after 2,3/1,7 --previous 1,2/3,4

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
            similar=similar,
            seed=seed,
            threads=threads,
        )
        if "--horizons" in given_options(context):
            source = replace(source, farthest=plan.horizons[-1])
        if train is not None and domains:
            raise RoutestatError("--train and --domains: expected one of the two, got both; leave one out")
        _make_board(source, plan, train, domains, out)
        return
    if not isinstance(run_folder, Path):
        raise RoutestatError(f"{run_folder}: expected a folder of this machine, got a URL; copy it first")
    if not 0 < level < 1:
        raise RoutestatError(f"--level is a share between 0 and 1, such as 0.95, got {level}")
    if out is not None and out.is_dir():
        raise RoutestatError(f"--out {out} is a folder; name a .json file")
    query_options = QueryOptions(ahead, parse_order(order), top, level, seed, experts)
    given = Given(previous, token, previous_token)
    if stream:
        if layer is not None or after is not None or out is not None or given != Given():
            raise RoutestatError(
                "--stream reads layers and histories from its lines: no --layer, --after, --previous, --token, --out"
            )
        answer_stream(open_answers(run_folder, alpha, query_options, predictor))
        return
    for name, value in (("--layer", layer), ("--after", after)):
        if value is None:
            raise RoutestatError(f"Missing option {name}: the layer whose choice is known, and that choice")
    with ProgressBars() as ticker:
        answer = open_answers(run_folder, alpha, query_options, predictor, ticker)
        record, close = answer(int(layer or 0), str(after), given)
    show_answer(record, close)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, json.dumps(record, indent=1, allow_nan=False).encode())


def _make_board(
    source: BoardSource, plan: BoardPlan, train: Location | None, domains: bool, out: Path | None
) -> None:
    """Score the predictors of a trace, write the report on them, and print the board."""
    how: dict[str, Any] = {
        "template": source.template,
        "dummy_rows": source.dummy_rows,
    }
    with (
        ProgressBars() as ticker,
        limited_threads(plan.threads),
        opened_trace(
            source.trace, ticker.of("checking"), layers=source.layers, cluster=source.cluster, **how
        ) as trace,
    ):
        source.require_unchanged(trace)
        require_tokens(trace, source.layers)
        source.require_horizons(len(trace.routers(source.layers)))
        folder = out or named_folder("board", source.trace.resolve().name)
        keep_traces_apart(folder)
        if source.run is not None and folder.resolve() == source.run.resolve():
            raise RoutestatError(f"--out {folder} is the report that is read; name another folder")
        check_out(folder)
        training = None if train is None else _training_set(train, source, ticker, how)
        counts = count(
            trace, source.layers, groups=source.groups, threads=plan.threads, progress=ticker.of("counting")
        )
        ticker.expect(expected_seconds(counts, PARTS, plan))
        findings = study(
            trace,
            counts,
            None,
            np.random.default_rng(plan.seed),
            parts=PARTS,
            alpha=plan.alpha,
            plan=plan,
            data_set=True,
            training=training,
            domains=domains,
            threads=plan.threads,
            tick=ticker,
        )
        page = write_report(findings, folder, tick=ticker, threads=plan.threads)
    summarise(findings, page)


def _training_set(
    train: Location, source: BoardSource, ticker: ProgressBars, how: dict[str, Any]
) -> TrainingSet:
    """Read the documents of another trace, in clusters of its own."""
    with opened_trace(train, ticker.of("checking the training set"), layers=source.layers, **how) as other:
        require_tokens(other, source.layers)
        progress = ticker.of("reading the training set")
        sample = take_sample(other, source.layers, source.groups, progress=progress)
        return TrainingSet(other.meta, sample)


def main() -> None:
    """Entry of ``python -m routestat.predict``."""
    sys.exit(run(app, "routestat predict"))


if __name__ == "__main__":
    main()
