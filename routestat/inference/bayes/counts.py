"""Counts of the chain for full Bayes: checked, sparse, per bundle of groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.counting.strata import Strata
from routestat.errors import RoutestatError
from routestat.inference.base.tables import Integers, whole_counts


def chain_counts(
    first: ArrayLike, tables: Sequence[ArrayLike], triples: Sequence[Strata], states: str = "subset"
) -> tuple[NDArray[np.integer], tuple[NDArray[np.integer], ...]]:
    """Return the first layer's counts `[group, target]` and the tables `[group, source, target]` as whole numbers.

    Parameters
    ----------
    first, tables, triples
        As in `full_bayes`.
    states
        "subset", or the view that is refused.

    Raises
    ------
    RoutestatError
        For the expert view, fewer than two layers, arrays that do not chain up, no tokens.
    """
    if states != "subset" or any(strata.slots != (1, 1) for strata in triples):
        raise RoutestatError("full Bayes needs the state view: the k·k cells of a token are dependent draws")
    if not tables:
        raise RoutestatError("full Bayes needs two layers or more, got one; choose more layers")
    if len(triples) != len(tables) - 1:
        raise RoutestatError(
            "full Bayes needs a table per gap and a triple per three layers, got "
            f"{len(tables)} tables and {len(triples)} triples"
        )
    start, *counts = (whole_counts(item, "counts") for item in (first, *tables))
    if start.ndim != 2 or any(table.ndim != 3 for table in counts):
        raise RoutestatError("full Bayes needs counts [group, target] and tables [group, source, target]")
    _check_shapes(start, counts, triples)
    scored = any(strata.n_tokens for strata in triples) if triples else counts[0].any()
    if not scored or not start.any():
        few = min(len(counts) + 1, 3)
        raise RoutestatError(
            f"full Bayes needs tokens with a choice at {few} layers in a row, got none; choose other layers"
        )
    return start, tuple(counts)


def _check_shapes(
    start: NDArray[np.integer], counts: Sequence[NDArray[np.integer]], triples: Sequence[Strata]
) -> None:
    widths = [start.shape[1], *(table.shape[2] for table in counts)]
    groups = {len(start), *(len(table) for table in counts), *(strata.n_groups for strata in triples)}
    sources = [table.shape[1] for table in counts]
    ends = [(strata.n_source, strata.n_target) for strata in triples]
    if (
        len(groups) > 1
        or sources != widths[:-1]
        or ends != list(zip(widths[:-2], widths[2:], strict=True))
        or any(strata.n_strata > width for strata, width in zip(triples, widths[1:-1], strict=True))
    ):
        raise RoutestatError(
            "full Bayes needs tables of the same groups, each as long as the one before is wide"
        )


def part_used(tables: Sequence[NDArray[np.integer]], triples: Sequence[Strata]) -> str:
    """Describe the part of the tokens that the triples hold; empty if all."""
    if not triples:
        return ""
    kept, most = [strata.n_tokens for strata in triples], max(int(table.sum()) for table in tables)
    low, high = min(kept), max(kept)
    if low == most:
        return ""
    tokens = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return (
        f"on {tokens} of {most:,} tokens: those with a known choice at three layers in a row, for large traces in as "
        "many documents as fit into memory"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Sparse counts of one unit of the chain: a layer (order 0), a gap (order 1) or a triple of layers (order 2).

    Attributes
    ----------
    row, target, bundle, count
        One entry per observed cell `[cell]`. A row is a context: nothing, the layer before, or the two before.
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
        """Return (row, target, count) of the cells that were observed in any bundle."""
        key, place = np.unique(self.row * self.width + self.target, return_inverse=True)
        row, target = np.divmod(key, self.width)
        return row, target, np.bincount(place, self.count).astype(np.int64)

    def table(self) -> Integers:
        """Return the counts `[row, target]`."""
        return self._sum(self.row * self.width + self.target, len(self.parent), self.width)

    def tables(self) -> Integers:
        """Return the counts `[bundle, row, target]`."""
        rows = len(self.parent)
        cell = (self.bundle * rows + self.row) * self.width + self.target
        return self._sum(cell, self.n_bundles, rows, self.width)

    def parent_tables(self) -> Integers:
        """Return the counts `[bundle, parent, target]`."""
        cell = (self.bundle * self.n_parents + self.parent[self.row]) * self.width + self.target
        return self._sum(cell, self.n_bundles, self.n_parents, self.width)

    def row_totals(self) -> Integers:
        """Return the tokens `[bundle, row]`."""
        rows = len(self.parent)
        return self._sum(self.bundle * rows + self.row, self.n_bundles, rows)

    def of_parents(self) -> "Cells":
        """Return the same tokens with the parents as rows."""
        return self._coarser(self.parent[self.row], self.n_parents)

    def of_one_row(self) -> "Cells":
        """Return the same tokens with a single row."""
        return self._coarser(np.zeros_like(self.row), 1)

    def _coarser(self, row: Integers, n_rows: int) -> "Cells":
        rows = np.arange(n_rows)
        return _merged(row, self.target, self.bundle, self.count, rows, self.width, self.n_bundles)

    def _sum(self, key: Integers, *shape: int) -> Integers:
        return np.bincount(key, self.count, math.prod(shape)).astype(np.int64).reshape(shape)


def cells_of_table(table: NDArray[np.integer], bundle: Integers) -> Cells:
    """Build cells from counts `[group, row, target]` and the bundle of every group `[group]`."""
    group, row, target = np.nonzero(table)
    count = table[group, row, target].astype(np.int64)
    rows = np.arange(table.shape[1])
    return _merged(row, target, bundle[group], count, rows, table.shape[2], int(bundle.max()) + 1)


def cells_of_strata(strata: Strata, bundle: Integers) -> Cells:
    """Build cells of a triple of layers: a row is a choice of the middle layer and one of the layer before it."""
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
