"""What benchmarks share: the machine and its versions, clocks, turns, and tables of text."""

import hashlib
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("numpy", "numba", "pyarrow", "pandas", "polars", "duckdb", "deeptime")


def seconds(run: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turns(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each, all taking turns, so that a noisy machine is noisy for all."""
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return {name: statistics.median(found) for name, found in times.items()}


def cores_free() -> float:
    """How much more work all cores get done than one, right now: others may be using them."""
    work, cores = b"x" * (1 << 26), os.cpu_count() or 1
    one = statistics.median(seconds(lambda: hashlib.sha256(work)) for _ in range(3))
    with ThreadPoolExecutor(cores) as pool:
        return cores * one / seconds(lambda: list(pool.map(hashlib.sha256, [work] * cores)))


def describe_machine() -> list[str]:
    """What figures were measured on, in lines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores, name = os.cpu_count(), names[0] if names else platform.processor() or platform.machine()
    return [
        f"{cores} cores, {name}, {platform.system()}, Python {platform.python_version()};",
        ", ".join(f"{package} {_version(package)}" for package in PACKAGES) + ";",
        f"cores free when it began: {cores_free():.1f}.",
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def print_machine() -> None:
    """Print what figures were measured on."""
    print("\n".join(describe_machine()), flush=True)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table whose columns are aligned, so that it is read as text as well."""
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = cells
        aligned = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
        return f"| {' | '.join(aligned)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [line(header), f"| {' | '.join(rule)} |", *(line(row) for row in rows), ""]


def ratio(value: float) -> str:
    """A ratio with two or three figures."""
    return f"{value:.2f} ×" if value < 10 else f"{value:,.0f} ×"
