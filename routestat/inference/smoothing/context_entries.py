"""The entries of one context in some of the groups, and where they are among those of a shorter context."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.backoff import summed
from routestat.counting.kernels.contexts import entries_of_halves, places_in_shorter
from routestat.counting.kernels.distributions import starts_of
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
    at : int array ``[entry]`` or slice
        The entries among those of all groups.
    """

    at: NDArray[np.intp] | slice
    cell: NDArray[np.integer]
    group: NDArray[np.integer]
    count: Floats
    part: NDArray[np.integer]
    context: NDArray[np.integer]

    @property
    def tokens(self) -> Floats:
        """Tokens of each part ``[part]``."""
        return self.of_parts(self.count)

    def of_parts(self, values: NDArray[Any]) -> Floats:
        """Sum values of entries over the targets ``[part]``."""
        found: Floats = summed(self.part, np.asarray(values, np.float64), len(self.context))
        return found


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
        )
        place, entries, parts, numbers, tokens, context, in_cell = entries_of_halves(
            halves, counts.cell, counts.group, counts.count, counts.part, counts.part_context, counts.n_cells
        )
        self.halves: tuple[Entries, ...] = ()
        self.tokens: tuple[Floats, ...] = tuple(in_cell)
        for half in (0, 1):
            at, cell, group, part = numbers[half, :, : entries[half]]
            count = tokens[half, : entries[half]]
            self.halves += (Entries(at, cell, group, count, part, context[half, : parts[half]]),)
        self.half_of, self.place = halves, place
        self.below: dict[tuple[str, ...], Places] = {}
        self._starts: dict[int, NDArray[np.int64]] = {}

    def entries(self, half: int | None) -> Entries:
        """Return the entries of a half, or of all groups."""
        return self.all if half is None else self.halves[half]

    def starts(self, half: int) -> NDArray[np.int64]:
        """Return where the cells, parts and entries of a half begin, of each context ``[3, context + 1]``."""
        if half not in self._starts:
            counts, entries = self.counts, self.halves[half]
            cells = starts_of(counts.context, counts.n_contexts)
            parts = starts_of(entries.context, counts.n_contexts)
            of_cells = starts_of(entries.cell, counts.n_cells)
            self._starts[half] = np.stack([cells, parts, of_cells[cells]])
        return self._starts[half]


class Places:
    """Where the cells and entries of a context are among those of a shorter one.

    Attributes
    ----------
    cell : int array ``[cell]``
    """

    def __init__(self, shorter: Level, longer: Level) -> None:
        counts = longer.counts
        self._every = shorter.counts.entries_of(counts)
        self.cell, self._halves = places_in_shorter(
            *(self._every, shorter.counts.cell, shorter.place),
            *(counts.cell, counts.group, longer.place, longer.half_of, counts.n_cells),
        )
        self.n_cells, self._entries = shorter.counts.n_cells, [len(half.count) for half in longer.halves]

    def entry(self, half: int | None) -> NDArray[np.integer]:
        """Return the places of the entries of all groups or of a half ``[entry]``."""
        return self._every if half is None else self._halves[half, : self._entries[half]]

    def context(self, shorter: Level, longer: Level) -> NDArray[np.integer]:
        """Return the shorter context of each context ``[context]``."""
        found = np.zeros(longer.counts.n_contexts, np.int64)
        found[longer.counts.context] = shorter.counts.context[self.cell]
        return found

    def part(self, shorter: Level, longer: Level, half: int) -> NDArray[np.integer]:
        """Return the shorter context's part of each part of a half ``[part]``."""
        found = np.zeros(len(longer.halves[half].context), np.int64)
        found[longer.halves[half].part] = shorter.halves[half].part[self.entry(half)]
        return found

    def summed(self, cells: Floats) -> Floats:
        """Sum values of cells ``[cell]`` to cells of the shorter context."""
        return np.bincount(self.cell, cells, self.n_cells).astype(np.float64, copy=False)
