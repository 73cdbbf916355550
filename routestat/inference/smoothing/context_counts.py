"""Contexts of tokens as rows, and their counts with and without a group of documents.

A table of long contexts has far more cells than tokens; only the observed cells are kept, by group.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.counting.kernels.contexts import count_by_group, number_pairs
from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats

# Up to so many possible keys, and so many for each row, a table of all is faster than sorting the observed ones.
DENSE_KEYS, DENSE_SHARE = 1 << 23, 64


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Tokens with a known target.

    Attributes
    ----------
    target : int array ``[row]``
        Its state, from 0 to `n_targets` − 1.
    n_targets : int
    group : int array ``[row]``
        Group of whole documents, from 0.
    columns : mapping of name to int array ``[row]``
        What a target may be conditioned on; −1 where unknown.
    groups : int
        How many groups there are, tokens in them or not; 0: as many as `group` says.
    """

    target: NDArray[np.int64]
    n_targets: int
    group: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.int64]]
    groups: int = 0

    def __post_init__(self) -> None:
        """Refuse columns of other lengths and numbers out of range."""
        for name, values, most in (
            ("target", self.target, self.n_targets - 1),
            ("group", self.group, np.iinfo(np.int32).max),
            *((name, values, np.iinfo(np.int64).max) for name, values in self.columns.items()),
        ):
            least = -1 if name in self.columns else 0
            if len(values) != len(self.target) or (
                len(values) and not least <= values.min() <= values.max() <= most
            ):
                raise RoutestatError(
                    f"{name}: expected a whole number from {least} to {most} for each of {len(self.target)} rows; "
                    "leave rows without a target out, and give −1 where a column is unknown"
                )

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.target)

    @cached_property
    def n_groups(self) -> int:
        """`groups`, or one more than the largest group."""
        return max(self.groups, int(self.group.max(initial=-1)) + 1)


