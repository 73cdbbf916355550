"""`count` and `Counts`: one pass over a trace into small additive tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counting_pass import (
    MEMORY,
    Key,
    TableKey,
    add_cells,
    cell_type,
    count_keys,
    read_only,
    table_bytes,
    table_keys,
)
from routestat.counting.counts_file import read_counts, write_counts
from routestat.counting.origin import Origin, joined, origins_of
from routestat.errors import RoutestatError
from routestat.progress import Progress
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

MAX_STATES = 1024
MIN_GROUPS = 32
Number = TypeVar("Number", bound=np.generic)

DEFAULT_CONTEXTS = (Context(), Context.layer(1), Context.token(1))


@dataclass(frozen=True)
class Counts:
    """Counts of target choices given their contexts, per group of whole documents.

    Attributes
    ----------
    states : {"subset", "expert"}
        The view: a token is one state, or k experts. In expert tables a token counts in k·k cells.
    routers : tuple of Router
        The counted routers, in order of depth.
    contexts : tuple of Context
    tables : mapping of (Context, router name) to unsigned array ``[group, context…, target]``
        Read through `table`.
    tokens, documents : int array ``[group]``
        Tokens and documents of each group. All documents of a cluster are in one group, and clusters are assigned to
        groups in turn; where every document is a cluster, its group is its number modulo the number of groups.
    clusters : int array ``[cluster]``
        The clusters that have tokens, by the number of their first document: the independent units.
    note : str
        Why there are fewer groups than requested, or empty.
    wraps : bool
        Whether clusters may share a group. If not, there are no more groups than the clusters can fill: the number of
        groups was halved as long as each cluster kept its own.
    origins : tuple of Origin
        Which parts of which traces were counted; empty where that is not known, as for traces in memory.
    """

    states: str
    routers: tuple[Router, ...]
    contexts: tuple[Context, ...]
    tables: Mapping[Key, NDArray[np.unsignedinteger]]
    tokens: NDArray[np.int64]
    documents: NDArray[np.int64]
    clusters: NDArray[np.int32]
    note: str = ""
    wraps: bool = True
    origins: tuple[Origin, ...] = ()

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
        """Independent units counted: clusters of documents."""
        return len(self.clusters)

    def table(self, context: Context, router: Router) -> NDArray[np.unsignedinteger]:
        """Return the table ``[group, context…, target]`` of one target router.

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
        """Return the router `back` places before `target` in the chosen list, or None before the first."""
        place = [router.name for router in self.routers].index(target.name) - back
        return self.routers[place] if place >= 0 else None

    def save(self, path: str | Path) -> None:
        """Write the counts to a file, which appears whole or not at all.

        Raises
        ------
        RoutestatError
            If the file cannot be written.
        """
        write_counts(path, vars(self))

    @classmethod
    def load(cls, path: str | Path) -> "Counts":
        """Read counts that `save` or ``python -m routestat.count`` wrote.

        Raises
        ------
        RoutestatError
            If it is no such file, of another version, or damaged; names the file.
        """
        return cls(**read_counts(path))

    def __add__(self, other: "Counts") -> "Counts":
        """Add the counts of other documents: another part of the trace, or a trace whose documents have other numbers.

        Where a trace has few clusters, and so few groups, empty groups are appended to its tables.

        Raises
        ------
        RoutestatError
            If they were counted in different ways, or have documents in common.
        """
        origins = joined(self.origins, other.origins)
        for name in ("states", "routers", "contexts"):
            if getattr(self, name) != getattr(other, name):
                raise RoutestatError(f"counts with different {name} cannot be added")
        groups = max(self.groups, other.groups)
        first, second = self.with_groups(groups), other.with_groups(groups)
        return replace(
            self,
            tables={key: add_cells(table, second.tables[key]) for key, table in first.tables.items()},
            tokens=read_only(first.tokens + second.tokens),
            documents=read_only(first.documents + second.documents),
            clusters=read_only(np.union1d(self.clusters, other.clusters)),
            note="; ".join(sorted({self.note, other.note} - {""})),
            wraps=self.wraps or other.wraps,
            origins=origins,
        )

    def with_groups(self, groups: int) -> "Counts":
        """Return the same counts with empty groups appended, `groups` in all.

        Raises
        ------
        RoutestatError
            If there are more already, or clusters share groups: with more groups they would be in others.
        """
        if groups == self.groups:
            return self
        if groups < self.groups or self.wraps:
            raise RoutestatError(
                f"counts with different groups cannot be combined: expected {groups} groups, got {self.groups}; "
                f"count both with groups={min(groups, self.groups)}"
            )
        return replace(
            self,
            tables={key: _with_groups(table, groups) for key, table in self.tables.items()},
            tokens=_with_groups(self.tokens, groups),
            documents=_with_groups(self.documents, groups),
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
        Number of groups of clusters. Halved as long as every cluster keeps a group of its own, which loses nothing;
        then until the tables fit in `memory`, but not below 32: `Counts.note` reports it.
    states : {"auto", "subset", "expert"}
        The view; "auto" uses subsets if every router has at most 1024 of them.
    memory : int
        Bytes for the tables.
    threads : int, optional
        All cores by default.
    progress : callable(rows_done, rows_in_all), optional

    Raises
    ------
    RoutestatError
        If a layer is absent, or a context of the expert view has more than one source.
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
    keys = table_keys(routers, contexts, view)
    fewest = trace.units.fewest_groups(groups)
    groups, note = _fit_groups(keys, view, fewest, memory, cell_type(trace))
    counted = count_keys(trace, routers, keys, view, groups, threads, progress)
    wraps = groups < trace.units.n_ranks
    return Counts(view, routers, contexts, *counted, note, wraps, origins_of(trace))


def _choose_view(routers: Sequence[Router], states: str) -> str:
    if states not in ("auto", "subset", "expert"):
        raise RoutestatError(f"states must be auto, subset or expert, got {states!r}")
    wide = max(router.alphabet.size for router in routers)
    if states == "auto":
        return "subset" if wide <= MAX_STATES else "expert"
    if states == "subset" and wide > 1 << 14:
        raise RoutestatError(f"{wide} subsets are too many for tables of subsets; use the expert view")
    return states


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
            f"{fitting} groups: the tables take {fitting * size / 2**30:.3g} GiB; fewer groups would be too few",
        )
    if fitting == groups:
        return groups, ""
    return (
        fitting,
        f"{fitting} groups instead of {groups}, so that the tables fit in {memory / 2**30:.3g} GiB",
    )


def _with_groups(array: NDArray[Number], groups: int) -> NDArray[Number]:
    wide = np.zeros((groups, *array.shape[1:]), array.dtype)
    wide[: len(array)] = array
    return read_only(wide)
