"""Contexts of tokens as rows, and their counts with and without a group of documents.

A table of long contexts has far more cells than tokens; only the observed cells are kept, by group.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats

# Up to so many possible keys a table of all of them is faster than sorting the observed ones.
DENSE_KEYS = 1 << 23


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

    @property
    def n_groups(self) -> int:
        """`groups`, or one more than the largest group."""
        return max(self.groups, int(self.group.max(initial=-1)) + 1)


class ContextCounts:
    """Counts of one context: cells (context, target), entries (cell, group), and the entry of every row.

    Attributes
    ----------
    entry_of : int array ``[row]``
        −1 where the context is unknown.
    row_of : int array ``[entry]``
        Some row of the entry.
    cell, group, count : int arrays ``[entry]``
        Ordered by cell, then group.
    context : int array ``[cell]``
    part : int array ``[entry]``
        Number of its (context, group); `part_context` ``[part]`` is the context.
    """

    def __init__(self, rows: TokenRows, names: tuple[str, ...]) -> None:
        missing = [name for name in names if name not in rows.columns]
        if missing:
            raise RoutestatError(
                f"no column {missing[0]} to condition on; there are {', '.join(rows.columns)}"
            )
        known = np.ones(len(rows), bool)
        key, size = np.zeros(len(rows), np.int64), 1
        for name in names:
            column = rows.columns[name]
            known &= column >= 0
            key, size = _joined(key, size, column, int(column.max(initial=0)) + 1)
        self.n_groups = rows.n_groups
        parts = ((rows.target, rows.n_targets), (rows.group, self.n_groups))
        for values, width in parts:
            key, size = key * width + values, size * width
        where = np.flatnonzero(known)
        keys, place, self.count = _distinct(key[where], size)
        self.entry_of = np.full(len(rows), -1, np.int64)
        self.entry_of[where] = place
        self.row_of = np.empty(len(keys), np.int64)
        self.row_of[place] = where
        cells, self.group = np.divmod(keys, self.n_groups)
        self.cell = _numbered(cells)
        self.first = (
            np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]])) if len(cells) else cells
        )
        self.context = _numbered(cells[self.first] // rows.n_targets)
        owner = self.context[self.cell] if len(cells) else self.cell
        parts_, self.part, _ = _distinct(owner * self.n_groups + self.group, self.n_contexts * self.n_groups)
        self.part_context = parts_ // self.n_groups

    @property
    def n_cells(self) -> int:
        """Observed cells."""
        return len(self.first)

    @property
    def n_contexts(self) -> int:
        """Observed contexts."""
        return int(self.context[-1]) + 1 if len(self.context) else 0

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
        starts = np.bincount(self.part[self.first], minlength=len(self.part_context))
        return _from_here_on(starts.astype(float), self.part_context)


def _joined(
    key: NDArray[np.int64], size: int, column: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], int]:
    """Combine a key with one more column."""
    key = key * width + np.maximum(column, 0)
    if size * width < 1 << 31:
        return key, size * width
    # The product of many columns' widths exceeds 64 bits; the number of observed keys does not.
    names, place = np.unique(key, return_inverse=True)
    return place.astype(np.int64), len(names)


def _distinct(
    key: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct keys in order, the place of each key among them, and their counts."""
    if size > DENSE_KEYS:
        keys, place, count = np.unique(key, return_inverse=True, return_counts=True)
        return keys, place.astype(np.int64), count.astype(np.int64)
    every = np.bincount(key, minlength=size)
    keys = np.flatnonzero(every)
    number = np.zeros(size, np.int64)
    number[keys] = np.arange(len(keys))
    return keys, number[key], every[keys]


def _numbered(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers 0, 1, … of the runs of equal values of an ordered array."""
    if not len(ordered):
        return np.empty(0, np.int64)
    return np.cumsum(np.concatenate([[False], ordered[1:] != ordered[:-1]])).astype(np.int64)


def _from_here_on(values: Floats, run: NDArray[np.int64]) -> Floats:
    """Sum each value and all that follow in its run; runs are numbered in order."""
    if not len(values):
        return values
    after = np.cumsum(values[::-1])[::-1]
    last = np.flatnonzero(np.concatenate([run[1:] != run[:-1], [True]]))
    beyond = np.append(after[1:], 0.0)[last]
    return np.asarray(after - beyond[run])
