"""`analyze` as a whole process on four traces, against the version before, in turns."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from routestat.traces import synthetic
from tests.benchmarks.counting import lengths_of
from tests.benchmarks.machine import ROOT, ratio, text_table
from tests.benchmarks.processes import Measured, export, measure
from tests.benchmarks.reports import Report

BEFORE = "89fee98"
# The version before is stopped on the widest trace after this many times the processor time of this one.
STOP = 11


@dataclass(frozen=True)
class Case:
    """A trace, its description, some of its layers to compile with, and whether the version before has a limit."""

    path: Path
    words: str
    layers: str
    limited: bool = False


@dataclass(frozen=True)
class Version:
    """A version of routestat: where its package lies, and where its compiled code is kept."""

    name: str
    folder: Path
    cache: Path

    def analyze(self, case: Case, out: Path, limit: int | None = None, layers: str = "all") -> Measured:
        """Run `analyze` of this version on a trace."""
        command = [sys.executable, "-m", "routestat.analyze", str(case.path), "--out", str(out)]
        environment = {"NUMBA_CACHE_DIR": str(self.cache)}
        return measure([*command, "--layers", layers], self.folder, environment, limit)


def make_wide(folder: Path, tokens: int, layers: int = 48) -> tuple[Path, Path]:
    """Two traces of 8 of 128 experts: one of 157 tokens, one of many."""
    rng = np.random.default_rng(7)
    few = rng.integers(5, 25, 10)
    few[-1] += 157 - few.sum()
    found = []
    for name, documents in (("few", few), ("many", lengths_of(tokens, 500, rng))):
        made = synthetic.expert_chain(
            coupling=0.5, n_experts=128, top_k=8, layers=layers, documents=documents, rng=rng
        )
        found.append(synthetic.write(made, folder / name, name))
    return found[0], found[1]


def cases(folder: Path, quick: bool) -> list[Case]:
    """The four traces."""
    shipped = ROOT / "data" / "traces"
    tokens, layers = (2_000, 4) if quick else (200_000, 48)
    few, many = make_wide(folder, tokens, layers)
    return [
        Case(few, f"157 tokens × {layers} layers, 8 of 128", "0-2"),
        Case(shipped / "tiny-mixtral", "tiny-mixtral: 418,517 tokens × 32 layers, 2 of 8", "0-2"),
        Case(
            shipped / "deepseek-v2-lite-esft",
            "deepseek-v2-lite-esft: 33,279 tokens × 26 layers, 6 of 64",
            "1-3",
        ),
        Case(many, f"{tokens:,} tokens × {layers} layers, 8 of 128", "0-2", limited=True),
    ]


def _row(case: Case, version: str, found: Measured) -> list[str]:
    mark = "> " if found.stopped else ""
    return [
        case.words,
        version + (", stopped" if found.stopped else ""),
        f"{mark}{found.wall:,.1f}",
        f"{mark}{found.processor:,.1f}",
        f"{mark}{found.memory:,.0f}",
    ]


def bench_case(report: Report, case: Case, now: Version, before: Version, out: Path, quick: bool) -> None:
    """This version, the one before, and this one again; the mean of its two runs is reported."""
    layers = case.layers if quick else "all"
    first = now.analyze(case, out / "now", layers=layers)
    limit = math.ceil(STOP * first.processor) if case.limited else None
    old = before.analyze(case, out / "before", limit, layers)
    again = now.analyze(case, out / "now-again", layers=layers)
    mean = Measured(
        (first.wall + again.wall) / 2,
        (first.processor + again.processor) / 2,
        max(first.memory, again.memory),
    )
    gains = [
        (a / b)
        for a, b in ((old.wall, mean.wall), (old.processor, mean.processor), (old.memory, mean.memory))
    ]
    mark = "> " if old.stopped else ""
    rows = [
        _row(case, "this", mean),
        _row(case, "before", old),
        ["before ÷ this", "", *(mark + ratio(gain) for gain in gains)],
    ]
    words = f"This version ran twice, before and after the version before: {first.wall:.1f} s and {again.wall:.1f} s."
    if limit is not None:
        words += (
            f" The version before was given {limit:,} s of processor time, {STOP} times what this one took; where it "
            "was stopped then, its figures are what it had reached."
        )
    header = ["trace", "version", "wall s", "processor s", "peak MB"]
    report.add(case.words, words, text_table(header, rows))


def run(report: Report, folder: Path, quick: bool) -> None:
    """One table for each trace."""
    traces = cases(folder, quick)
    now = Version("this", ROOT, folder / "cache-now")
    before = Version("before", export(BEFORE, folder / "before"), folder / "cache-before")
    fresh = now.analyze(traces[0], folder / "out" / "fresh", layers=traces[0].layers)
    for version in (now, before):
        for case in traces[:3]:
            version.analyze(case, folder / "out" / "compile", layers=case.layers)
    warm = now.analyze(traces[0], folder / "out" / "warm", layers=traces[0].layers)
    report.add(
        "What is measured",
        f"`python -m routestat.analyze TRACE --layers all` with all cores, against revision {BEFORE}, the version "
        "before. Wall time, processor time (user and system, all threads and processes) and peak resident memory, with "
        "what other processes of the run do not share with the first. Both versions had compiled their loops before. "
        "In a fresh clone the first run compiles: on three layers of the trace of 157 tokens it took "
        f"{fresh.wall:.1f} s, the next one {warm.wall:.1f} s.",
        [],
    )
    for case in traces:
        bench_case(report, case, now, before, folder / "out", quick)
