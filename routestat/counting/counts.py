"""Counts and count(): one pass over a trace into small additive tables."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.experts import ExpertTask
from routestat.counting.states import StateTask
from routestat.counting.token_runs import Runs, Tail, find_runs
from routestat.errors import RoutestatError
from routestat.traces.batch import Batch
from routestat.traces.clusters.units import Units
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

MAX_STATES = 1024
MEMORY = 2 << 30
MIN_GROUPS = 32
DEFAULT_CONTEXTS = (Context(), Context.layer(1), Context.token(1))

Progress = Callable[[int, int], None]
Task = StateTask | ExpertTask
Key = tuple[Context, str]
#: What one table counts: its context, the routers that the context names, and the target.
TableKey = tuple[Context, tuple[Router, ...], Router]


@dataclass(frozen=True)
class Counts:
    """How often what followed what, per group of whole documents.

    Attributes
    ----------
    states : {"subset", "expert"}
        The view: a token is one state, or k experts. Expert tables hold k·k cells of every token.
    routers : tuple of Router
        What was counted, in order of depth.
    contexts : tuple of Context
    tables : mapping of (Context, router name) to unsigned array ``[group, context…, target]``
        Read through `table`.
    tokens, documents : int array ``[group]``
        Tokens and documents of each group. All documents of a cluster are in one group, and clusters are dealt out to
        the groups in turn; where every document is a cluster its group is its number modulo the number of groups.
    clusters : int array ``[cluster]``
        The clusters that have tokens, by the number of their first document: the independent units.
    note : str
        Why there are fewer groups than asked for, or empty.
    """

    states: str
    routers: tuple[Router, ...]
    contexts: tuple[Context, ...]
    tables: Mapping[Key, NDArray[np.unsignedinteger]]
    tokens: NDArray[np.int64]
    documents: NDArray[np.int64]
    clusters: NDArray[np.int32]
    note: str = ""

    @property
    def groups(self) -> int:
        """Number of groups, empty ones included."""
        return len(self.tokens)

    @property
    def n_tokens(self) -> int:
        """Tokens counted."""
        return int(self.tokens.sum())

    @property
    def n_documents(self) -> int:
        """Documents counted."""
        return int(self.documents.sum())

    @property
    def n_clusters(self) -> int:
        """Independent units counted: documents, or bundles of those that share text."""
        return len(self.clusters)

    def table(self, context: Context, router: Router) -> NDArray[np.unsignedinteger]:
        """The table ``[group, context…, target]`` of one target router.

        Raises
        ------
        RoutestatError
            If it was not counted; says which contexts were.
        """
        try:
            return self.tables[context, router.name]
        except KeyError:
            counted = "; ".join(c.name for c in self.contexts)
            raise RoutestatError(
                f"context {context.name} was not counted for {router.name}; counted: {counted}"
            ) from None

    def source(self, target: Router, back: int = 1) -> Router | None:
        """The router `back` places before `target` in the chosen list, or None before the first."""
        place = [router.name for router in self.routers].index(target.name) - back
        return self.routers[place] if place >= 0 else None

    def __add__(self, other: "Counts") -> "Counts":
        """The counts of both traces together; documents must be numbered apart.

        Raises
        ------
        RoutestatError
            If they were counted in different ways.
        """
        for name in ("states", "routers", "contexts", "groups"):
            if getattr(self, name) != getattr(other, name):
                raise RoutestatError(f"counts with different {name} do not add up")
        tables = {key: _add(table, other.tables[key]) for key, table in self.tables.items()}
        note = "; ".join(sorted({self.note, other.note} - {""}))
        return Counts(
            self.states,
            self.routers,
            self.contexts,
            tables,
            _frozen(self.tokens + other.tokens),
            _frozen(self.documents + other.documents),
            _frozen(np.union1d(self.clusters, other.clusters)),
            note,
        )


def count(
    trace: Trace,
    layers: Sequence[int] | None = None,
    contexts: Sequence[Context] = DEFAULT_CONTEXTS,
    groups: int = 256,
    *,
    states: str = "auto",
    memory: int = MEMORY,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Counts:
    """Count a trace in one pass, in memory that does not depend on the number of tokens.

    Parameters
    ----------
    trace : Trace
    layers : sequence of int, optional
        Which layers (all). Offsets of contexts step through this list.
    contexts : sequence of Context
        What to condition on; a target without such a source (the first layer has none before it) has no table.
    groups : int
        Clusters of documents are bundled into so many. Halved until the tables fit in `memory`, but not
        below 32; `Counts.note` says so.
    states : {"auto", "subset", "expert"}
        The view; auto takes subsets where every router has at most 1024 of them.
    memory : int
        Bytes for the tables.
    threads : int, optional
        All cores by default.
    progress : callable(rows_done, rows_in_all), optional

    Raises
    ------
    RoutestatError
        If a layer is absent, or the expert view is asked for more than one source.
    """
    routers = trace.routers(layers)
    contexts = tuple(dict.fromkeys(contexts))
    if not routers:
        raise RoutestatError("count needs at least one layer")
    if not isinstance(groups, int | np.integer) or (threads is not None and threads < 1):
        raise RoutestatError(f"groups and threads are whole numbers of 1 or more, got {groups} and {threads}")
    if groups < 1:
        raise RoutestatError(f"groups must be 1 or more, got {groups}")
    view = _choose_view(routers, states)
    keys = _keys(routers, contexts, view)
    groups, note = _fit_groups(keys, view, groups, memory, cell_type(trace))
    return Counts(
        view, routers, contexts, *count_keys(trace, routers, keys, view, groups, threads, progress), note
    )


def count_keys(
    trace: Trace,
    routers: Sequence[Router],
    keys: Sequence[TableKey],
    view: str,
    groups: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[dict[Key, NDArray[np.unsignedinteger]], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Tables of exactly `groups` groups in one pass, the tokens and documents of each group, and the clusters.

    Parameters
    ----------
    trace : Trace
    routers : sequence of Router
        Those that are read.
    keys : sequence of (Context, source routers, target router)
        One table each.
    view : {"subset", "expert"}
    groups : int
        Never changed here, whatever the tables take: `count` decides on it.
    threads : int, optional
        All cores by default.
    progress : callable(rows_done, rows_in_all), optional
    """
    make = partial((StateTask if view == "subset" else ExpertTask).make, groups=groups)
    tasks, tokens, documents, clusters = _pass(
        trace, routers, keys, make, cell_type(trace), groups, threads or os.cpu_count() or 1, progress
    )
    tables = {(task.context, task.target.name): _frozen(task.finished()) for task in tasks}
    return tables, _frozen(tokens), _frozen(documents), _frozen(clusters)


