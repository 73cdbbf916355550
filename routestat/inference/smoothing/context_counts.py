"""Contexts of tokens as rows, and what is left of their counts when a group of documents is held out.

A table of long contexts has far more cells than tokens; only the cells that were seen are kept, with the groups
that saw them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats

# Up to so many possible keys a table of all of them is faster than putting the seen ones in order.
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
                    f"{name}: wanted a whole number from {least} to {most} for each of {len(self.target)} rows; "
                    "leave rows without a target out, and give −1 where a column is unknown"
                )

    def __len__(self) -> int:
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
    bunch : int array ``[entry]``
        Number of its (context, group); `bunch_context` ``[bunch]`` names the context.
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
        bunches, self.bunch, _ = _distinct(
            owner * self.n_groups + self.group, self.n_contexts * self.n_groups
        )
        self.bunch_context = bunches // self.n_groups

    @property
    def n_cells(self) -> int:
        return len(self.first)

    @property
    def n_contexts(self) -> int:
        return int(self.context[-1]) + 1 if len(self.context) else 0

    def cells(self, entries: ArrayLike) -> Floats:
        """Sums over the groups ``[cell]`` of what is given by entry."""
        return np.bincount(self.cell, np.asarray(entries, float), self.n_cells).astype(float)

    def contexts(self, cells: ArrayLike) -> Floats:
        """Sums over the targets ``[context]`` of what is given by cell."""
        return np.bincount(self.context, np.asarray(cells, float), self.n_contexts).astype(float)

    def held_back(self, entries: ArrayLike, later: bool) -> tuple[Floats, Floats]:
        """What each entry's own group, or it and all later ones, hold: by entry ``[entry]``, by ``[bunch]``."""
        own: Floats = np.asarray(entries, float)
        whole = np.bincount(self.bunch, own, len(self.bunch_context)).astype(float)
        return (
            (_from_here_on(own, self.cell), _from_here_on(whole, self.bunch_context))
            if later
            else (own, whole)
        )

    def distinct_held_back(self, left: Floats, later: bool) -> Floats:
        """How many targets a context loses without its own group ``[bunch]``; `left` ``[entry]`` are tokens left."""
        if not later:
            return np.bincount(self.bunch, left <= 0, len(self.bunch_context)).astype(float)
        # A cell is new to all groups up to the first that saw it.
        starts = np.bincount(self.bunch[self.first], minlength=len(self.bunch_context))
        return _from_here_on(starts.astype(float), self.bunch_context)


def _joined(key: NDArray, size: int, column: NDArray, width: int) -> tuple[NDArray[np.int64], int]:
    key = key * width + np.maximum(column, 0)
    if size * width < 1 << 31:
        return key, size * width
    # Numbers of many columns soon leave 64 bits; those that were seen never do.
    names, place = np.unique(key, return_inverse=True)
    return place.astype(np.int64), len(names)


def _distinct(key: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray, NDArray[np.int64]]:
    """The distinct keys in order, the place of each key among them, and how often each comes."""
    if size > DENSE_KEYS:
        keys, place, count = np.unique(key, return_inverse=True, return_counts=True)
        return keys, place, count
    every = np.bincount(key, minlength=size)
    keys = np.flatnonzero(every)
    number = np.zeros(size, np.int64)
    number[keys] = np.arange(len(keys))
    return keys, number[key], every[keys]


def _numbered(ordered: NDArray) -> NDArray[np.int64]:
    """0, 1, … for the runs of equal values of an ordered array."""
    if not len(ordered):
        return np.empty(0, np.int64)
    return np.cumsum(np.concatenate([[False], ordered[1:] != ordered[:-1]])).astype(np.int64)


def _from_here_on(values: Floats, run: NDArray[np.int64]) -> Floats:
    """Sums of each value and all that follow in its run; runs are numbered in order."""
    if not len(values):
        return values
    after = np.cumsum(values[::-1])[::-1]
    last = np.flatnonzero(np.concatenate([run[1:] != run[:-1], [True]]))
    beyond = np.append(after[1:], 0.0)[last]
    return np.asarray(after - beyond[run])