# Of each item that is counted, a row or an entry: some row, the cell, the group and the tokens. None takes the place of
# the rows where the items are all rows in their own order.
_Counted = tuple[NDArray[np.integer] | None, NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


class ContextCounts:
    """Counts of one context: cells (context, target), entries (cell, group), and the entry of every row.

    Parameters
    ----------
    rows : TokenRows
    names : tuple of str
        The columns of the context.
    within : ContextCounts, optional
        Counts of a longer context of the same rows, with all these columns. Its entries are counted instead of the
        rows: the same with less work.

    Attributes
    ----------
    row_of : int array ``[entry]``
        Some row of the entry.
    cell, group, count : int arrays ``[entry]``
        Ordered by cell, then group.
    context, target : int arrays ``[cell]``
        Contexts ascend.
    part : int array ``[entry]``
        Number of its (context, group); `part_context` ``[part]`` is the context, which ascends.
    n_cells, n_contexts : int
        Observed cells and contexts.
    """

    def __init__(
        self, rows: TokenRows, names: tuple[str, ...], within: "ContextCounts | None" = None
    ) -> None:
        missing = [name for name in names if name not in rows.columns]
        if missing:
            raise RoutestatError(
                f"no column {missing[0]} to condition on; there are {', '.join(rows.columns)}"
            )
        self.rows, self.names, self.within, self.n_groups = rows, names, within, rows.n_groups
        (row, cell, group, tokens), order = self._of_rows() if within is None else self._of_entries(within)
        entry, number, self._met, ordered, self.part, self.part_context = count_by_group(
            cell, group, tokens, self.context, self.n_contexts
        )
        self._number = number
        if row is not None:
            self._met[0], ordered[0] = row[self._met[0]], row[ordered[0]]
        self.row_of, self.cell, self.group, self.count = ordered
        self._entry = entry
        if order is not None:
            self._entry = np.empty_like(entry)
            self._entry[order] = entry

    def _of_rows(self) -> tuple[_Counted, NDArray[np.integer] | None]:
        """Return the rows in order of groups, and this order; None where they have it."""
        group = self.rows.group
        order = None if (group[1:] >= group[:-1]).all() else _in_order(group, self.n_groups)
        cell = self._numbered(slice(None))
        self._unknown = np.flatnonzero(cell < 0).astype(np.int32)
        if order is not None:
            group, cell = group[order], cell[order]
        return (order, cell, group.astype(np.int32), np.ones(len(cell), np.int32)), order

    def _of_entries(self, within: "ContextCounts") -> tuple[_Counted, NDArray[np.integer]]:
        """Return the entries of the longer context in order of groups, with rows that it does not know between them."""
        row, longer, group, tokens = within._met
        beyond = self._beyond = within._unknown
        # All entries of a longer cell are of one shorter cell.
        some = np.empty(within.n_cells, np.int32)
        some[within.cell] = within.row_of
        number = self._numbered(np.concatenate([some, beyond]))
        cell, alone = number[: len(some)][longer], number[len(some) :]
        self._unknown, order = beyond[alone < 0], within._number
        if len(beyond):
            late = _in_order(self.rows.group[beyond], self.n_groups)
            own = self.rows.group[beyond][late].astype(np.int32)
            place = np.searchsorted(group, own, side="right")
            row, cell, group, tokens, order = (
                np.insert(values, place, those)
                for values, those in (
                    *((row, beyond[late]), (cell, alone[late]), (group, own)),
                    *((tokens, 1), (order, len(order) + late)),
                )
            )
        return (row, cell, group, tokens), order

    def _numbered(self, used: NDArray[np.integer] | slice) -> NDArray[np.int32]:
        """Return the cells of these rows, −1 where the context is unknown, and number the contexts."""
        rows = self.rows
        target = rows.target[used]
        number, n = np.zeros(len(target), np.int32), min(1, len(target))
        for name in self.names:
            number, shorter, _ = _numbered_pairs(number, n, rows.columns[name][used])
            n = len(shorter)
        number, self.context, self.target = _numbered_pairs(number, n, target, rows.n_targets)
        self.n_contexts, self.n_cells = n, len(self.context)
        return number

    def known(self) -> NDArray[np.bool_]:
        """Return whether the context is known ``[row]``."""
        known = np.ones(len(self.rows), bool)
        for name in self.names:
            known &= self.rows.columns[name] >= 0
        return known

    @cached_property
    def entry_of(self) -> NDArray[np.int32]:
        """The entry of every row ``[row]``, −1 where the context is unknown."""
        if self.within is None:
            return self._entry
        # What is unknown to the longer context comes after its entries, in order.
        place = self.within.entry_of
        if len(self._beyond):
            place = place.copy()
            place[self._beyond] = len(self.within.count) + np.arange(len(self._beyond), dtype=np.int32)
        return self._entry[place]

    def entries_of(self, longer: "ContextCounts") -> NDArray[np.int32]:
        """Find the entry of each entry of a longer context ``[longer entry]``."""
        return self._entry[: len(longer.count)] if self.within is longer else self._entries(longer.row_of)

    def _entries(self, rows: NDArray[np.integer]) -> NDArray[np.int32]:
        if self.within is None:
            return self._entry[rows]
        place = self.within._entries(rows)
        alone = np.flatnonzero(place < 0)
        place[alone] = len(self.within.count) + np.searchsorted(self._beyond, rows[alone])
        return self._entry[place]

    def cells(self, entries: ArrayLike) -> Floats:
        """Sum values of entries over the groups ``[cell]``."""
        return np.bincount(self.cell, np.asarray(entries, float), self.n_cells).astype(float)

    def contexts(self, cells: ArrayLike) -> Floats:
        """Sum values of cells over the targets ``[context]``."""
        return np.bincount(self.context, np.asarray(cells, float), self.n_contexts).astype(float)

    def held_back(self, entries: ArrayLike, later: bool) -> tuple[Floats, Floats]:
        """Sum what each entry's own group holds, or it and all later ones: by entry ``[entry]`` and ``[part]``."""
        own: Floats = np.asarray(entries, float)
        whole = np.bincount(self.part, own, len(self.part_context)).astype(float)
        return (
            (_from_here_on(own, self.cell), _from_here_on(whole, self.part_context))
            if later
            else (own, whole)
        )

    def distinct_held_back(self, left: Floats, later: bool) -> Floats:
        """Count the targets a context loses without its group ``[part]``; `left` ``[entry]`` are the tokens left."""
        if not later:
            return np.bincount(self.part, left <= 0, len(self.part_context)).astype(float)
        # A cell is new to all groups up to the first that holds it.
        first = np.searchsorted(self.cell, np.arange(self.n_cells))
        starts = np.bincount(self.part[first], minlength=len(self.part_context))
        return _from_here_on(starts.astype(float), self.part_context)


def _numbered_pairs(
    first: NDArray[np.int32], n_first: int, second: NDArray[np.integer], width: int | None = None
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Find the distinct pairs of a number below `n_first` and another below `width`, in order.

    Returns
    -------
    tuple
        Each row's number, −1 where one of both is unknown; the first of each pair, and the second of each, renumbered
        where `second` has many values.
    """
    size = int(second.max(initial=-1)) + 1 if width is None else width
    if size >= DENSE_KEYS:
        # The product of wide columns exceeds 64 bits; the number of observed labels does not.
        labels, second = _labelled(second)
        size = len(labels)
    if n_first * size <= min(DENSE_KEYS, DENSE_SHARE * len(first)):
        table = np.zeros(n_first * size, np.int32)
        number, keys = number_pairs(first, np.ascontiguousarray(second, np.int32), size, table)
    else:
        keys, number = _labelled(np.where((first >= 0) & (second >= 0), first * np.int64(size) + second, -1))
    first_of = keys // max(size, 1)
    return number, first_of.astype(np.int32), (keys - first_of * size).astype(np.int32)


def _labelled(values: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the distinct values from 0 on in order, and the place of each value among them, −1 for −1."""
    labels, place = np.unique(values, return_inverse=True)
    unknown = int(labels.searchsorted(0))
    return labels[unknown:], (place - unknown).astype(np.int32)


def _in_order(group: NDArray[np.integer], groups: int) -> NDArray[np.intp]:
    """Return the stable order of groups."""
    # NumPy sorts 16 bits by counting.
    small = group.astype(np.uint16) if groups <= 1 << 16 else group
    return np.argsort(small, kind="stable")


def _from_here_on(values: Floats, run: NDArray[np.int64]) -> Floats:
    """Sum each value and all that follow in its run; runs are numbered in order."""
    if not len(values):
        return values
    after = np.cumsum(values[::-1])[::-1]
    last = np.flatnonzero(np.concatenate([run[1:] != run[:-1], [True]]))
    beyond = np.append(after[1:], 0.0)[last]
    return np.asarray(after - beyond[run])
