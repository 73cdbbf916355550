"""Blocks of source states and of target states with high lift, by spectral co-clustering.

Blocks are always found, in noise too: read `share_of_mi` beside `null_share`, and the labels beside
`stability`. Nothing here is a test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Integers, read_only, whole_counts
from routestat.inference.information.mutual_information import plugin_information
from routestat.structure.coclusters import MATRICES, cocluster

_NO_INFORMATION_BITS = 1e-12


@dataclass(frozen=True, eq=False)
class Blocks:
    """Row and column blocks of one transition table.

    Blocks are numbered by descending token share. Row block b and column block b were found together for
    b < `n_paired`; blocks of rows alone or columns alone come after.

    Attributes
    ----------
    n_blocks, matrix : int, str
        As requested.
    n_row_blocks, n_column_blocks, n_paired : int
        How many have rows, columns, both.
    row_labels, column_labels : ndarray [source], [target]
        Block of each state; −1 for a state with no tokens.
    row_order, column_order : ndarray [source], [target]
        State ids block by block, heaviest first inside a block, unused states last.
    share_of_mi : float
        I(row block; column block) / I(source; target), both plug-in; NaN with a `reason`.
    method : str
        The method, in words.
    reason : str or None
        Why all states in use are in one block, if nothing could be fitted.
    """

    n_blocks: int
    matrix: str
    n_row_blocks: int
    n_column_blocks: int
    n_paired: int
    row_labels: NDArray[np.int64]
    column_labels: NDArray[np.int64]
    row_order: NDArray[np.int64]
    column_order: NDArray[np.int64]
    share_of_mi: float
    method: str
    reason: str | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for name in ("row_labels", "column_labels", "row_order", "column_order"):
            read_only(getattr(self, name))


def spectral_blocks(
    table: ArrayLike,
    n_blocks: int,
    rng: np.random.Generator,
    matrix: str = "lift",
    *,
    slots: int | None = None,
) -> Blocks:
    """Cluster source and target states together so that blocks of each have high lift.

    The algorithm and the starts are those of scikit-learn's SpectralCoclustering on a dense matrix, after dropping
    empty rows and columns, with the exact decomposition. The states are put in an order that does not depend on their
    ids first, so relabelling them changes nothing but the labels' places.

    The lift P(i, j) / (P(i) P(j)) gives every state equal weight. Where loads are uneven its few largest entries are
    chance cells of rare states, and planted blocks can be missed; the counts, which the method divides by the
    square roots of both margins, still find them.

    Parameters
    ----------
    table : array_like [source, target]
        Counts of tokens.
    n_blocks : int
        Number of blocks, ≥ 1; that many are found whether the data have them or not.
    rng : numpy.random.Generator
        Seeds the k-means.
    matrix : {"lift", "counts"}
        The matrix that is clustered.
    slots : int, optional
        Cells of each token. If given, nothing is fitted to fewer tokens than there are states to be labelled.

    Returns
    -------
    Blocks
        One block and a `reason` where there are too few states in use, too few tokens or no information.

    Raises
    ------
    RoutestatError
        If `table` holds no counts, `n_blocks` < 1 or `matrix` is unknown.

    References
    ----------
    Dhillon, Co-clustering documents and words using bipartite spectral graph partitioning, KDD 2001.
    """
    counts = counts_of(table, "table", 2)
    check_request(n_blocks, matrix)
    (fit,) = fit_blocks([counts], int(n_blocks), rng, matrix, slots)
    row_blocks, column_blocks, n_paired = _canonical_numbers(fit.used, fit.row_blocks, fit.column_blocks)
    n_row_blocks, n_column_blocks = (int(b.max(initial=-1)) + 1 for b in (row_blocks, column_blocks))
    row_labels, column_labels = np.full(counts.shape[0], -1), np.full(counts.shape[1], -1)
    row_labels[fit.rows], column_labels[fit.columns] = row_blocks, column_blocks
    return Blocks(
        n_blocks=int(n_blocks),
        matrix=matrix,
        n_row_blocks=n_row_blocks,
        n_column_blocks=n_column_blocks,
        n_paired=n_paired,
        row_labels=row_labels,
        column_labels=column_labels,
        row_order=_order(row_labels, counts.sum(axis=1)),
        column_order=_order(column_labels, counts.sum(axis=0)),
        share_of_mi=fit.share_of_mi(),
        method=f"spectral co-clustering of the {matrix} (not a test: noise has blocks too)",
        reason=fit.reason,
    )


@dataclass(frozen=True, eq=False)
class Fit:
    """Blocks of one table as they were clustered, not yet numbered.

    Attributes
    ----------
    used : int array ``[source, target]``
        The table without empty rows and columns.
    rows, columns : int array
        Which states these are.
    row_blocks, column_blocks : int array ``[source]``, ``[target]``
        Of the states in use.
    information : float
        I(source; target) of the table in nats, plug-in.
    reason : str or None
        Why nothing could be fitted.
    """

    used: Integers
    rows: Integers
    columns: Integers
    row_blocks: Integers
    column_blocks: Integers
    information: float
    reason: str | None

    def share_of_mi(self) -> float:
        """I(row block; column block) / I(source; target); NaN where nothing could be fitted."""
        if self.reason is not None:
            return np.nan
        n_rows, n_columns = int(self.row_blocks.max()) + 1, int(self.column_blocks.max()) + 1
        cells = self.row_blocks[:, None] * n_columns + self.column_blocks
        blocked = np.bincount(cells.ravel(), self.used.ravel(), n_rows * n_columns).reshape(n_rows, n_columns)
        seen = blocked[np.ix_(blocked.any(axis=1), blocked.any(axis=0))].astype(np.float64)
        return float(np.clip(plugin_information(seen) / self.information, 0, 1))


def fit_blocks(
    tables: Sequence[Integers], n_blocks: int, rng: np.random.Generator, matrix: str, slots: int | None = None
) -> list[Fit]:
    """Find the blocks of several tables ``[source, target]`` at once; each table that is fitted draws its own seed.

    Of valid tables and requests, see `counts_of` and `check_request`; for `slots` see `spectral_blocks`.
    """
    fits, todo = [], []
    for place, counts in enumerate(tables):
        rows, columns = np.flatnonzero(counts.any(axis=1)), np.flatnonzero(counts.any(axis=0))
        used = counts[np.ix_(rows, columns)]
        information = plugin_information(used.astype(np.float64)) if used.size else 0.0
        reason = unfit(used, information / np.log(2), n_blocks, slots)
        one_block = np.zeros(len(rows), np.int64), np.zeros(len(columns), np.int64)
        fits.append(Fit(used, rows, columns, *one_block, information, reason))
        if reason is None and n_blocks > 1:
            todo.append(place)
    if not todo:
        return fits
    seeds = [int(rng.integers(2**31)) for _ in todo]
    found = cocluster([fits[place].used for place in todo], n_blocks, seeds, matrix)
    for place, (row_blocks, column_blocks) in zip(todo, found, strict=True):
        fits[place] = replace(fits[place], row_blocks=row_blocks, column_blocks=column_blocks)
    return fits


def unfit(used: NDArray[np.int64], bits: float, n_blocks: int, slots: int | None = None) -> str | None:
    """Return why no blocks can be fitted to a table without empty rows and columns; None if they can."""
    if not used.size:
        return "the table is empty"
    if min(used.shape) < max(2, n_blocks):
        return (
            f"{n_blocks} blocks need as many states in use on both sides, "
            f"there are {used.shape[0]} source and {used.shape[1]} target states"
        )
    tokens, states = int(used.sum()) // (slots or 1), sum(used.shape)
    if slots is not None and tokens < states:
        return (
            f"{tokens:,} tokens are fewer than the {states:,} states that they would have to assign to blocks"
        )
    return None if bits > _NO_INFORMATION_BITS else "source and target share no information in this table"


def check_request(n_blocks: int, matrix: str) -> None:
    """Refuse a number of blocks below 1 or an unknown matrix."""
    if isinstance(n_blocks, bool) or not isinstance(n_blocks, int | np.integer) or n_blocks < 1:
        raise RoutestatError(f"n_blocks must be a whole number ≥ 1, got {n_blocks!r}")
    if matrix not in MATRICES:
        raise RoutestatError(f"matrix must be one of {', '.join(MATRICES)}, got {matrix!r}")


def _canonical_numbers(
    used: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Renumber blocks by descending token share, paired ones first; also count the paired ones."""
    n = max(rows.max(initial=-1), columns.max(initial=-1)) + 1
    tokens = np.bincount(rows, used.sum(axis=1), n) + np.bincount(columns, used.sum(axis=0), n)
    heaviest = np.argsort(-tokens, kind="stable")
    has_rows, has_columns = np.isin(heaviest, rows), np.isin(heaviest, columns)
    n_paired = int((has_rows & has_columns).sum())
    renumbered = []
    for labels, has, other in ((rows, has_rows, has_columns), (columns, has_columns, has_rows)):
        number = np.full(n, -1)
        sequence = np.concatenate([heaviest[has & other], heaviest[has & ~other]])
        number[sequence] = np.arange(len(sequence))
        renumbered.append(number[labels])
    return renumbered[0], renumbered[1], n_paired


def _order(labels: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order states block by block, heaviest first, unused last."""
    return np.lexsort((-tokens, np.where(labels < 0, len(labels), labels)))


def counts_of(values: ArrayLike, name: str, n_axes: int) -> NDArray[np.int64]:
    """Return whole counts with `n_axes` axes."""
    counts = whole_counts(values, name)
    if counts.ndim != n_axes:
        raise RoutestatError(f"{name}: expected {n_axes} axes, got shape {counts.shape}; reshape it")
    return counts.astype(np.int64, copy=False)
