"""How far blocks can be trusted: whether other documents give the same ones, and what blocks of noise explain."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.resampling import group_resamples
from routestat.inference.base.tables import Integers, read_only, whole_counts
from routestat.structure.biclusters import Blocks, check_request, counts_of, fit_blocks, unfit

_PATEFIELD_UP_TO = 10**9  # scipy's sampler overruns its integers somewhere above 10**10


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
    counts = whole_counts(tables, "tables")
    if counts.ndim != 3:
        raise RoutestatError(f"tables: expected 3 axes, got shape {counts.shape}; reshape it")
    held = counts.any(axis=(1, 2))
    counts = counts if held.all() else counts[held]
    total = counts.sum(axis=0, dtype=np.int64)
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
        for again in fit_blocks(list(resampled.astype(np.int64)), blocks.n_blocks, rng, blocks.matrix):
            # States in use in the resample are in use in the sum.
            row, column = blocks.row_labels[again.rows], blocks.column_labels[again.columns]
            scores.append((adjusted_rand(row, again.row_blocks), adjusted_rand(column, again.column_blocks)))
    row, column = np.mean(scores, axis=0).tolist()
    return Stability((row + column) / 2, row, column, n_resamples, len(counts))


def null_share(
    table: ArrayLike,
    n_blocks: int,
    rng: np.random.Generator,
    n_draws: int = 10,
    matrix: str = "lift",
    *,
    slots: int | None = None,
) -> NullShare:
    """Find blocks in independent tables with the margins of `table`: the share that noise explains.

    Parameters
    ----------
    table : array_like [source, target]
        Counts of tokens.
    n_blocks, matrix, slots : int, str, int
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
    counts = counts_of(table, "table", 2)
    check_request(n_blocks, matrix)
    if n_draws < 1:
        raise RoutestatError(f"n_draws must be ≥ 1, got {n_draws}")
    rows, columns, n = counts.sum(axis=1), counts.sum(axis=0), int(counts.sum())
    exact = n <= _PATEFIELD_UP_TO
    method = "independent tokens, " + ("fixed margins (Patefield)" if exact else "multinomial")
    reason = unfit(counts[np.ix_(rows > 0, columns > 0)], np.inf, n_blocks, slots)
    if reason is not None:
        return NullShare(np.full(n_draws, np.nan), np.nan, n_blocks, method, reason)
    if exact:
        # scipy.stats takes half a second to import, and scarce tables never come here.
        from scipy.stats import random_table  # noqa: PLC0415

        draws = random_table(rows, columns, seed=rng).rvs(n_draws, method="patefield").astype(np.int64)
    else:
        distribution = np.outer(rows / n, columns / n).ravel()
        draws = rng.multinomial(n, distribution / distribution.sum(), size=n_draws).reshape(
            n_draws, *counts.shape
        )
    shares = np.array([fit.share_of_mi() for fit in fit_blocks(list(draws), int(n_blocks), rng, matrix)])
    known = shares[~np.isnan(shares)]
    if known.size == 0:
        return NullShare(shares, np.nan, n_blocks, method, "no draw held any information")
    return NullShare(shares, float(known.mean()), n_blocks, method)


def adjusted_rand(a: Integers, b: Integers) -> float:
    """Agreement of two labellings of the same states, 0 on average by chance and 1 when equal.

    References
    ----------
    Hubert & Arabie, Comparing partitions, Journal of Classification 1985.
    """
    n_a, n_b = int(a.max(initial=-1)) + 1, int(b.max(initial=-1)) + 1
    both = np.bincount(a * n_b + b, minlength=n_a * n_b).reshape(n_a, n_b)
    together, in_a, in_b = (
        int((sizes * (sizes - 1)).sum()) // 2 for sizes in (both, both.sum(axis=1), both.sum(axis=0))
    )
    pairs = len(a) * (len(a) - 1) // 2
    # One cluster on both sides, or every state alone on both.
    if in_a == in_b and in_a in (0, pairs):
        return 1.0
    by_chance = in_a * in_b / pairs
    return (together - by_chance) / ((in_a + in_b) / 2 - by_chance)
