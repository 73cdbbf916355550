"""The joint counts of three consecutive routers, with all their margins, from whole documents in memory.

Only cells that occur are kept, per group of documents. In the state view a token is one cell; in the expert view it is
one cell for every expert that it includes at each of the three, k·k·k in all, and a cell counts the tokens that include
its three experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from routestat.counting.document_sample import Sample
from routestat.counting.strata import Margin, Strata, StrataRows, choices_of, numbered
from routestat.errors import RoutestatError
from routestat.traces.metadata import Router

#: Cells of tokens that are counted for three routers: more tokens than give so many are sampled.
MOST_TOKEN_CELLS = 1 << 25


@dataclass(frozen=True, eq=False)
class GroupedCells:
    """Counts of cells by group; cells and groups that do not occur are left out.

    Attributes
    ----------
    key : int array ``[cell]``
        Ascending.
    start : int array ``[cell + 1]``
        Where the entries of each cell begin.
    group, count : int array ``[entry]``
    n_groups : int
    """

    key: NDArray[np.int64]
    start: NDArray[np.int64]
    group: NDArray[np.int64]
    count: NDArray[np.int64]
    n_groups: int

    @classmethod
    def of(
        cls, key: NDArray[np.int64], group: NDArray[np.int64], count: NDArray[np.int64], n_groups: int
    ) -> "GroupedCells":
        """Gather entries that are sorted by key and then by group; those of the same key and group are added up."""
        both = key * n_groups + group
        if not len(both):
            return cls(both, np.zeros(1, np.int64), both, both, n_groups)
        first = np.flatnonzero(np.diff(both, prepend=-1))
        key, group, count = key[first], group[first], np.add.reduceat(count, first)
        begins = np.flatnonzero(np.diff(key, prepend=-1))
        return cls(key[begins], np.append(begins, len(key)), group, count, n_groups)

    @classmethod
    def unsorted(
        cls, key: NDArray[np.int64], group: NDArray[np.int64], count: NDArray[np.int64], n_groups: int
    ) -> "GroupedCells":
        """Gather entries in any order."""
        order = np.argsort(key * n_groups + group, kind="stable")
        return cls.of(key[order], group[order], count[order], n_groups)

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.key)

    @cached_property
    def total(self) -> NDArray[np.int64]:
        """Counts of all groups together, ``[cell]``."""
        return np.add.reduceat(self.count, self.start[:-1]) if len(self) else self.count

    @cached_property
    def keys(self) -> NDArray[np.int64]:
        """The key of every entry."""
        return np.repeat(self.key, np.diff(self.start))

    def places(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cell of each key, −1 where it does not occur."""
        if not len(self):
            return np.full(len(keys), -1, np.int64)
        found = np.minimum(np.searchsorted(self.key, keys), len(self) - 1)
        return np.where(self.key[found] == keys, found, -1)

    def by_group(self, keys: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the counts of these keys ``[key, group]``, 0 where they do not occur."""
        found = self.places(keys)
        out = np.zeros((len(keys), self.n_groups))
        there = found >= 0
        out[there] = self._matrix[found[there]].toarray()
        return out

    def counts(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the counts of these keys in all groups together ``[key]``, 0 where they do not occur."""
        found = self.places(keys)
        return np.where(found >= 0, self.total[found], 0) if len(self) else np.zeros(len(keys), np.int64)

    @cached_property
    def _matrix(self) -> sparse.csr_array:
        shape = len(self), self.n_groups
        return sparse.csr_array((self.count.astype(np.float64), self.group, self.start), shape=shape)


@dataclass(frozen=True, eq=False)
class ThreeLayers:
    """Tokens by what they chose at three routers; see `count_three_layers`.

    Attributes
    ----------
    routers : (Router, Router, Router)
        First, middle and last.
    sizes : (int, int, int)
        States or experts of each.
    slots : (int, int, int)
        Experts of each that a token counts under: 1 in the state view.
    cells : GroupedCells
        Keys ``(middle · sizes[0] + first) · sizes[2] + last``.
    documents : int array ``[cell]``
        Documents in which each cell occurs.
    tokens : int array ``[group]``
        Tokens with a choice at all three; groups without any are left out.
    strata : Strata
        The same counts as strata of the middle's choice.
    n_documents : int
    rows : StrataRows
        The tokens themselves, for shuffles.
    """

    routers: tuple[Router, Router, Router]
    sizes: tuple[int, int, int]
    slots: tuple[int, int, int]
    cells: GroupedCells
    documents: NDArray[np.int64]
    tokens: NDArray[np.int64]
    strata: Strata
    n_documents: int
    rows: StrataRows

    @property
    def n_tokens(self) -> int:
        """Tokens with a choice at all three."""
        return int(self.tokens.sum())

    @cached_property
    def first_middle(self) -> GroupedCells:
        """Tokens of the first two routers; keys ``middle · sizes[0] + first``."""
        return self._pairs(self.strata.sources, self.sizes[0], self.slots[2])

    @cached_property
    def middle_last(self) -> GroupedCells:
        """Tokens of the last two routers; keys ``middle · sizes[2] + last``."""
        return self._pairs(self.strata.targets, self.sizes[2], self.slots[0])

    @cached_property
    def first_last(self) -> GroupedCells:
        """Tokens of the first and the last router; keys ``first · sizes[2] + last``."""
        counts, size = self.strata, self.sizes[2]
        found = GroupedCells.unsorted(
            counts.source * size + counts.target, counts.group, counts.count, len(self.tokens)
        )
        return replace(found, count=found.count // self.slots[1])

    @cached_property
    def first(self) -> GroupedCells:
        """Tokens by the first router's choice."""
        return self._single(self.first_middle, self.sizes[0], 1)

    @cached_property
    def last(self) -> GroupedCells:
        """Tokens by the last router's choice."""
        return self._single(self.middle_last, self.sizes[2], 1)

    @cached_property
    def middle(self) -> GroupedCells:
        """Tokens by the middle router's choice."""
        of = self.strata.tokens
        found = GroupedCells.of(of.stratum, of.group, of.count, len(self.tokens))
        return replace(found, count=found.count // (self.slots[0] * self.slots[2]))

    def choices(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Return the first, middle and last choice of these keys of `cells`."""
        pair, last = np.divmod(keys, self.sizes[2])
        middle, first = np.divmod(pair, self.sizes[0])
        return first, middle, last

    def shuffled(self, rng: np.random.Generator) -> Strata:
        """Count with the last choice exchanged among tokens of the same middle choice: nothing else depends on it."""
        return self.rows.count(rng)

    def _pairs(self, margin: Margin, size: int, slots: int) -> GroupedCells:
        found = GroupedCells.unsorted(
            margin.stratum * size + margin.state, margin.group, margin.count, len(self.tokens)
        )
        return replace(found, count=found.count // slots)

    def _single(self, pairs: GroupedCells, size: int, axis: int) -> GroupedCells:
        key = pairs.keys % size if axis else pairs.keys // size
        found = GroupedCells.unsorted(key, pairs.group, pairs.count, len(self.tokens))
        return replace(found, count=found.count // self.slots[1])


def count_three_layers(sample: Sample, routers: Sequence[Router], states: str) -> ThreeLayers:
    """Count the choices of three routers together.

    Parameters
    ----------
    sample : Sample
        Whole documents; tokens without a choice at one of the three are left out.
    routers : sequence of three Routers
        In the order of the layers.
    states : {"subset", "expert"}

    Raises
    ------
    RoutestatError
        For other than three routers.
    """
    if len(routers) != 3:
        raise RoutestatError(f"routers: expected three, got {len(routers)}; name consecutive ones")
    first, middle, last = routers
    columns, sizes = zip(*(choices_of(sample, router, states) for router in routers), strict=True)
    known = np.ones(len(sample), bool)
    for column, size in zip(columns, sizes, strict=True):
        known &= column[:, 0] < size
    x, y, z = (column if known.all() else column[known] for column in columns)
    slots = x.shape[1], y.shape[1], z.shape[1]
    group, n_groups = numbered(sample.group[known])
    rank, of_rank = _by_group(sample.document[known], group)
    repeated = slots[1] > 1
    rows = StrataRows(
        y.ravel(),
        np.repeat(x, slots[1], axis=0) if repeated else x,
        np.repeat(z, slots[1], axis=0) if repeated else z,
        np.repeat(rank, slots[1]) if repeated else rank,
        (sizes[1], sizes[0], sizes[2], max(1, len(of_rank))),
        sample.n_tokens_in_all,
        middle.name,
    )
    by_document = rows.count()
    key = (by_document.stratum * sizes[0] + by_document.source) * sizes[2] + by_document.target
    cells = GroupedCells.of(key, of_rank[by_document.group], by_document.count, n_groups)
    begins = np.flatnonzero(np.diff(key, prepend=-1))
    pair, target = np.divmod(cells.keys, sizes[2])
    stratum, source = np.divmod(pair, sizes[0])
    strata = replace(
        by_document,
        stratum=stratum,
        source=source,
        target=target,
        group=cells.group,
        count=cells.count,
        n_groups=n_groups,
    )
    return ThreeLayers(
        (first, middle, last),
        (sizes[0], sizes[1], sizes[2]),
        slots,
        cells,
        np.diff(np.append(begins, len(key))),
        np.bincount(group, minlength=n_groups).astype(np.int64),
        strata,
        len(of_rank),
        replace(
            rows,
            group=of_rank[rows.group].astype(np.int32),
            sizes=(sizes[1], sizes[0], sizes[2], max(1, n_groups)),
        ),
    )


def _by_group(
    document: NDArray[np.integer], group: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return each row's number of its document, where those of a group follow each other, and each document's group."""
    number, n = numbered(document)
    of = np.zeros(n, np.int64)
    of[number] = group
    order = np.argsort(of, kind="stable")
    rank = np.empty(n, np.int32)
    rank[order] = np.arange(n, dtype=np.int32)
    return rank[number], of[order]
