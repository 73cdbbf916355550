"""What else can count adjacent layer pairs, each in the fastest form we could write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
from numba import njit
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts, count
from routestat.traces.store import Trace
from routestat.traces.synthetic import Synthetic

try:
    from deeptime.markov import TransitionCountEstimator
except ImportError:
    # It has no wheels for some platforms, and needs a compiler there.
    TransitionCountEstimator = None

GROUPS = 256
ADJACENT = Context.layer(1)


@dataclass(frozen=True)
class Contender:
    """`run` is what is timed; `tables` turns its result into ``[pair, (group,) source, target]``, untimed."""

    name: str
    run: Callable[[], Any]
    tables: Callable[[Any], NDArray[np.integer]]
    groups: bool = False


def routestat_tables(counts: Counts) -> NDArray[np.integer]:
    """The tables ``[pair, group, source, target]`` of every adjacent pair."""
    return np.stack([counts.table(ADJACENT, target) for target in counts.routers[1:]])


def routestat(trace: Trace, threads: int | None = None) -> Contender:
    """The counting pass itself, which keeps 256 groups of documents as it goes."""
    words = "1 thread" if threads == 1 else "all threads"
    return Contender(
        f"routestat count(), {words}, {GROUPS} groups",
        lambda: count(trace, contexts=[ADJACENT], groups=GROUPS, threads=threads),
        routestat_tables,
        groups=True,
    )


def alternatives(made: Synthetic) -> list[Contender]:
    """Every other way, on columns that already lie in memory in the form each likes best."""
    columns = [np.ascontiguousarray(column) for column in made.states.T]
    n_states = made.alphabet.size
    return [
        ceiling(columns, made.document, n_states),
        *_numpy(columns, made.document, n_states),
        *_polars(columns, made.document, n_states),
        *_duckdb(columns, made.document, n_states),
        _pandas(columns, n_states),
        *(_deeptime(columns, made.document, n_states) if TransitionCountEstimator else []),
    ]


@njit(nogil=True)
def increment(cells: NDArray, table: NDArray) -> None:  # pragma: no cover - compiled
    """Add one to each cell: the least that counting can do."""
    for i in range(len(cells)):
        table[cells[i]] += np.uint32(1)


def ceiling(columns: Sequence[NDArray], document: NDArray, n_states: int) -> Contender:
    """The machine's ceiling: one increment a token, of cells that were computed before and are not timed."""
    group, size = (document % GROUPS).astype(np.uint32), n_states * n_states
    cells = [
        (group * size + x.astype(np.uint32) * n_states + y).astype(np.uint32) for x, y in pairwise(columns)
    ]

    def run() -> NDArray[np.uint32]:
        tables = np.zeros((len(cells), GROUPS * size), np.uint32)
        for flat, table in zip(cells, tables, strict=True):
            increment(flat, table)
        return tables

    return Contender(
        f"ceiling: bare increments, {GROUPS} groups, 1 thread",
        run,
        lambda tables: tables.reshape(len(cells), GROUPS, n_states, n_states),
        groups=True,
    )


def _numpy(columns: Sequence[NDArray], document: NDArray, n_states: int) -> list[Contender]:
    cells = n_states * n_states

    def usual() -> list[NDArray]:
        return [np.bincount(x.astype(np.intp) * n_states + y, minlength=cells) for x, y in pairwise(columns)]

    def narrow() -> list[NDArray]:
        # Cells of 16 bits halve the traffic before bincount widens them.
        return [
            np.bincount(np.multiply(x, n_states, dtype=np.uint16) + y, minlength=cells)
            for x, y in pairwise(columns)
        ]

    def grouped() -> list[NDArray]:
        first = (document % GROUPS).astype(np.intp) * cells
        return [
            np.bincount(first + (np.multiply(x, n_states, dtype=np.uint16) + y), minlength=cells * GROUPS)
            for x, y in pairwise(columns)
        ]

    def dense(found: list[NDArray]) -> NDArray:
        return np.stack(found).reshape(len(found), n_states, n_states)

    def dense_groups(found: list[NDArray]) -> NDArray:
        return np.stack(found).reshape(len(found), GROUPS, n_states, n_states)

    return [
        Contender("NumPy bincount, 64-bit cells", usual, dense),
        Contender("NumPy bincount, 16-bit cells", narrow, dense),
        Contender(f"NumPy bincount, {GROUPS} groups", grouped, dense_groups, groups=True),
    ]


def _from_rows(found: Sequence[Sequence[NDArray]], n_states: int) -> NDArray:
    """Tables ``[pair, (group,) source, target]`` of rows of (group,) source, target and number."""
    axes = (GROUPS,) if len(found[0]) == 4 else ()
    tables = np.zeros((len(found), *axes, n_states, n_states), np.int64)
    for table, (*place, number) in zip(tables, found, strict=True):
        table[tuple(place)] = number
    return tables


