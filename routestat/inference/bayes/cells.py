"""Sparse counts of a layer, a gap or a triple of layers, kept per bundle of groups of documents."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.strata import Strata
from routestat.inference.base.tables import Integers


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Sparse counts of one unit of the chain: a layer (order 0), a gap (order 1) or a triple of layers (order 2).

    Attributes
    ----------
    row, target, bundle, count
        One entry per seen cell `[cell]`. A row is a context: nothing, the layer before, or the two before.
    parent
        Of each row `[row]` the row of order 1 that it backs off to (itself below order 2).
    width, n_bundles
        Target states; bundles of groups.
    """

    row: Integers
    target: Integers
    bundle: Integers
    count: Integers
    parent: Integers
    width: int
    n_bundles: int

    @property
    def n_parents(self) -> int:
        """Rows of order 1 that the rows back off to."""
        return int(self.parent.max(initial=-1)) + 1

    def pooled(self) -> tuple[Integers, Integers, Integers]:
        """(row, target, count) of the cells that were seen in any bundle."""
        key, place = np.unique(self.row * self.width + self.target, return_inverse=True)
        row, target = np.divmod(key, self.width)
        return row, target, np.bincount(place, self.count).astype(np.int64)

    def table(self) -> Integers:
        """Counts `[row, target]`."""
        return self._sum(self.row * self.width + self.target, len(self.parent), self.width)

    def tables(self) -> Integers:
        """Counts `[bundle, row, target]`."""
        rows = len(self.parent)
        cell = (self.bundle * rows + self.row) * self.width + self.target
        return self._sum(cell, self.n_bundles, rows, self.width)

    def parent_tables(self) -> Integers:
        """Counts `[bundle, parent, target]`."""
        cell = (self.bundle * self.n_parents + self.parent[self.row]) * self.width + self.target
        return self._sum(cell, self.n_bundles, self.n_parents, self.width)

    def row_totals(self) -> Integers:
        """Tokens `[bundle, row]`."""
        rows = len(self.parent)
        return self._sum(self.bundle * rows + self.row, self.n_bundles, rows)

    def of_parents(self) -> "Cells":
        """The same tokens with the parents as rows."""
        return self._coarser(self.parent[self.row], self.n_parents)

    def of_one_row(self) -> "Cells":
        """The same tokens with nothing before them."""
        return self._coarser(np.zeros_like(self.row), 1)

    def _coarser(self, row: Integers, n_rows: int) -> "Cells":
        rows = np.arange(n_rows)
        return _merged(row, self.target, self.bundle, self.count, rows, self.width, self.n_bundles)

    def _sum(self, key: Integers, *shape: int) -> Integers:
        return np.bincount(key, self.count, math.prod(shape)).astype(np.int64).reshape(shape)


def cells_of_table(table: NDArray, bundle: Integers) -> Cells:
    """Cells of counts `[group, row, target]`, with the bundle of every group `[group]`."""
    group, row, target = np.nonzero(table)
    count = table[group, row, target].astype(np.int64)
    rows = np.arange(table.shape[1])
    return _merged(row, target, bundle[group], count, rows, table.shape[2], int(bundle.max()) + 1)


def cells_of_strata(strata: Strata, bundle: Integers) -> Cells:
    """Cells of a triple of layers: a row is a choice of the layer in the middle and one of the layer before it."""
    seen, row = np.unique(strata.stratum * strata.n_source + strata.source, return_inverse=True)
    parent, own = seen // strata.n_source, bundle[strata.group]
    return _merged(row, strata.target, own, strata.count, parent, strata.n_target, int(bundle.max()) + 1)


def _merged(
    row: Integers,
    target: Integers,
    bundle: Integers,
    count: Integers,
    parent: Integers,
    width: int,
    n_bundles: int,
) -> Cells:
    key = (row * width + target) * n_bundles + bundle
    key, place = np.unique(key, return_inverse=True)
    rest, own = np.divmod(key, n_bundles)
    row, target = np.divmod(rest, width)
    return Cells(row, target, own, np.bincount(place, count).astype(np.int64), parent, width, n_bundles)
