"""One pass over a trace that fills many tables at once."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.distributed import TraceOnWorkers
from routestat.counting.experts import ExpertTask
from routestat.counting.states import StateTask
from routestat.counting.token_runs import Runs, Tail, find_runs
from routestat.errors import RoutestatError
from routestat.progress import CallersThread, Progress, thread_pool
from routestat.traces.alphabet import smallest_unsigned
from routestat.traces.batch import Batch
from routestat.traces.clusters.units import Units
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

MEMORY = 1 << 30


Task = StateTask | ExpertTask
Number = TypeVar("Number", bound=np.generic)
T = TypeVar("T")


Key = tuple[Context, str]


#: Tables, tokens and documents per group, and the clusters.
Counted = tuple[
    dict[Key, NDArray[np.unsignedinteger]], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]
]

#: Key of one table: its context, the source routers, and the target.
TableKey = tuple[Context, tuple[Router, ...], Router]


def count_keys(
    trace: Trace,
    routers: Sequence[Router],
    keys: Sequence[TableKey],
    view: str,
    groups: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Counted:
    """Count tables of exactly `groups` groups in one pass; also tokens and documents per group, and the clusters.

    Parameters
    ----------
    trace : Trace
    routers : sequence of Router
        Those that are read.
    keys : sequence of (Context, source routers, target router)
        One table each.
    view : {"subset", "expert"}
    groups : int
        Not changed here, whatever memory the tables take: `count` decides on it.
    threads : int, optional
        All cores by default. With more than one, another reads ahead.
    progress : callable(rows_done, rows_in_all), optional
    """
    if isinstance(trace, TraceOnWorkers):
        of_part = partial(_count_narrow, routers=routers, keys=keys, view=view, groups=groups)
        size = sum(table_bytes(key, view, groups, cell_type(trace)) for key in keys)
        sums, tokens, documents, clusters = trace.over_parts(of_part, _added, progress, size)
        cells = {key: read_only(_at_least(table, cell_type(trace))) for key, table in sums.items()}
        return cells, read_only(tokens), read_only(documents), read_only(clusters)
    make = partial((StateTask if view == "subset" else ExpertTask).make, groups=groups)
    tasks, tokens, documents, clusters = _pass(
        trace, routers, keys, make, cell_type(trace), groups, threads or os.cpu_count() or 1, progress
    )
    tables = {(task.context, task.target.name): read_only(task.finished()) for task in tasks}
    return tables, read_only(tokens), read_only(documents), read_only(clusters)


def cell_type(trace: Trace) -> np.dtype:
    """Return the type of cells: a cell never exceeds the tokens of its group, so 32 bits suffice for most traces."""
    return np.dtype(np.uint32 if trace.n_counted < 1 << 32 else np.uint64)


def _count_narrow(
    part: Trace, routers: Sequence[Router], keys: Sequence[TableKey], view: str, groups: int
) -> Counted:
    """Count a part, with tables in the narrowest type that holds their cells: they are sent and added as such."""
    tables, tokens, documents, clusters = count_keys(part, routers, keys, view, groups, 1)
    narrow = {}
    for key in list(tables):
        table = tables.pop(key)
        narrow[key] = table.astype(smallest_unsigned(int(table.max(initial=0)) + 1), order="C")
    return narrow, tokens, documents, clusters


def _at_least(table: NDArray[np.unsignedinteger], dtype: np.dtype) -> NDArray[np.unsignedinteger]:
    return table.astype(np.result_type(table, dtype), copy=False)


def _added(first: Counted, second: Counted) -> Counted:
    tables = {key: add_cells(table, second[0][key]) for key, table in first[0].items()}
    clusters = np.union1d(first[3], second[3])
    return tables, read_only(first[1] + second[1]), read_only(first[2] + second[2]), read_only(clusters)


def add_cells(
    first: NDArray[np.unsignedinteger], second: NDArray[np.unsignedinteger]
) -> NDArray[np.unsignedinteger]:
    """Add two tables; in a wider type, such as 64 bits, where a sum may be beyond that of the tables."""
    # The sum of the two largest cells bounds every sum.
    most = int(first.max(initial=0)) + int(second.max(initial=0))
    wide = np.result_type(first, second, smallest_unsigned(most + 1))
    return read_only(np.add(first, second, dtype=wide))


def table_keys(routers: Sequence[Router], contexts: Sequence[Context], view: str) -> list[TableKey]:
    """Return the tables that contexts have: a target without such sources has none.

    Raises
    ------
    RoutestatError
        If a context of the expert view has more than one source.
    """
    keys = []
    for context in contexts:
        if view == "expert" and len(context.sources) > 1:
            raise RoutestatError(f"the expert view counts one source at a time, not {context.name}")
        for place, target in enumerate(routers):
            if all(0 <= place + layer < len(routers) for layer, _ in context.sources):
                keys.append((context, tuple(routers[place + layer] for layer, _ in context.sources), target))
    return keys


def table_shape(key: TableKey, view: str) -> tuple[int, ...]:
    """Return the cells along each axis of a table but the first, which is that of the groups."""
    _, sources, target = key
    return tuple(r.alphabet.size if view == "subset" else r.n_experts for r in (*sources, target))


def table_bytes(key: TableKey, view: str, groups: int, dtype: np.dtype) -> int:
    """Return the bytes of one table, with the row and the column for missing choices."""
    return groups * prod(size + 1 for size in table_shape(key, view)) * dtype.itemsize


@dataclass(frozen=True)
class _Piece:
    """A batch with its runs, and per lag the rows whose context lies in the batch before, as a small batch."""

    batch: Batch
    runs: Runs
    seams: Mapping[int, tuple[Batch, Runs]]


def _pass(
    trace: Trace,
    routers: Sequence[Router],
    keys: Sequence[TableKey],
    make: Callable[..., Task],
    dtype: np.dtype,
    groups: int,
    threads: int,
    progress: Progress | None,
) -> tuple[list[Task], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Feed every batch to every task; each task belongs to one thread."""
    tokens, documents = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
    lags = sorted({context.lag for context, _, _ in keys} - {0})
    done, units = 0, trace.units
    seen = np.zeros(len(units.document), np.bool_)
    pieces = _pieces(
        trace.counted([router.name for router in routers]), trace.meta.window, units, groups, lags
    )
    # One thread reads everything: threads that read in turn would each keep freed memory.
    with thread_pool(threads) as pool, CallersThread() if threads == 1 else ThreadPoolExecutor(1) as reader:
        # The first batch is decoded while tables are allocated, each next one while this is counted. With one thread
        # it is decoded before.
        ahead = reader.submit(next, pieces, None)
        tasks = _in_one_block(keys, make, dtype)
        shares = [tasks[i::threads] for i in range(threads)]
        while (piece := ahead.result()) is not None:
            ahead = reader.submit(next, pieces, None)
            # This thread counts a share itself: waiting for every batch would cost more.
            others = [pool.submit(_feed, share, piece) for share in shares[1:]]
            _feed(shares[0], piece)
            for other in others:
                other.result()
            runs = piece.runs
            np.add.at(tokens, runs.groups, runs.stops - runs.starts)
            np.add.at(documents, runs.groups[runs.fresh], 1)
            seen[units.places(piece.batch.document[runs.starts[runs.fresh]])] = True
            done += len(piece.batch)
            if progress is not None:
                progress(done, trace.n_counted)
    return tasks, tokens, documents, np.unique(units.cluster[seen])