def cell_type(trace: Trace) -> np.dtype:
    """The type of cells: one never exceeds the tokens of its group, so 32 bits do unless a group may hold more."""
    return np.dtype(np.uint32 if trace.n_counted < 1 << 32 else np.uint64)


def table_bytes(key: TableKey, view: str, groups: int, dtype: np.dtype) -> int:
    """What one table takes, with the row and the column for missing choices."""
    _, sources, target = key
    sizes = (r.alphabet.size if view == "subset" else r.n_experts for r in (*sources, target))
    return groups * prod(size + 1 for size in sizes) * dtype.itemsize


def _choose_view(routers: Sequence[Router], states: str) -> str:
    if states not in ("auto", "subset", "expert"):
        raise RoutestatError(f"states must be auto, subset or expert, got {states!r}")
    wide = max(router.alphabet.size for router in routers)
    if states == "auto":
        return "subset" if wide <= MAX_STATES else "expert"
    if states == "subset" and wide > 1 << 14:
        raise RoutestatError(f"{wide} subsets are too many for tables of subsets; use the expert view")
    return states


def _keys(routers: Sequence[Router], contexts: Sequence[Context], view: str) -> list[TableKey]:
    keys = []
    for context in contexts:
        if view == "expert" and len(context.sources) > 1:
            raise RoutestatError(f"the expert view counts one source at a time, not {context.name}")
        for place, target in enumerate(routers):
            if all(0 <= place + layer < len(routers) for layer, _ in context.sources):
                keys.append((context, tuple(routers[place + layer] for layer, _ in context.sources), target))
    return keys


