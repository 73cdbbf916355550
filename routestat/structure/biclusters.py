"""Blocks of source states and of target states with high lift, by spectral co-clustering.

Blocks are always found, in noise too: read `share_of_mi` beside `null_share`, and the labels beside
`stability`. Nothing here is a test.
"""

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import random_table
from sklearn.cluster import SpectralCoclustering
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import ThreadpoolController

from routestat.errors import RoutestatError
from routestat.inference.base.resampling import group_resamples
from routestat.inference.base.tables import lift, read_only, whole_counts
from routestat.inference.information.mutual_information import mutual_information

_MATRICES = ("lift", "counts")
_NO_INFORMATION_BITS = 1e-12
_EXACT_SVD_UP_TO = 256
_PATEFIELD_UP_TO = 10**9  # scipy's sampler overruns its integers somewhere above 10**10


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


@dataclass(frozen=True, eq=False)
class Stability:
    """Agreement of the labels over bootstraps of documents: adjusted Rand indices, 1 when equal.

    `ari` is the mean of `row_ari` and `column_ari`. Resamples share most of their tokens, so that blocks of
    noise score above zero too.
    """

    ari: float
    row_ari: float
    column_ari: float
    n_resamples: int
    n_groups: int
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class NullShare:
    """The share of MI that blocks explain on independent tables with the same margins.

    `shares` is [draw]. The tables are drawn with independent tokens; documents of different
    topics can raise the share of pure noise above this.
    """

    shares: NDArray[np.float64]
    mean_share: float
    n_blocks: int
    method: str
    reason: str | None = None

    def __post_init__(self) -> None:
        """Make the shares read-only."""
        read_only(self.shares)


def spectral_blocks(
    table: ArrayLike, n_blocks: int, rng: np.random.Generator, matrix: str = "lift"
) -> Blocks:
    """Cluster source and target states together so that blocks of each have high lift.

    Scikit-learn's SpectralCoclustering on a dense matrix, after dropping empty rows and columns. The states
    are put in an order that does not depend on their ids first, so relabelling them changes nothing but the
    labels' places.

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

    Returns
    -------
    Blocks
        One block and a `reason` where there are too few states in use or no information.

    Raises
    ------
    RoutestatError
        If `table` holds no counts, `n_blocks` < 1 or `matrix` is unknown.

    References
    ----------
    Dhillon, Co-clustering documents and words using bipartite spectral graph partitioning, KDD 2001.
    """
    counts = _counts(table, "table", 2)
    _check_request(n_blocks, matrix)
    rows, columns = np.flatnonzero(counts.any(axis=1)), np.flatnonzero(counts.any(axis=0))
    used = counts[np.ix_(rows, columns)]
    bits = float(mutual_information(used)) if used.size else 0.0
    reason = _unfit(used, bits, int(n_blocks))
    if reason is None and n_blocks > 1:
        row_blocks, column_blocks = _coclusters(used, int(n_blocks), rng, matrix)
    else:
        row_blocks, column_blocks = np.zeros(len(rows), np.int64), np.zeros(len(columns), np.int64)
    row_blocks, column_blocks, n_paired = _canonical_numbers(used, row_blocks, column_blocks)
    n_row_blocks, n_column_blocks = (int(b.max(initial=-1)) + 1 for b in (row_blocks, column_blocks))
    share = np.nan
    if reason is None:
        blocked = np.zeros((n_row_blocks, n_column_blocks), dtype=np.int64)
        np.add.at(blocked, (row_blocks[:, None], column_blocks), used)
        share = float(np.clip(mutual_information(blocked) / bits, 0, 1))
    row_labels, column_labels = np.full(counts.shape[0], -1), np.full(counts.shape[1], -1)
    row_labels[rows], column_labels[columns] = row_blocks, column_blocks
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
        share_of_mi=share,
        method=f"spectral co-clustering of the {matrix} (not a test: noise has blocks too)",
        reason=reason,
    )


