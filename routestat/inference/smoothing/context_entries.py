"""The entries of one context in some of the groups, and where they are among those of a shorter context."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.contexts import entries_in
from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.context_counts import ContextCounts


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """The entries of one context in some of the groups; parts are the (context, group) that hold them.

    Attributes
    ----------
    cell, group, part : int array ``[entry]``
    count : float array ``[entry]``
    context : int array ``[part]``
    place : int array ``[entry of all groups]``
        Number of each entry among these.
    at : int array ``[entry]`` or slice
        The entries among those of all groups.
    """

    at: NDArray[np.intp] | slice
    cell: NDArray[np.integer]
    group: NDArray[np.integer]
    count: Floats
    part: NDArray[np.integer]
    context: NDArray[np.integer]
    place: NDArray[np.int64]

    @property
    def tokens(self) -> Floats:
        """Tokens of each part ``[part]``."""
        return self.of_parts(self.count)

    def of_parts(self, values: NDArray[Any]) -> Floats:
        """Sum values of entries over the targets ``[part]``."""
        return np.bincount(self.part, values, len(self.context)).astype(np.float64, copy=False)


class Level:
    """One context: its counts, and the entries of all groups and of either half of them."""

    def __init__(self, counts: ContextCounts, halves: NDArray[np.int64]) -> None:
        self.counts = counts
        whole = counts.count.astype(np.float64)
        self.all = Entries(
            slice(None),
            counts.cell,
            counts.group,
            whole,
            counts.part,
            counts.part_context,
            np.arange(len(whole)),
        )
        found = [_some(counts, halves == half) for half in (0, 1)]
        self.halves, self.tokens = zip(*found, strict=True)
        self.below: dict[tuple[str, ...], Places] = {}

    def entries(self, half: int | None) -> Entries:
        """Return the entries of a half, or of all groups."""
        return self.all if half is None else self.halves[half]


def _some(counts: ContextCounts, chosen: NDArray[np.bool_]) -> tuple[Entries, Floats]:
    """Return the entries of chosen groups, and their tokens ``[cell]``."""
    at, cell, group, count, part, context, place, tokens = entries_in(
        chosen, counts.cell, counts.group, counts.count, counts.part, counts.part_context, counts.n_cells
    )
    return Entries(at, cell, group, count, part, context, place), tokens


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
        return np.bincount(self.cell, cells, self.n_cells).astype(np.float64, copy=False)