def _polars(columns: Sequence[NDArray], document: NDArray, n_states: int) -> list[Contender]:
    names = [str(i) for i in range(len(columns))]
    group = (document % GROUPS).astype(np.uint8)
    frame = pl.DataFrame({"group": group, **dict(zip(names, columns, strict=True))})

    def run(by: Sequence[str] = ()) -> list[pl.DataFrame]:
        return [frame.group_by([*by, x, y]).len() for x, y in pairwise(names)]

    def dense(found: list[pl.DataFrame]) -> NDArray:
        return _from_rows([[column.to_numpy() for column in rows.get_columns()] for rows in found], n_states)

    return [
        Contender("Polars group_by().len(), all threads", run, dense),
        Contender(
            f"Polars group_by().len(), all threads, {GROUPS} groups",
            lambda: run(["group"]),
            dense,
            groups=True,
        ),
    ]


def _duckdb(columns: Sequence[NDArray], document: NDArray, n_states: int) -> list[Contender]:
    names = [f"l{i}" for i in range(len(columns))]
    base = duckdb.connect()
    group = (document % GROUPS).astype(np.uint8)
    frame = pd.DataFrame({"g": group, **dict(zip(names, columns, strict=True))})
    base.register("frame", frame)
    # In DuckDB's own storage, which is faster than reading the frame each time.
    base.execute("CREATE TABLE choices AS SELECT * FROM frame")
    base.unregister("frame")

    def run(by: str = "") -> list[dict[str, NDArray]]:
        return [
            base.execute(
                f"SELECT {by} {x} AS x, {y} AS y, count(*) AS n FROM choices GROUP BY {by} {x}, {y}"
            ).fetchnumpy()
            for x, y in pairwise(names)
        ]

    def dense(found: list[dict[str, NDArray]]) -> NDArray:
        return _from_rows([list(rows.values()) for rows in found], n_states)

    return [
        Contender("DuckDB GROUP BY, all threads", run, dense),
        Contender(f"DuckDB GROUP BY, all threads, {GROUPS} groups", lambda: run("g,"), dense, groups=True),
    ]


def _pandas(columns: Sequence[NDArray], n_states: int) -> Contender:
    def run() -> list[pd.DataFrame]:
        return [pd.crosstab(x, y) for x, y in pairwise(columns)]

    def dense(found: list[pd.DataFrame]) -> NDArray:
        every = range(n_states)
        return np.stack([t.reindex(index=every, columns=every, fill_value=0).to_numpy() for t in found])

    return Contender("pandas crosstab", run, dense)


def _deeptime(columns: Sequence[NDArray], document: NDArray, n_states: int) -> list[Contender]:
    # deeptime counts steps of a lag along one trajectory: with x and y end to end and a lag of their length,
    # its steps are exactly x → y, each token once.
    lag = len(columns[0])

    def fit() -> list[Any]:
        estimator = TransitionCountEstimator(lag, "sliding", n_states=n_states)
        return [estimator.fit_fetch(np.concatenate(pair)).count_matrix for pair in pairwise(columns)]

    def bare() -> list[Any]:
        return [
            TransitionCountEstimator.count("sliding", [np.concatenate(pair)], lag)
            for pair in pairwise(columns)
        ]

    def grouped() -> list[Any]:
        # The rows of each group, one group after the other: all begin with rows in the order of the trace.
        group = document % GROUPS
        order = np.argsort(group, kind="stable")
        cuts = np.searchsorted(group[order], np.arange(1, GROUPS))
        parts = [np.split(column[order], cuts) for column in columns]
        return [
            TransitionCountEstimator(len(x), "sliding", n_states=n_states)
            .fit_fetch(np.concatenate([x, y]))
            .count_matrix
            if len(x)
            else np.zeros((n_states, n_states))
            for sources, targets in pairwise(parts)
            for x, y in zip(sources, targets, strict=True)
        ]

    def dense(found: list[Any]) -> NDArray:
        tables = np.zeros((len(found), n_states, n_states), np.int64)
        for table, counted in zip(tables, found, strict=True):
            table[: len(counted), : len(counted)] = counted
        return tables

    def dense_groups(found: list[Any]) -> NDArray:
        return dense(found).reshape(-1, GROUPS, n_states, n_states)

    return [
        Contender("deeptime TransitionCountEstimator.fit", fit, dense),
        Contender("deeptime TransitionCountEstimator.count", bare, dense),
        Contender(
            f"deeptime TransitionCountEstimator.fit, {GROUPS} groups", grouped, dense_groups, groups=True
        ),
    ]
