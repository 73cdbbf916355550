"""``make bench``: the counting pass against everything else that counts layer pairs, in one run.

Every result is first compared with routestat's, cell by cell; only then is anything timed. The contenders take
turns, with routestat before each of them, so that a noisy machine is noisy for all; times are medians.
"""

import hashlib
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from routestat.counting.counts import count
from routestat.inference.association.independence import independence
from routestat.traces import synthetic
from routestat.traces.store import Trace
from tests.benchmarks.contenders import (
    ADJACENT,
    GROUPS,
    Contender,
    alternatives,
    routestat,
    routestat_tables,
)
from tests.benchmarks.memory import peak_of, write_repeated

TOKENS = 2_000_000
LAYERS = 32
MEAN_LENGTH = 500
ROUNDS = 5
MEMORY_MARGIN = 32  # MiB that ten times the tokens may cost
PACKAGES = ("numpy", "numba", "pyarrow", "polars", "pandas", "deeptime")


def generate(tokens: int) -> synthetic.Synthetic:
    """A chain over 32 layers of 8 experts, top 2, in documents of exponential length."""
    rng = np.random.default_rng(20240607)
    lengths = synthetic.document_lengths(2 * tokens // MEAN_LENGTH, MEAN_LENGTH, "exponential", rng=rng)
    ends = np.cumsum(lengths)
    whole = lengths[: np.searchsorted(ends, tokens) + 1]
    whole[-1] -= whole.sum() - tokens
    return synthetic.chain(coupling=0.5, n_experts=8, top_k=2, layers=LAYERS, documents=whole, rng=rng)


def seconds(run: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def check(contenders: Sequence[Contender], truth: np.ndarray) -> None:
    """Stop unless every contender's tables are `truth` ``[pair, group, source, target]``, or its sum."""
    total = truth.sum(axis=1)
    for contender in contenders:
        found = contender.tables(contender.run())
        np.testing.assert_array_equal(found, truth if contender.groups else total, err_msg=contender.name)
        print(f"  identical: {contender.name}", flush=True)


def take_turns(ours: Sequence[Contender], others: Sequence[Contender]) -> dict[str, float]:
    """Median seconds of one pass over all pairs, by contender."""
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        for other in others:
            for contender in (*ours, other):
                times[contender.name].append(seconds(contender.run))
        print(f"  round {number + 1} of {ROUNDS}", flush=True)
    return {name: statistics.median(found) for name, found in times.items()}


def print_ratios(medians: dict[str, float], ours: Sequence[Contender]) -> None:
    every, single = (medians[contender.name] for contender in ours)
    print(f"\n{'':44}{'ms per pair':>12}{'÷ routestat':>14}{'÷ routestat':>14}")
    print(f"{f'{TOKENS:,} tokens, {LAYERS - 1} layer pairs':44}{'':12}{'all threads':>14}{'1 thread':>14}")
    for name, median in medians.items():
        per_pair = 1e3 * median / (LAYERS - 1)
        print(f"{name:44}{per_pair:12.2f}{median / every:13.1f}×{median / single:13.1f}×")


def bench_pairs(made: synthetic.Synthetic) -> None:
    trace = synthetic.to_trace(made)
    ours = (routestat(trace), routestat(trace, threads=1))
    others = alternatives(made)
    print("Every contender counts all pairs; comparing every cell …", flush=True)
    check((*ours, *others), routestat_tables(count(trace, contexts=[ADJACENT], groups=GROUPS)))
    print("Timing, in turns …", flush=True)
    print_ratios(take_turns(ours, others), ours)
    counts = count(trace, contexts=[ADJACENT], groups=GROUPS)
    tables = [counts.table(ADJACENT, router) for router in counts.routers[1:]]
    independence(tables[0])
    each = statistics.median(seconds(partial(independence, table)) for table in tables)
    print(f"\nindependence(tables[group, source, target]), {GROUPS} groups: {1e3 * each:.1f} ms per pair")


def bench_store(made: synthetic.Synthetic, folder: Path) -> None:
    """Whole passes from disk (in the page cache), with and without verification."""
    path = synthetic.write(made, folder / "store")
    size = sum(file.stat().st_size for file in path.iterdir())
    decoded = made.states.nbytes + made.document.nbytes + made.position.nbytes

    def counted(verify: bool) -> None:
        count(Trace.open(path, verify=verify), contexts=[ADJACENT], groups=GROUPS)

    kinds: dict[str, Callable[[], Any]] = {
        "open(verify=False) and count()": lambda: counted(False),
        "open() with full verification": lambda: Trace.open(path),
        "open() with full verification and count()": lambda: counted(True),
    }
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, run in kinds.items():
            times[name].append(seconds(run))
    print(f"\nFrom a store of {size / 1e6:.0f} MB, {decoded / 1e6:.0f} MB decoded, in the page cache")
    print(f"{'':44}{'ms':>12}{'M tokens/s':>14}{'GB/s decoded':>14}")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:44}{1e3 * median:12.0f}{TOKENS / median / 1e6:14.2f}{decoded / median / 1e9:14.2f}")


def bench_memory(folder: Path) -> None:
    """Peak memory does not grow with the trace."""
    print("\nMemory: writing stores of 1 and 10 million tokens …", flush=True)
    million = generate(1_000_000)
    peaks = []
    for repeats in (1, 10):
        store = write_repeated(million, folder / f"memory-{repeats}", repeats)
        peak, tokens = peak_of(store)
        if tokens != repeats * 1_000_000:
            raise SystemExit(f"{tokens} tokens were counted, {repeats} million were written")
        peaks.append(peak)
        print(f"  peak resident memory, {tokens:>10,} tokens × {LAYERS} layers: {peak:.1f} MiB", flush=True)
    more = peaks[1] - peaks[0]
    print(f"  ten times the tokens: {more:+.1f} MiB (allowed: {MEMORY_MARGIN})")
    if more > MEMORY_MARGIN:
        raise SystemExit(
            f"counting ten times the tokens took {more:.1f} MiB more, {MEMORY_MARGIN} are allowed"
        )


def cores_free() -> float:
    """How much more work all cores get done than one, right now: others may be using them."""
    work, cores = b"x" * (1 << 26), os.cpu_count() or 1
    one = statistics.median(seconds(lambda: hashlib.sha256(work)) for _ in range(3))
    with ThreadPoolExecutor(cores) as pool:
        return cores * one / seconds(lambda: list(pool.map(hashlib.sha256, [work] * cores)))


def print_machine() -> None:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    print(
        f"{os.cpu_count()} cores, {names[0] if names else platform.processor() or platform.machine()}, ",
        end="",
    )
    print(f"{platform.system()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"cores free for this run: {cores_free():.1f}")


def main() -> None:
    start = time.perf_counter()
    print_machine()
    print(f"Generating {TOKENS:,} tokens × {LAYERS} layers, 8 experts top 2, 28 states …", flush=True)
    made = generate(TOKENS)
    bench_pairs(made)
    with tempfile.TemporaryDirectory() as folder:
        bench_store(made, Path(folder))
        bench_memory(Path(folder))
    print(f"\nall in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
