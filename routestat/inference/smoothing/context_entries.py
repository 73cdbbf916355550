"""The entries of one context in some of the groups, and where they are among those of a shorter context."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.context_counts import ContextCounts


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """The entries of one context in some of the groups; parts are the (context, group) that hold them.

    Attributes
    ----------
    cell, part : int array ``[entry]``
    group, count : int and float array ``[entry]``
    context : int array ``[part]``
    place : int array ``[entry of all groups]``
        Number of each entry among these; None where they are all.
    """

    at: NDArray[np.intp] | slice
    cell: NDArray[np.integer]
    group: NDArray[np.integer]
    count: Floats
    part: NDArray[np.integer]
    context: NDArray[np.integer]
    place: NDArray[np.int64] | None

    @property
    def tokens(self) -> Floats:
        """Tokens of each part ``[part]``."""
        return self.of_parts(self.count)

    def of_parts(self, values: Floats) -> Floats:
        """Sum values of entries over the targets ``[part]``."""
        return np.bincount(self.part, values, len(self.context))


class Level:
    """One context: its counts, and the entries of all groups and of either half of them."""

    def __init__(self, counts: ContextCounts, halves: NDArray[np.int64]) -> None:
        self.counts = counts
        whole = counts.count.astype(np.float64)
        self.all = Entries(
            slice(None), counts.cell, counts.group, whole, counts.part, counts.part_context, None
        )
        half_of, n_parts = halves[counts.group], len(counts.part_context)
        self.halves = tuple(_some(counts, np.flatnonzero(half_of == half), n_parts) for half in (0, 1))
        self.tokens = tuple(np.bincount(e.cell, e.count, counts.n_cells) for e in self.halves)
        self.below: dict[tuple[str, ...], tuple] = {}

    def entries(self, half: int | None) -> Entries:
        """Return the entries of a half, or of all groups."""
        return self.all if half is None else self.halves[half]


def _some(counts: ContextCounts, at: NDArray[np.intp], n_parts: int) -> Entries:
    part = counts.part[at]
    used = np.zeros(n_parts, bool)
    used[part] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    place = np.empty(len(counts.count), np.int64)
    place[at] = np.arange(len(at))
    count = counts.count[at].astype(np.float64)
    return Entries(
        at, counts.cell[at], counts.group[at], count, number[part], counts.part_context[used], place
    )


class Places:
    """Where the cells and entries of a context are among those of a shorter one.

    Attributes
    ----------
    cell : int array ``[cell]``
    """

    def __init__(self, shorter: Level, longer: Level) -> None:
        every = shorter.counts.entries_of(longer.counts)
        self.cell = np.empty(longer.counts.n_cells, np.int64)
        self.cell[longer.counts.cell] = shorter.counts.cell[every]
        self.n_cells = shorter.counts.n_cells
        self._every = every
        self._halves = tuple(
            short.place[every[long.at]] for short, long in zip(shorter.halves, longer.halves, strict=True)
        )

    def entry(self, half: int | None) -> NDArray[np.integer]:
        """Return the places of the entries of all groups or of a half ``[entry]``."""
        return self._every if half is None else self._halves[half]

    def summed(self, cells: Floats) -> Floats:
        """Sum values of cells ``[cell]`` to cells of the shorter context."""
        return np.bincount(self.cell, cells, self.n_cells)