def stability(
    tables: ArrayLike, blocks: Blocks, rng: np.random.Generator, n_resamples: int = 20
) -> Stability:
    """Refit the blocks on bootstraps of whole groups and compare the labels with those of all data.

    Parameters
    ----------
    tables : array_like [group, source, target]
        Counts per group of whole documents; their sum is the table that `blocks` was found on.
    blocks : Blocks
        From `spectral_blocks`.
    rng : numpy.random.Generator
    n_resamples : int
        Bootstraps, ≥ 1.

    Returns
    -------
    Stability
        Adjusted Rand indices over the states in use in both, averaged over the resamples; NaN with a
        `reason` where there are no blocks or fewer than two groups.

    Raises
    ------
    RoutestatError
        If `tables` and `blocks` do not belong together.
    """
    counts = _counts(tables, "tables", 3)
    counts = counts[counts.any(axis=(1, 2))]
    total = counts.sum(axis=0)
    used = (total.any(axis=1), total.any(axis=0))
    for in_use, labels in zip(used, (blocks.row_labels, blocks.column_labels), strict=True):
        if not np.array_equal(in_use, labels >= 0):
            raise RoutestatError("blocks must come from the sum of these tables; run spectral_blocks on that")
    if n_resamples < 1:
        raise RoutestatError(f"n_resamples must be ≥ 1, got {n_resamples}")
    reason = blocks.reason
    if reason is None and max(blocks.n_row_blocks, blocks.n_column_blocks) < 2:
        reason = "there is one block: its labels cannot differ"
    if reason is None and len(counts) < 2:
        reason = "a bootstrap needs at least 2 groups with tokens, there is 1"
    if reason is not None:
        return Stability(np.nan, np.nan, np.nan, 0, len(counts), reason)
    scores = []
    for resampled in group_resamples(counts, rng, n_resamples):
        for table in resampled:
            again = spectral_blocks(table.astype(np.int64), blocks.n_blocks, rng, blocks.matrix)
            scores.append(
                (
                    _rand(blocks.row_labels, again.row_labels),
                    _rand(blocks.column_labels, again.column_labels),
                )
            )
    row, column = np.mean(scores, axis=0).tolist()
    return Stability((row + column) / 2, row, column, n_resamples, len(counts))


def null_share(
    table: ArrayLike, n_blocks: int, rng: np.random.Generator, n_draws: int = 10, matrix: str = "lift"
) -> NullShare:
    """Find blocks in independent tables with the margins of `table`: the share that noise explains.

    Parameters
    ----------
    table : array_like [source, target]
        Counts of tokens.
    n_blocks, matrix : int, str
        As for `spectral_blocks`.
    rng : numpy.random.Generator
    n_draws : int
        Tables drawn, ≥ 1: exactly these margins (Patefield's algorithm), or a multinomial with these
        margins on average beyond 10⁹ tokens.

    Returns
    -------
    NullShare
        NaN with a `reason` where `table` itself has too few states for a fit.

    Raises
    ------
    RoutestatError
        As for `spectral_blocks`, or if `n_draws` < 1.
    """
    counts = _counts(table, "table", 2)
    _check_request(n_blocks, matrix)
    if n_draws < 1:
        raise RoutestatError(f"n_draws must be ≥ 1, got {n_draws}")
    rows, columns, n = counts.sum(axis=1), counts.sum(axis=0), int(counts.sum())
    exact = n <= _PATEFIELD_UP_TO
    method = "independent tokens, " + ("fixed margins (Patefield)" if exact else "multinomial")
    reason = _unfit(counts[np.ix_(rows > 0, columns > 0)], np.inf, n_blocks)
    if reason is not None:
        return NullShare(np.full(n_draws, np.nan), np.nan, n_blocks, method, reason)
    if exact:
        draws = random_table(rows, columns, seed=rng).rvs(n_draws, method="patefield").astype(np.int64)
    else:
        distribution = np.outer(rows / n, columns / n).ravel()
        draws = rng.multinomial(n, distribution / distribution.sum(), size=n_draws).reshape(
            n_draws, *counts.shape
        )
    shares = np.array([spectral_blocks(draw, n_blocks, rng, matrix).share_of_mi for draw in draws])
    known = shares[~np.isnan(shares)]
    if known.size == 0:
        return NullShare(shares, np.nan, n_blocks, method, "no draw held any information")
    return NullShare(shares, float(known.mean()), n_blocks, method)


