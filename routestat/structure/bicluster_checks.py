"""How far blocks can be trusted: whether other documents give the same ones, and what blocks of noise explain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.resampling import group_resamples
from routestat.inference.base.tables import Integers, read_only
from routestat.structure.biclusters import share_of_information

Labels = tuple[Integers, Integers]
Refit = Callable[[Sequence[Integers]], list[Labels]]

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
    method: str
    reason: str | None = None

    def __post_init__(self) -> None:
        """Make the shares read-only."""
        read_only(self.shares)


def stability(
    tables: Integers, labels: Labels, refit: Refit, rng: np.random.Generator, n_resamples: int = 10
) -> Stability:
    """Find the blocks again in bootstraps of whole groups and compare them with those of all data.

    Parameters
    ----------
    tables : int array ``[group, source, target]``
        Counts per group of whole documents, without states that have none.
    labels : pair of int arrays ``[source]``, ``[target]``
        Blocks of their sum.
    refit : callable
        Returns blocks of each of several tables ``[source, target]``.
    rng : numpy.random.Generator
    n_resamples : int
        Bootstraps, ≥ 1.

    Returns
    -------
    Stability
        Adjusted Rand indices over the states in use in both, averaged over the resamples; NaN with a
        `reason` where there are no blocks or fewer than two groups.
    """
    counts = tables[tables.any(axis=(1, 2))]
    reason = None
    if max(int(own.max(initial=0)) for own in labels) < 1:
        reason = "there is one block: its labels cannot differ"
    elif len(counts) < 2:
        reason = "a bootstrap needs at least 2 groups with tokens, there is 1"
    if reason is not None:
        return Stability(np.nan, np.nan, np.nan, 0, len(counts), reason)
    scores = []
    for resampled in group_resamples(counts, rng, n_resamples):
        drawn = list(resampled.astype(np.int64))
        for table, again in zip(drawn, refit(drawn), strict=True):
            used = table.any(axis=1), table.any(axis=0)
            scores.append([adjusted_rand(a[on], b[on]) for a, b, on in zip(labels, again, used, strict=True)])
    row, column = np.mean(scores, axis=0).tolist()
    return Stability((row + column) / 2, row, column, n_resamples, len(counts))


def null_share(table: Integers, refit: Refit, rng: np.random.Generator, n_draws: int = 5) -> NullShare:
    """Find blocks in independent tables with the margins of `table`: the share that noise explains.

    Parameters
    ----------
    table : int array ``[source, target]``
        Counts, without states that have none.
    refit : callable
        Returns blocks of each of several tables ``[source, target]``.
    rng : numpy.random.Generator
    n_draws : int
        Tables drawn, ≥ 1: exactly these margins (Patefield's algorithm), or a multinomial with these
        margins on average beyond 10⁹ counts.

    Returns
    -------
    NullShare
        NaN with a `reason` where no draw holds any information.
    """
    rows, columns, n = table.sum(axis=1), table.sum(axis=0), int(table.sum())
    exact = n <= _PATEFIELD_UP_TO
    method = "independent tokens, " + ("fixed margins (Patefield)" if exact else "multinomial")
    if exact:
        # scipy.stats takes half a second to import, and tables without blocks never come here.
        from scipy.stats import random_table  # noqa: PLC0415

        draws = random_table(rows, columns, seed=rng).rvs(n_draws, method="patefield").astype(np.int64)
    else:
        distribution = np.outer(rows / n, columns / n).ravel()
        draws = rng.multinomial(n, distribution / distribution.sum(), size=n_draws)
        draws = draws.reshape(n_draws, *table.shape)
    found = refit(list(draws))
    shares = np.array([share_of_information(own, *labels) for own, labels in zip(draws, found, strict=True)])
    known = shares[~np.isnan(shares)]
    if known.size == 0:
        return NullShare(shares, np.nan, method, "no draw held any information")
    return NullShare(shares, float(known.mean()), method)


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
