"""python -m routestat.analyze TRACES --layers 0-31: the report on one trace."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from routestat.cli import options, structure_options
from routestat.cli.open_trace import counts_from_file, opened_trace
from routestat.cli.output_folders import check_out, keep_traces_apart
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app, parse_layers, parse_names, parse_order, require_tokens, run
from routestat.counting.counts import MAX_STATES, count
from routestat.counting.paths import count_paths
from routestat.errors import RoutestatError
from routestat.inference.smoothing.prior import parse_alpha
from routestat.progress import limited_threads
from routestat.report.html.study import write_report
from routestat.report.terminal.study import summarise
from routestat.study.chain import NEEDS_STATES
from routestat.study.expected_time import expected_seconds
from routestat.study.parts import PARTS, choose_parts, with_needed
from routestat.study.structure_checks import require_structure
from routestat.study.trace_study import study

app = new_app()

# Loops over fewer tokens are so short that threads mostly wait for each other's hold of the interpreter.
_TOKENS_FOR_THREADS = 2_000


@app.command()
def analyze(
    traces: options.TraceFolder,
    layers: options.Layers = "all",
    out: options.ReportFolder = None,
    alpha: options.Alpha = "empirical-bayes",
    order: Annotated[
        str, typer.Option(help="Order of the chain: 0, 1, 2, or auto (chosen by held-out log loss).")
    ] = "auto",
    bayes: Annotated[
        str,
        typer.Option(help="full: also the full posterior of the smoothing (PyMC, takes minutes); or none."),
    ] = "none",
    bayes_draws: Annotated[
        int,
        typer.Option(
            min=50, help="Draws of each of the four chains of --bayes full, after as many tuning draws."
        ),
    ] = 1000,
    blocks: structure_options.Blocks = 8,
    blocks_method: structure_options.BlocksMethod = "evidence",
    blocks_matrix: structure_options.BlocksMatrix = "lift",
    paths: structure_options.Paths = 10,
    triples: structure_options.Triples = False,
    document: structure_options.Documents = None,
    tokenizer: structure_options.Tokenizer = None,
    model_config: structure_options.ModelConfig = None,
    shared_modules: structure_options.SharedModules = False,
    only: Annotated[
        str,
        typer.Option(
            metavar="PARTS",
            help=f"Compute these parts, and what they need, separated by commas: {', '.join(PARTS)}.",
        ),
    ] = "",
    skip: Annotated[
        str,
        typer.Option(
            metavar="PARTS", help="Leave these parts out, and those that need them; names as in --only."
        ),
    ] = "",
    figures: Annotated[
        bool, typer.Option(help="Draw the transitions also as files; the page has pictures of its own.")
    ] = False,
    permutations: Annotated[
        int,
        typer.Option(
            min=0, help="Slow check: number of times choices are exchanged between documents, such as 199."
        ),
    ] = 0,
    groups: options.Groups = 256,
    counts_file: Annotated[
        Path | None,
        typer.Option(
            "--counts",
            help="The trace's counts, a file that count or merge wrote: they are not counted again, and keep their "
            "groups.",
        ),
    ] = None,
    threads: options.Threads = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    cluster: options.Cluster = None,
    template: options.Template = "once",
    drop_dummy_rows: options.DummyRows = False,
    seed: options.Seed = 0,
) -> None:
    """Analyse the routing of a trace.

    The report has tests of independence, mutual information, the Markov chain over layers and how well it predicts,
    biclusters, paths, frequent windows of layers and what experts specialise in.

    Example: python -m routestat.analyze data/traces/tiny-mixtral --layers 0-31
    """
    if bayes not in ("none", "full"):
        raise RoutestatError(f"--bayes is full or none, got {bayes!r}")
    wanted, rule, requested = parse_layers(layers), parse_alpha(alpha), parse_order(order)
    shape = structure_options.structure_plan(
        blocks,
        blocks_method,
        blocks_matrix,
        paths,
        triples,
        document or (),
        tokenizer,
        model_config,
        shared_modules,
    )
    skipped = parse_names(skip)
    parts = choose_parts(parse_names(only), skipped)
    how = {"cluster": cluster, "template": template, "dummy_rows": "drop" if drop_dummy_rows else "keep"}
    with (
        ProgressBars() as ticker,
        limited_threads(threads),
        opened_trace(traces, ticker.of("checking"), workers, scheduler, wanted, **how) as trace,
    ):
        require_tokens(trace, wanted)
        require_structure(trace, wanted, shape, parts)
        if bayes == "full" and max(router.alphabet.size for router in trace.routers(wanted)) > MAX_STATES:
            raise RoutestatError(NEEDS_STATES)
        computing = threads if trace.n_counted >= _TOKENS_FOR_THREADS else 1
        folder = out or Path("reports") / traces.resolve().name
        keep_traces_apart(folder)
        check_out(folder)
        if counts_file is not None:
            counts = counts_from_file(counts_file, trace, wanted)
        else:
            counts = count(trace, wanted, groups=groups, threads=computing, progress=ticker.of("counting"))
        parts = with_needed(parts, skipped, states=counts.states, order=requested)
        ticker.expect(expected_seconds(counts, parts, triples=triples))
        observed = None
        if "paths" in parts:
            observed = count_paths(trace, wanted, paths, progress=ticker.of("following paths"))
        rng = np.random.default_rng(seed)
        findings = study(
            trace,
            counts,
            observed,
            rng,
            parts=parts,
            alpha=rule,
            order=requested,
            structure=shape,
            permutations=permutations,
            bayes_draws=bayes_draws if bayes == "full" else 0,
            threads=computing,
            tick=ticker,
        )
        page = write_report(findings, folder, figures=figures, tick=ticker, threads=threads)
    summarise(findings, page)


def main() -> None:
    """Entry of ``python -m routestat.analyze``."""
    sys.exit(run(app, "routestat analyze"))


if __name__ == "__main__":
    main()
