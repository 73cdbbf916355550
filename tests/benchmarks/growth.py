"""How time and memory grow with tokens, layers, experts and workers."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from routestat.counting.counts import count
from routestat.traces import synthetic
from routestat.traces.store import Trace
from tests.benchmarks.contenders import ADJACENT
from tests.benchmarks.counting import generate, lengths_of
from tests.benchmarks.machine import in_turns, ratio, text_table
from tests.benchmarks.memory import peak_of, write_repeated
from tests.benchmarks.processes import measure
from tests.benchmarks.reports import Report

LAYERS, MEAN_LENGTH, ROUNDS = 4, 2_000, 3
EXPERTS = (8, 16, 32, 64, 128, 256, 512)
PEAK_MARGIN = 0.10


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of a line fitted to logarithms: the exponent of growth."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _table(name: str, sizes: Sequence[int], times: Sequence[float], per: Sequence[float]) -> list[str]:
    rows = [
        [f"{size:,}", f"{1e3 * time:,.1f}", f"{1e9 * time / each:.3f}"]
        for size, time, each in zip(sizes, times, per, strict=True)
    ]
    return text_table([name, "ms", "ns a token and pair"], rows)


def bench_tokens(report: Report, folder: Path, quick: bool) -> None:
    """10⁵ to 10⁸ tokens from shards; peak memory in processes of their own."""
    block = 10_000 if quick else 1_000_000
    made = generate(block, LAYERS, MEAN_LENGTH)
    small = generate(block // 10, LAYERS, MEAN_LENGTH)
    stores = {block // 10: write_repeated(small, folder / "tokens-0", 1)}
    for repeats in (1, 10, 100):
        print(f"writing {repeats * block:,} tokens", flush=True)
        stores[repeats * block] = write_repeated(made, folder / f"tokens-{repeats}", repeats)
    traces = {tokens: Trace.open(path, verify=False) for tokens, path in stores.items()}

    def counted(trace: Trace) -> None:
        if count(trace, contexts=[ADJACENT]).n_tokens != trace.n_tokens:
            raise RuntimeError("not every token was counted")

    times = in_turns(
        {str(tokens): lambda trace=trace: counted(trace) for tokens, trace in traces.items()}, ROUNDS
    )
    sizes, found = list(stores), list(times.values())
    documents = traces[sizes[-1]].documents.num_rows
    report.add(
        f"Tokens: counting from shards, {LAYERS} layers, 2 of 8 experts, all threads",
        f"Slope of the log–log fit: {slope(sizes, found):.2f} over all sizes, {slope(sizes[1:], found[1:]):.2f} from "
        f"{sizes[1]:,} on (1: proportional). The stores repeat the same choices in documents of {MEAN_LENGTH:,} tokens "
        f"on average, {documents:,} documents in the largest.",
        _table("tokens", sizes, found, [(LAYERS - 1) * size for size in sizes]),
    )
    peaks = {tokens: peak_of(stores[tokens])[0] for tokens in (sizes[1], sizes[-1])}
    few, many = peaks.values()
    more = many / few - 1
    report.add(
        "Peak memory of counting",
        f"A process that opens the store without verification and counts it: {100 * more:+.1f} % with a hundred times "
        f"the tokens ({100 * PEAK_MARGIN:.0f} % are allowed). All documents are listed in memory.",
        text_table(["tokens", "peak MiB"], [[f"{n:,}", f"{peak:.1f}"] for n, peak in peaks.items()]),
    )


def bench_layers(report: Report, tokens: int) -> None:
    """2 to 64 layers in memory."""
    sizes = (2, 4, 8, 16, 32, 64)
    traces = [synthetic.to_trace(generate(tokens, layers)) for layers in sizes]
    times = in_turns(
        {str(n): lambda t=t: count(t, contexts=[ADJACENT]) for n, t in zip(sizes, traces, strict=True)},
        ROUNDS,
    )
    found = list(times.values())
    pairs = [n - 1 for n in sizes]
    report.add(
        f"Layers: {tokens:,} tokens in memory, 2 of 8 experts, all threads",
        f"Slope of the log–log fit in the number of pairs of layers: {slope(pairs, found):.2f}.",
        _table("layers", sizes, found, [tokens * n for n in pairs]),
    )


def bench_experts(report: Report, tokens: int) -> None:
    """8 to 512 experts in the expert view: the work of a token is the same, its table grows as their square."""
    rng, traces = np.random.default_rng(20240607), []
    for n_experts in EXPERTS:
        made = synthetic.expert_chain(
            coupling=0.5,
            n_experts=n_experts,
            top_k=4,
            layers=3,
            documents=lengths_of(tokens, 500, rng),
            rng=rng,
        )
        traces.append(synthetic.to_trace(made))
    times = in_turns(
        {
            str(n): lambda t=t: count(t, contexts=[ADJACENT], groups=32, states="expert", threads=1)
            for n, t in zip(EXPERTS, traces, strict=True)
        },
        ROUNDS,
    )
    found = list(times.values())
    report.add(
        f"Experts: {tokens:,} tokens × 3 layers in memory, 4 experts a token, 32 groups, 1 thread",
        f"Slope of the log–log fit: {slope(EXPERTS, found):.2f} (0: a token costs the same in every width).",
        _table("experts", EXPERTS, found, [2 * tokens] * len(found)),
    )


def bench_analyze(report: Report, folder: Path, quick: bool) -> None:
    """The whole of `analyze` with 10⁴ to 10⁶ tokens."""
    sizes = (1_000, 2_000, 4_000) if quick else (10_000, 100_000, 1_000_000)
    found = []
    for tokens in sizes:
        path = synthetic.write(generate(tokens, LAYERS), folder / f"analyze-{tokens}")
        out = str(folder / "out" / str(tokens))
        found.append(measure([sys.executable, "-m", "routestat.analyze", str(path), "--out", out]))
    rows = [
        [f"{n:,}", f"{one.wall:.1f}", f"{one.processor:.1f}", f"{one.memory:,.0f}"]
        for n, one in zip(sizes, found, strict=True)
    ]
    exponent = slope(sizes, [one.processor for one in found])
    report.add(
        f"Tokens: analyze as a whole process, {LAYERS} layers, 2 of 8 experts, all threads",
        f"Slope of the log–log fit of processor time: {exponent:.2f}.",
        text_table(["tokens", "wall s", "processor s", "peak MB"], rows),
    )


def bench_workers(report: Report, folder: Path, quick: bool) -> None:
    """One and two workers of a local Dask cluster, which count the same trace into the same file."""
    block, repeats = (10_000, 2) if quick else (500_000, 32)
    rng = np.random.default_rng(20240607)
    made = synthetic.expert_chain(
        coupling=0.5, n_experts=64, top_k=8, layers=24, documents=lengths_of(block, 500, rng), rng=rng
    )
    print(f"writing {repeats * block:,} tokens", flush=True)
    store = write_repeated(made, folder / "workers", repeats)
    contexts = "nothing,layer-1,layer-2,layer-3,token-1"
    found, files = {}, []
    for workers in (1, 2):
        files.append(folder / f"workers-{workers}.counts")
        options = {
            "--contexts": contexts,
            "--groups": "64",
            "--workers": str(workers),
            "--out": str(files[-1]),
        }
        command = [sys.executable, "-m", "routestat.count", str(store)]
        found[workers] = measure([*command, *(word for option in options.items() for word in option)])
    if files[0].read_bytes() != files[1].read_bytes():
        raise RuntimeError("one and two workers counted differently")
    report.add(
        "Workers: `count --workers`",
        f"{repeats * block:,} tokens × 24 layers, 8 of 64 experts, given {contexts} in 64 groups. One worker takes "
        f"{ratio(found[1].wall / found[2].wall)} the time of two, the start of the cluster and the check of the trace "
        "included; the two files are equal byte for byte.",
        text_table(["workers", "wall s"], [[str(n), f"{one.wall:.1f}"] for n, one in found.items()]),
    )


def run(report: Report, folder: Path, quick: bool) -> None:
    """All tables of this section."""
    tokens = 10_000 if quick else 200_000
    bench_tokens(report, folder, quick)
    bench_layers(report, tokens)
    bench_experts(report, tokens)
    bench_workers(report, folder, quick)
    bench_analyze(report, folder, quick)
