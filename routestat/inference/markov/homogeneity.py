"""Homogeneity over depth: statistics that are invariant to relabelling of states, compared between gaps.

State 3 of one layer has nothing to do with state 3 of the next, so transition matrices are never compared cell by
cell: only the information that adjacent layers share, and the conditional entropy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.chunks import chunks
from routestat.inference.base.clustered_score_test import few_groups, score_test
from routestat.inference.base.estimate import Estimate, Estimates, check_level
from routestat.inference.base.jackknife import jackknife_contributions, jackknife_each, jackknife_sum
from routestat.inference.base.tables import Floats, whole_counts
from routestat.inference.base.units import too_few
from routestat.inference.information.mutual_information import batch_information

# Measured at 28 states: beyond this bias in bits a test at 5 % rejects up to 10 %.
LARGE_BIAS = 0.1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StatisticByGap:
    """One statistic of every gap, in bits, and whether it is the same in all.

    Attributes
    ----------
    gap_bits, mean_bits
        Of each gap, `[gap]`, and the mean of all (no axes).
    range_bits
        Largest less smallest of `gap_bits.value`; above zero by chance alone.
    spread_bits
        Standard deviation between gaps without the sampling variance, at least 0.
    slope_bits_per_layer
        Least-squares trend over depth; its interval is by documents, for these layers (no axes).
    p_clustered, log10_p_clustered, nu
        Clustered test that the statistic is the same in all gaps, and its degrees of freedom.
    reason
        Why there is no interval or test, or None.
    """

    gap_bits: Estimates
    mean_bits: Estimate
    range_bits: float
    spread_bits: float
    slope_bits_per_layer: Estimate
    p_clustered: float
    log10_p_clustered: float
    nu: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Homogeneity:
    """Whether the gaps are alike; see `homogeneity`.

    Attributes
    ----------
    layers
        Where each gap starts.
    information
        Of I(X_l; X_l+1).
    conditional_entropy
        Of H(X_l+1 | X_l).
    n_tokens
        Of each gap.
    n_groups, level
        Groups that held any token, and the level of the intervals.
    reason, note
        Why there is nothing to compare, and a caution about few groups; or None.
    """

    layers: tuple[int, ...]
    information: StatisticByGap
    conditional_entropy: StatisticByGap
    n_tokens: tuple[int, ...]
    n_groups: int
    level: float
    reason: str | None = None
    note: str | None = None


def homogeneity(
    tables: Sequence[ArrayLike], *, layers: Sequence[int] | None = None, level: float = 0.95
) -> Homogeneity:
    """Compare the gaps by information and conditional entropy, which are invariant to relabelling of states.

    A group's score is what it adds to the jackknife estimate of each gap, less its mean over the gaps: its mean is
    zero where the gaps are alike, whatever the dependence inside the group, and since all gaps rest on the same tokens
    their covariance is estimated from the groups. The jackknife removes the plug-in bias, which differs between gaps
    with the states in use and with the dependence within documents. The scores are tested by `score_test`; where
    adjacent layers are independent the test is conservative. Equal information does not imply equal transitions;
    unequal information implies unequal transitions under every labelling.

    Parameters
    ----------
    tables
        Whole counts `[group, source, target]`, one per gap in order of depth; the same groups of whole documents in
        all. Numbers of states may differ. Groups are taken as independent; tokens within a group need not be.
    layers
        Number of the layer where each gap starts, for the trend (0, 1, …).
    level
        Of confidence.

    Raises
    ------
    RoutestatError
        For tables that are not such counts or have other groups, layers that do not fit, or no sensible `level`.
    """
    check_level(level)
    counts = [whole_counts(table, "tables") for table in tables]
    if any(table.ndim != 3 or len(table) != len(counts[0]) for table in counts):
        shapes = ", ".join(str(table.shape) for table in counts)
        raise RoutestatError(
            f"tables: expected [group, source, target] of the same groups, got {shapes}; count alike"
        )
    places = tuple(range(len(counts)) if layers is None else map(int, layers))
    if len(places) != len(counts) or len(set(places)) < len(places):
        raise RoutestatError(
            f"layers: expected a different number for each of {len(counts)} gaps, got {places}"
        )
    groups = len(counts[0]) if counts else 0
    size = np.zeros((len(counts), groups))
    for gap, table in enumerate(counts):
        size[gap] = table.sum(axis=(1, 2), dtype=np.int64)
    used = np.flatnonzero(size.any(axis=0))
    whole, left_out = np.full((2, len(counts)), math.nan), np.full((2, len(counts), used.size), math.nan)
    for gap, table in enumerate(counts):
        if size[gap].any():
            # Groups without a token of this gap change nothing here, but do in other gaps.
            whole[:, gap], left_out[:, gap] = _bits(table if used.size == len(table) else table[used])
    size = size[:, used]
    reason = _reason(size)
    information, conditional_entropy = (
        _statistic(f, left, size, places, level, reason) for f, left in zip(whole, left_out, strict=True)
    )
    return Homogeneity(
        layers=places,
        information=information,
        conditional_entropy=conditional_entropy,
        n_tokens=tuple(int(n) for n in size.sum(axis=1)),
        n_groups=int(used.size),
        level=level,
        reason=reason,
        note=few_groups(int(used.size)) or _sparse(information.gap_bits),
    )


def _reason(size: Floats) -> str | None:
    gaps = len(size)
    if gaps < 2:
        return f"{gaps + 1 if gaps else 0} layers: there are no two gaps to compare"
    if not size.any():
        return "no tokens"
    few = (f"gap {gap}: {why}" for gap, own in enumerate(size) if (why := too_few(own)))
    return next(few, None)


def _sparse(information: Estimates) -> str | None:
    off = information.plugin - information.value
    if not (off > LARGE_BIAS).any():
        return None
    return (
        f"plug-in information was off by up to {np.nanmax(off):.2g} bits: with so few tokens for the states the "
        "jackknife leaves a part of that, and the tests reject up to twice as often as the nominal level"
    )


def _bits(table: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Information and conditional entropy in bits of all groups `[2]`, and without each group `[2, group]`."""
    total = table.sum(axis=0, dtype=np.float64)
    parts = [_entropies(total - table[part]) for part in chunks(len(table), total.size)]
    return _entropies(total[None])[:, 0], np.concatenate(parts, axis=1)


