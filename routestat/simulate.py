"""python -m routestat.simulate TRACE: what policies of a cache and predictions cost and save."""

import sys
from typing import Any

from routestat.cli import options, simulation_options, structure_options
from routestat.cli.open_trace import opened_trace
from routestat.cli.output_folders import checked_out, keep_traces_apart, named_folder
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app, parse_layers, require_tokens, run
from routestat.cli.simulation_options import SimulationTexts, simulation_plan
from routestat.progress import limited_threads
from routestat.report.html.simulation import write_simulation
from routestat.report.terminal.simulation import summarise
from routestat.study.simulation import simulate as simulate_trace

app = new_app()


@app.command()
def simulate(
    trace: options.TraceFolder,
    layers: options.Layers = "all",
    capacity: simulation_options.Capacity = "",
    policy: simulation_options.Policy = simulation_options.POLICIES_SHOWN,
    scope: simulation_options.Scope = "layer",
    start: simulation_options.Start = "cold",
    predictor: simulation_options.Predictors = "",
    lookahead: simulation_options.Lookahead = "",
    prefetch: simulation_options.Prefetch = "",
    batch: simulation_options.Batch = 1,
    prefill_chunk: simulation_options.PrefillChunk = 1,
    half_life: simulation_options.HalfLife = 128.0,
    expert_bytes: simulation_options.ExpertBytes = None,
    bandwidth: simulation_options.Bandwidth = None,
    memory: simulation_options.Memory = None,
    compute: simulation_options.Compute = "0ms",
    model_config: structure_options.ModelConfig = None,
    stall_budget: simulation_options.StallBudget = None,
    tokens: simulation_options.Tokens = "",
    out: options.ServingFolder = None,
    threads: options.Threads = None,
    cluster: options.Cluster = None,
    template: options.Template = "once",
    drop_dummy_rows: options.DummyRows = False,
    seed: options.Seed = 0,
) -> None:
    """Replay a trace through caches of experts, with and without prefetching.

    How many experts each policy loads, what perfect knowledge would save, and what predictions reach of that; with the
    size of an expert and a bandwidth also bytes and the time that tokens wait.

    Example: python -m routestat.simulate data/traces/tiny-mixtral --capacity 2,4,6

    With a machine: what 18 GB for experts cost, and the smallest memory with which a token waits no longer than 10 ms.

    Example: python -m routestat.simulate traces/mine --expert-bytes 352MB --bandwidth 25 --compute 0.2ms
    --memory 18GB --stall-budget 10ms
    """
    given = SimulationTexts(
        layers, capacity, policy, scope, start, predictor, lookahead, prefetch, batch, prefill_chunk, half_life,
        expert_bytes, bandwidth, memory, compute, model_config, stall_budget, tokens, threads, cluster, template,
        drop_dummy_rows, seed,
    )  # fmt: skip
    wanted = parse_layers(layers)
    plan = simulation_plan(given, wanted)
    how: dict[str, Any] = {
        "cluster": cluster,
        "template": template,
        "dummy_rows": "drop" if drop_dummy_rows else "keep",
    }
    with (
        ProgressBars() as ticker,
        limited_threads(threads),
        opened_trace(trace, ticker.of("checking"), layers=wanted, **how) as opened,
    ):
        require_tokens(opened, wanted)
        folder = out or named_folder("simulate", trace.resolve().name)
        keep_traces_apart(folder)
        with checked_out(folder):
            findings = simulate_trace(opened, plan, ticker)
            page = write_simulation(findings, folder, ticker)
    summarise(findings, page)


def main() -> None:
    """Entry of ``python -m routestat.simulate``."""
    sys.exit(run(app, "routestat simulate"))


if __name__ == "__main__":
    main()