def _in_one_block(keys: Sequence[TableKey], make: Callable[..., Task], dtype: np.dtype) -> list[Task]:
    """Make empty tables in one block of memory, which the system provides in few large pages."""
    shapes: list[tuple[int, ...]] = []

    def measure(shape: tuple[int, ...]) -> NDArray[np.unsignedinteger]:
        shapes.append(shape)
        return np.empty(0, dtype)

    for key in keys:
        make(*key, zeros=measure)
    ends = np.cumsum([prod(shape) for shape in shapes], dtype=np.int64).tolist()
    block = np.zeros(ends[-1] if ends else 0, dtype)
    parts = iter(np.split(block, ends[:-1]))
    return [make(*key, zeros=lambda shape: next(parts).reshape(shape)) for key in keys]


def _pieces(
    batches: Iterable[Batch], window: int, units: Units, groups: int, lags: Sequence[int]
) -> Iterator[_Piece]:
    previous, tail = -1, Tail.empty()
    for batch in batches:
        runs = find_runs(batch.document, batch.position, window, units, groups, previous)
        seams = {}
        for lag in lags if len(tail.document) else ():
            small = tail.last(lag).seam(batch, lag)
            seams[lag] = small, find_runs(small.document, small.position, window, units, groups)
        yield _Piece(batch, runs, seams)
        previous = int(batch.document[-1])
        tail = tail.after(batch, lags[-1]) if lags else tail


def _feed(tasks: Sequence[Task], piece: _Piece) -> None:
    scratch: dict[str, NDArray[np.unsignedinteger]] = {}
    for task in tasks:
        task.feed(piece.batch, piece.runs, scratch)
        if task.context.lag in piece.seams:
            task.feed(*piece.seams[task.context.lag], {})


def in_passes(items: Sequence[T], sizes: Sequence[int], memory: int) -> list[list[T]]:
    """Divide items into passes, in order, so that the sizes of each add up to at most `memory`, or it is one item."""
    passes: list[list[T]] = []
    left = 0
    for item, size in zip(items, sizes, strict=True):
        if not passes or size > left:
            passes.append([])
            left = memory
        passes[-1].append(item)
        left -= size
    return passes


def read_only(array: NDArray[Number]) -> NDArray[Number]:
    """Return the array, made read-only."""
    array.flags.writeable = False
    return array
