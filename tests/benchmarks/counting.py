"""Counting layer pairs against everything else that counts them, and from shards against decompression alone.

Every result is first compared with routestat's, cell by cell; only then is anything timed. The contenders take turns,
with routestat before each of them; times are medians.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from routestat.counting.counts import count
from routestat.progress import limited_threads
from routestat.traces import synthetic
from routestat.traces.store import Trace
from tests.benchmarks.contenders import (
    ADJACENT,
    GROUPS,
    Contender,
    TransitionCountEstimator,
    alternatives,
    routestat,
    routestat_tables,
)
from tests.benchmarks.machine import in_turns, ratio, seconds, text_table
from tests.benchmarks.reports import Report
from tests.benchmarks.wide_contenders import expert_alternatives, routestat_experts

LAYERS, MEAN_LENGTH, ROUNDS = 32, 500, 5
WIDE_LAYERS, WIDE_EXPERTS, WIDE_SLOTS, WIDE_GROUPS = 4, 256, 8, 32


def generate(tokens: int, layers: int = LAYERS, mean_length: int = MEAN_LENGTH) -> synthetic.Synthetic:
    """A chain over layers of 8 experts, top 2, in documents of exponential length."""
    rng = np.random.default_rng(20240607)
    return synthetic.chain(
        coupling=0.5,
        n_experts=8,
        top_k=2,
        layers=layers,
        documents=lengths_of(tokens, mean_length, rng),
        rng=rng,
    )


def lengths_of(tokens: int, mean_length: int, rng: np.random.Generator) -> np.ndarray:
    """Exponential lengths of documents of so many tokens in all."""
    lengths = synthetic.document_lengths(2 * tokens // mean_length + 20, mean_length, "exponential", rng=rng)
    whole = lengths[: np.searchsorted(np.cumsum(lengths), tokens) + 1].copy()
    whole[-1] -= whole.sum() - tokens
    return whole[whole > 0]


def check(contenders: Sequence[Contender], truth: np.ndarray) -> None:
    """Stop unless every contender's tables are `truth` ``[pair, group, source, target]``, or its sum."""
    total = truth.sum(axis=1)
    for contender in contenders:
        found = contender.tables(contender.run())
        expected = truth if contender.groups else total
        np.testing.assert_array_equal(found, expected, err_msg=contender.name)
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


def compare(ours: Sequence[Contender], others: Sequence[Contender], increments: int) -> list[str]:
    """The table of one comparison; `ours` with all threads, then with one."""
    medians = take_turns(ours, others)
    every, single = (medians[contender.name] for contender in ours)
    rows = [
        [name, f"{1e3 * m:,.1f}", f"{1e9 * m / increments:.2f}", ratio(m / every), ratio(m / single)]
        for name, m in medians.items()
    ]
    header = ["", "ms", "ns a cell", "÷ all threads", "÷ 1 thread"]
    return text_table(header, rows)


def bench_pairs(report: Report, tokens: int) -> synthetic.Synthetic:
    """States: 28 by 28 for each of 31 pairs of layers."""
    made = generate(tokens)
    trace = synthetic.to_trace(made)
    ours, others = (routestat(trace), routestat(trace, threads=1)), alternatives(made)
    check((*ours, *others), routestat_tables(count(trace, contexts=[ADJACENT], groups=GROUPS)))
    lines = compare(ours, others, tokens * (LAYERS - 1))
    if not TransitionCountEstimator:
        lines.append("deeptime is absent: it has no wheel for this platform and could not be compiled.\n")
    report.add(
        f"Pairs of layers in memory: {tokens:,} tokens × {LAYERS} layers, 2 of 8 experts (28 states)",
        "Tables of all 31 pairs of neighbouring layers, from columns that are in memory. The ceiling adds one to cells "
        "that were computed before, which is not timed; groups are kept where the name says so, and the others "
        "do less. Every table was equal to routestat's before anything was timed.",
        lines,
    )
    return made