def _entropies(totals: Floats) -> Floats:
    """Plug-in information and conditional entropy in bits `[2, batch]` of counts `[batch, source, target]`."""
    return np.stack(batch_information(totals)) / math.log(2.0)


def _statistic(
    whole: Floats, left_out: Floats, size: Floats, layers: tuple[int, ...], level: float, reason: str | None
) -> StatisticByGap:
    each, gaps, nan = jackknife_each(whole, left_out, size, level), len(whole), math.nan
    if reason is not None:
        none = Estimate(nan, nan, nan, nan, 0, reason)
        return StatisticByGap(
            gap_bits=each, mean_bits=none, range_bits=nan, spread_bits=nan, slope_bits_per_layer=none,
            p_clustered=nan, log10_p_clustered=nan, nu=nan, reason=reason,
        )  # fmt: skip
    depth = np.asarray(layers, dtype=np.float64) - np.mean(layers)
    added, by_size = (
        np.array(part)
        for part in zip(
            *(jackknife_contributions(f, left, n) for f, left, n in zip(whole, left_out, size, strict=True)),
            strict=True,
        )
    )
    # Where choices are missing a group has more weight in one gap than in another, which is no difference of the gaps.
    scores = added - by_size * each.value.mean()
    scores = (scores - scores.mean(axis=0)).T
    test = score_test(scores @ scores.T)
    # Products of different groups hold the squared differences without the groups' own variance.
    pairs = 1.0 - float((by_size.mean(axis=0) ** 2).sum())
    between = max(0.0, test.cross) / pairs if math.isfinite(test.cross) else nan
    return StatisticByGap(
        gap_bits=each,
        mean_bits=jackknife_sum(whole, left_out, size, np.full(gaps, 1.0 / gaps), level),
        range_bits=float(np.ptp(each.value)),
        spread_bits=math.sqrt(between / (gaps - 1)),
        slope_bits_per_layer=jackknife_sum(whole, left_out, size, depth / (depth**2).sum(), level),
        p_clustered=test.p,
        log10_p_clustered=test.log10_p,
        nu=test.nu,
        reason=test.reason,
    )