def _fit_groups(
    keys: Sequence[TableKey], view: str, groups: int, memory: int, dtype: np.dtype
) -> tuple[int, str]:
    size = sum(table_bytes(key, view, 1, dtype) for key in keys)
    fitting = groups
    while fitting // 2 >= MIN_GROUPS and fitting * size > memory:
        fitting //= 2
    if fitting * size > memory:
        return (
            fitting,
            f"{fitting} groups: the tables take {fitting * size / 2**30:.3g} GiB; fewer groups would not do",
        )
    if fitting == groups:
        return groups, ""
    return (
        fitting,
        f"{fitting} groups instead of {groups}: the tables were to fit in {memory / 2**30:.3g} GiB",
    )


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
    """Feed every batch to every task; tasks are shared out to threads, so no table is touched by two."""
    tokens, documents = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
    reach = max((context.lag for context, _, _ in keys), default=0)
    tail, done = Tail.empty(), 0
    window, units = trace.meta.window, trace.units
    seen = np.zeros(len(units.document), np.bool_)
    pieces = _pieces(trace.counted([router.name for router in routers]), window, units, groups)
    with ThreadPoolExecutor(threads + 1) as pool:
        # The next batch is decoded and cut into runs while this one is counted, the first while tables are made.
        ahead = pool.submit(next, pieces, None)
        tasks = _in_one_block(keys, make, dtype)
        shares = [tasks[i::threads] for i in range(threads)]
        while (piece := ahead.result()) is not None:
            ahead = pool.submit(next, pieces, None)
            batch, runs = piece
            seam = tail.seam(batch, reach) if reach and len(tail.document) else None
            feed = partial(
                _feed, batch=batch, runs=runs, tail=tail, seam=seam, window=window, units=units, groups=groups
            )
            # This thread takes a share itself: to sleep and be woken for every batch costs more than it helps.
            others = [pool.submit(feed, share) for share in shares[1:]]
            feed(shares[0])
            for other in others:
                other.result()
            np.add.at(tokens, runs.groups, runs.stops - runs.starts)
            np.add.at(documents, runs.groups[runs.fresh], 1)
            seen[units.places(batch.document[runs.starts[runs.fresh]])] = True
            tail = tail.after(batch, reach) if reach else tail
            done += len(batch)
            if progress is not None:
                progress(done, trace.n_counted)
    return tasks, tokens, documents, np.unique(units.cluster[seen])


def _in_one_block(keys: Sequence[TableKey], make: Callable[..., Task], dtype: np.dtype) -> list[Task]:
    """Empty tables in one stretch of memory: the system hands that out in large pages, far fewer of them."""
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


def _pieces(batches: Iterable[Batch], window: int, units: Units, groups: int) -> Iterator[tuple[Batch, Runs]]:
    previous = -1
    for batch in batches:
        yield batch, find_runs(batch.document, batch.position, window, units, groups, previous)
        previous = int(batch.document[-1])


def _feed(
    tasks: Sequence[Task],
    batch: Batch,
    runs: Runs,
    tail: Tail,
    seam: Batch | None,
    window: int,
    units: Units,
    groups: int,
) -> None:
    scratch: dict[str, NDArray] = {}
    for task in tasks:
        task.feed(batch, runs, scratch)
    if seam is None:
        return
    # Rows whose context lies in the batch before: the last rows of that and the first of this, as a small batch.
    for task in tasks:
        if lag := task.context.lag:
            small = tail.last(lag).seam(batch, lag)
            task.feed(small, find_runs(small.document, small.position, window, units, groups), {})


def _add(a: NDArray, b: NDArray) -> NDArray:
    total = a.astype(np.uint64) + b.astype(np.uint64)
    return _frozen(
        total if total.size and int(total.max()) > np.iinfo(a.dtype).max else total.astype(a.dtype)
    )


def _frozen(array: NDArray) -> NDArray:
    array.flags.writeable = False
    return array
