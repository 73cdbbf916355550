"""What else can count experts by experts, for alphabets too wide for a table of subsets: 8 of 256."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.counting.counts import Counts, count
from routestat.traces.store import Trace
from tests.benchmarks.contenders import ADJACENT, Contender, increment, routestat_tables


def routestat_experts(trace: Trace, groups: int, threads: int | None = None) -> Contender:
    """The counting pass itself."""
    words = "1 thread" if threads == 1 else "all threads"

    def run() -> Counts:
        return count(trace, contexts=[ADJACENT], groups=groups, threads=threads, states="expert")

    return Contender(f"routestat count(), {words}, {groups} groups", run, routestat_tables, groups=True)


def expert_alternatives(
    rows: Sequence[NDArray[np.integer]], document: NDArray, n_experts: int, groups: int
) -> list[Contender]:
    """Every other way, on expert rows ``[token, slot]`` that are already there: no state has to be unranked."""
    size, group = n_experts * n_experts, (document % groups).astype(np.int64)
    shape = (groups, n_experts, n_experts)

    def cells(x: NDArray, y: NDArray) -> NDArray[np.int64]:
        first = (group * size)[:, None, None]
        return (first + x.astype(np.int64)[:, :, None] * n_experts + y[:, None, :]).ravel()

    ready = [cells(x, y).astype(np.uint32) for x, y in pairwise(rows)]

    def bare() -> NDArray[np.uint32]:
        tables = np.zeros((len(ready), groups * size), np.uint32)
        for flat, table in zip(ready, tables, strict=True):
            increment(flat, table)
        return tables

    def bincount() -> list[NDArray]:
        return [np.bincount(cells(x, y), minlength=groups * size) for x, y in pairwise(rows)]

    def indicators() -> list[NDArray]:
        places = np.arange(len(document))[:, None]
        chosen = np.zeros((len(rows), len(document), n_experts), np.float32)
        for column, row in zip(chosen, rows, strict=True):
            column[places, row] = 1
        return [x.T @ y for x, y in pairwise(chosen)]

    def dense(found: Sequence[NDArray]) -> NDArray:
        return np.stack(found).reshape(len(found), *shape)

    return [
        Contender(f"ceiling: bare increments, {groups} groups, 1 thread", bare, dense, groups=True),
        Contender(f"NumPy bincount, {groups} groups", bincount, dense, groups=True),
        Contender("NumPy product of indicator matrices", indicators, np.stack),
    ]