def _unfit(used: NDArray[np.int64], bits: float, n_blocks: int) -> str | None:
    """Return why no blocks can be fitted to a table without empty rows and columns; None if they can."""
    if not used.size:
        return "the table is empty"
    if min(used.shape) < max(2, n_blocks):
        return (
            f"{n_blocks} blocks need as many states in use on both sides, "
            f"there are {used.shape[0]} source and {used.shape[1]} target states"
        )
    return None if bits > _NO_INFORMATION_BITS else "source and target share no information in this table"


def _coclusters(
    used: NDArray[np.int64], n_blocks: int, rng: np.random.Generator, matrix: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return scikit-learn's row and column labels, independent of the order of the states."""
    rows, columns = _canonical_order(used)
    ordered = used[np.ix_(rows, columns)]
    # Oversampling to the full width makes the randomised SVD exact, so that only k-means depends on `rng`.
    width = min(used.shape) if min(used.shape) <= _EXACT_SVD_UP_TO else None
    model = SpectralCoclustering(n_blocks, n_svd_vecs=width, random_state=int(rng.integers(2**31)))
    # One thread: sums over threads have no fixed order, and small tables gain nothing from more.
    with warnings.catch_warnings(), _threads().limit(limits=1):
        warnings.simplefilter("ignore")
        model.fit(lift(ordered) if matrix == "lift" else ordered.astype(np.float64))
    row_blocks, column_blocks = np.empty(len(rows), np.int64), np.empty(len(columns), np.int64)
    row_blocks[rows], column_blocks[columns] = model.row_labels_, model.column_labels_
    return row_blocks, column_blocks


def _check_request(n_blocks: int, matrix: str) -> None:
    """Refuse a number of blocks below 1 or an unknown matrix."""
    if isinstance(n_blocks, bool) or not isinstance(n_blocks, int | np.integer) or n_blocks < 1:
        raise RoutestatError(f"n_blocks must be a whole number ≥ 1, got {n_blocks!r}")
    if matrix not in _MATRICES:
        raise RoutestatError(f"matrix must be one of {', '.join(_MATRICES)}, got {matrix!r}")


@cache
def _threads() -> ThreadpoolController:
    """Return the thread pools of this process; finding them takes longer than a fit."""
    return ThreadpoolController()


def _canonical_order(table: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order rows and columns by the counts alone, independent of the states' ids.

    Colour refinement: states are ranked by the counts they share with ranked states of the other side.
    """
    n_rows, n_columns = table.shape
    columns = np.zeros(n_columns, dtype=np.int64)
    for _ in range(3):
        rows = _ranks(table * n_columns + columns)
        columns = _ranks((table * n_rows + rows[:, None]).T)
    return np.argsort(rows, kind="stable"), np.argsort(columns, kind="stable")


def _ranks(coded: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank each row as a multiset, densely."""
    return np.unique(np.sort(coded, axis=1), axis=0, return_inverse=True)[1].reshape(-1)


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


def _rand(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Compute the adjusted Rand index over the states in use in both."""
    both = (a >= 0) & (b >= 0)
    return float(adjusted_rand_score(a[both], b[both]))


def _counts(values: ArrayLike, name: str, n_axes: int) -> NDArray[np.int64]:
    """Return whole counts with `n_axes` axes."""
    counts = whole_counts(values, name)
    if counts.ndim != n_axes:
        raise RoutestatError(f"{name}: expected {n_axes} axes, got shape {counts.shape}; reshape it")
    return counts.astype(np.int64, copy=False)