def bench_experts(report: Report, tokens: int) -> None:
    """Expert view: 8 of 256."""
    rng = np.random.default_rng(20240607)
    made = synthetic.expert_chain(
        coupling=0.5,
        n_experts=WIDE_EXPERTS,
        top_k=WIDE_SLOTS,
        layers=WIDE_LAYERS,
        documents=lengths_of(tokens, MEAN_LENGTH, rng),
        rng=rng,
    )
    trace = synthetic.to_trace(made)
    rows = [np.ascontiguousarray(made.alphabet.unrank(column)) for column in made.states.T]
    ours = (routestat_experts(trace, WIDE_GROUPS), routestat_experts(trace, WIDE_GROUPS, threads=1))
    others = expert_alternatives(rows, made.document, WIDE_EXPERTS, WIDE_GROUPS)
    check((*ours, *others), routestat_tables(ours[0].run()))
    report.add(
        f"Experts by experts: {tokens:,} tokens × {WIDE_LAYERS} layers, {WIDE_SLOTS} of {WIDE_EXPERTS}",
        f"{WIDE_SLOTS}·{WIDE_SLOTS} cells a token and pair. The others begin with rows of experts; routestat begins "
        "with states of 64 bits, as stored, and finds their experts first.",
        compare(ours, others, tokens * (WIDE_LAYERS - 1) * WIDE_SLOTS**2),
    )


def bench_bandwidth(report: Report) -> None:
    """Copy bandwidth: what a pass that only reads and writes would take."""
    source = np.ones(1 << 28, np.uint8)
    target = np.empty_like(source)
    target[:] = source
    median = statistics.median(seconds(partial(np.copyto, target, source)) for _ in range(ROUNDS))
    rate = source.nbytes / median / 1e9
    report.add("Copy bandwidth", f"One thread copies {rate:.1f} GB/s (256 MiB, read and written once).", [])


def decode(files: Sequence[Path], columns: Sequence[str], threads: bool) -> None:
    """Decompression alone: every record batch of the wanted columns, as pyarrow reads it."""
    for file in files:
        names = pa.ipc.open_file(pa.OSFile(str(file))).schema.names
        wanted = [names.index(name) for name in ("document", "position", *columns)]
        options = pa.ipc.IpcReadOptions(included_fields=sorted(wanted), use_threads=threads)
        reader = pa.ipc.open_file(pa.OSFile(str(file)), options=options)
        for index in range(reader.num_record_batches):
            reader.get_batch(index)


def bench_store(report: Report, made: synthetic.Synthetic, folder: Path) -> None:
    """Whole passes from shards, which are in the page cache."""
    path = synthetic.write(made, folder / "store")
    files = sorted(path.glob("shard-*.arrow"))
    opened = Trace.open(path)
    names = [router.name for router in opened.meta.routers]
    cells = len(made.document) * len(names)

    def counted(trace: Trace, threads: int | None) -> None:
        # As --threads does: decoding has no further threads either.
        with limited_threads(threads):
            count(trace, contexts=[ADJACENT], groups=GROUPS, threads=threads)

    runs: dict[str, Callable[[], Any]] = {
        "decompression alone, 1 thread": lambda: decode(files, names, False),
        "count() of the opened trace, 1 thread": lambda: counted(opened, 1),
        "decompression alone, all threads": lambda: decode(files, names, True),
        "count() of the opened trace, all threads": lambda: counted(opened, None),
        "Trace.open(): hashes and every row checked": lambda: Trace.open(path),
        "open, check and count(), all threads": lambda: counted(Trace.open(path), None),
    }
    medians = in_turns(runs, ROUNDS)
    one, every = medians["decompression alone, 1 thread"], medians["decompression alone, all threads"]
    rows = []
    for name, median in medians.items():
        alone = one if "1 thread" in name else every
        rate = len(made.document) / median / 1e6
        rows.append(
            [
                name,
                f"{1e3 * median:,.0f}",
                f"{rate:.1f}",
                f"{1e9 * median / cells:.2f}",
                f"{alone / median:.2f}",
            ]
        )
    size = sum(file.stat().st_size for file in files)
    per_token = size / len(made.document)
    report.add(
        f"From shards: {len(made.document):,} tokens × {len(names)} layers, 2 of 8 experts",
        f"The store takes {size / 1e6:.0f} MB, {per_token:.1f} bytes per token ({per_token / len(names):.2f} per "
        "token-layer), and is in the page cache. Decompression alone reads the columns that are counted, with pyarrow, "
        "into memory. The last column is its speed relative to decompression alone with as many threads.",
        text_table(["", "ms", "M tokens/s", "s per 10⁹ token-layers", "× decompression"], rows),
    )


def run(report: Report, folder: Path, quick: bool) -> None:
    """All tables of this section."""
    tokens = 100_000 if quick else 2_000_000
    made = bench_pairs(report, tokens)
    bench_bandwidth(report)
    bench_store(report, made, folder)
    bench_experts(report, 20_000 if quick else 200_000)
