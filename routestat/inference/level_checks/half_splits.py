"""The A/A check: halves of the user's own documents, which differ by chance alone, must not test as different.

The two halves are drawn at random, so every rejection is a false one. The test is that of loads; the tests of
independence and order have checks of their own in `level_checks`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.clustered_score_test import few_groups
from routestat.inference.base.tables import Floats, Integers, read_only, whole_counts
from routestat.inference.level_checks.split_tests import load_scores, split_tests

MIN_GROUPS = 8
#: Bins of histograms of p-values, and the shares of its level between which a test may reject and hold it.
BINS, LOW, HIGH = 20, 0.6, 1.4


def p_histogram(p: Floats) -> Integers:
    """How many p-values fall into each of 20 equal bins from 0 to 1, `[bin]`; NaN into none."""
    return read_only(np.histogram(p[np.isfinite(p)], BINS, (0.0, 1.0))[0].astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HalfSplits:
    """How often tests at `level` reject equality of random halves of the same documents; see `half_splits`.

    Attributes
    ----------
    rate_iid, rate_first_order, rate_clustered
        Shares of the splits rejected, `[layer]`; NaN in a layer with nothing to test.
    error_iid, error_clustered
        Monte-Carlo standard errors of these, `[layer]`.
    design_effect
        How many times the variance of independent tokens the loads have, `[layer]`.
    pooled_iid, pooled_first_order, pooled_clustered, pooled_design_effect
        Means over the layers.
    pooled_error_iid, pooled_error_clustered
        Monte-Carlo standard errors of the means; layers share their splits, and this allows for it.
    n_groups, n_splits, level
        Groups that held tokens, splits drawn, and the nominal level of the tests.
    p_histogram
        How many clustered p-values, of all splits and layers, fall into each of 20 equal bins from 0 to 1, `[bin]`.
    reason
        Why there are no rates, or None.
    note
        A caution about them, or None.
    """

    rate_iid: Floats
    rate_first_order: Floats
    rate_clustered: Floats
    error_iid: Floats
    error_clustered: Floats
    design_effect: Floats
    pooled_iid: float = math.nan
    pooled_first_order: float = math.nan
    pooled_clustered: float = math.nan
    pooled_design_effect: float = math.nan
    pooled_error_iid: float = math.nan
    pooled_error_clustered: float = math.nan
    n_groups: int
    n_splits: int
    level: float
    p_histogram: Integers = field(default_factory=lambda: p_histogram(np.empty(0)))
    reason: str | None = None
    note: str | None = None

    def reading(self) -> str:
        """Put the rates into a sentence."""
        if self.reason is not None:
            return f"No A/A check: {self.reason}."
        verdict = "at about the nominal level: it is valid for loads here"
        if self.pooled_clustered > HIGH * self.level:
            verdict = "more often than the nominal level: interpret p-values of loads near it with caution"
        elif self.pooled_clustered < LOW * self.level:
            verdict = "less often than the nominal level: tests of loads are conservative here"
        return (
            f"{self.n_splits} times these documents were split into random halves, which differ by chance alone. "
            f"At a level of {self.level:.3g} a chi-square test of independent tokens finds a difference in "
            f"{self.pooled_iid:.1%} of the splits (Monte-Carlo error {self.pooled_error_iid:.1%}), the clustered "
            f"test in {self.pooled_clustered:.1%} ({self.pooled_error_clustered:.1%}), {verdict}. Loads vary "
            f"{self.pooled_design_effect:.3g} times as much between documents as with independent tokens (the design "
            "effect of the loads)."
        )


def half_splits(
    loads: Sequence[ArrayLike],
    rng: np.random.Generator,
    tokens: ArrayLike | None = None,
    n_splits: int = 1000,
    level: float = 0.05,
) -> HalfSplits:
    """Split the groups into random halves, and test in each layer whether the halves have the same loads.

    Three tests of the table `[half, state]`: Pearson's chi-square with tokens as independent; that divided by
    the design effect (first order); and the second-order clustered score test in its form for two samples, with the
    scores T_g - n_g p of the groups. Where tokens take k experts, independent tokens
    make X2 (K - k) on average instead of K - 1, and the i.i.d. test allows for that.

    Parameters
    ----------
    loads
        Per layer, how many of the group's tokens had each state, or included each expert: `[group, state]`.
        Groups of whole documents are taken as independent draws of one kind, tokens within one are not.
    rng
        Draws the splits; all layers share them.
    tokens
        In the expert view, the groups' tokens `[group]` or `[layer, group]`; by default the rows' sums.
    n_splits
        Each puts half of the groups (of an odd number, the smaller half) on one side.
    level
        Nominal level of the tests, between 0 and 1.

    Returns
    -------
    HalfSplits. With fewer than 8 groups there are too few different splits, and `reason` says so. With few
    groups, many states and very unequal lengths the clustered rate falls below the level: the test is cautious.

    Raises
    ------
    RoutestatError
        For loads that are not whole counts of the same groups, or no split, or a level outside (0, 1).

    Notes
    -----
    The Monte-Carlo error covers the drawing of the splits: how far the rate may be from that over all splits of
    these documents. Other documents of the same kind would have a rate of their own. Only the test of loads is
    checked here; `routestat.inference.level_checks.level_check` has those of independence and order.
    """
    tables, sizes = _checked(loads, tokens, n_splits, level)
    groups = np.flatnonzero(sizes.any(axis=0))
    reason = None
    rejected = np.full((3, len(tables), n_splits), np.nan)
    effects, histogram = np.full(len(tables), np.nan), np.zeros(BINS, np.int64)
    if groups.size < MIN_GROUPS:
        reason = f"{groups.size} groups of documents hold tokens, {MIN_GROUPS} are needed"
    else:
        halves = rng.permuted(np.tile(np.arange(groups.size) < groups.size // 2, (n_splits, 1)), axis=1)
        for layer, (table, size) in enumerate(zip(tables, sizes, strict=True)):
            spread = load_scores(table[groups], size[groups])
            if spread is not None:
                effects[layer] = spread.design_effect
                p_values = split_tests(spread, halves)
                rejected[:, layer] = [p < level for p in p_values]
                histogram += p_histogram(p_values[2])
        if np.isnan(rejected).all():
            reason = "every layer has one state in use, or one group with half of its tokens or more"
    rates = rejected.mean(axis=2)
    errors = np.sqrt(rates * (1.0 - rates) / n_splits)
    return HalfSplits(
        rate_iid=read_only(rates[0]),
        rate_first_order=read_only(rates[1]),
        rate_clustered=read_only(rates[2]),
        error_iid=read_only(errors[0]),
        error_clustered=read_only(errors[2]),
        design_effect=read_only(effects),
        n_groups=int(groups.size),
        n_splits=n_splits,
        level=level,
        p_histogram=read_only(histogram),
        reason=reason,
        note=few_groups(groups.size),
        **_pooled(rejected, effects),
    )


def _pooled(rejected: Floats, effects: Floats) -> dict[str, float]:
    """Compute the fields of `HalfSplits` over all layers, from rejections `[test, layer, split]`."""
    tested = ~np.isnan(effects)
    if not tested.any():
        return {}
    # A split is one draw for all layers, which accept and reject together.
    by_split = rejected[:, tested].mean(axis=1)
    errors = by_split.std(axis=1) / math.sqrt(by_split.shape[1])
    return {
        "pooled_iid": float(by_split[0].mean()),
        "pooled_first_order": float(by_split[1].mean()),
        "pooled_clustered": float(by_split[2].mean()),
        "pooled_error_iid": float(errors[0]),
        "pooled_error_clustered": float(errors[2]),
        "pooled_design_effect": float(effects[tested].mean()),
    }


def _checked(
    loads: Sequence[ArrayLike], tokens: ArrayLike | None, n_splits: int, level: float
) -> tuple[list[NDArray[np.integer]], Floats]:
    """Check loads `[group, state]` of each layer, and tokens `[layer, group]`."""
    if not 0 < level < 1:
        raise RoutestatError(f"level: expected a share between 0 and 1, got {level}; use 0.05")
    if n_splits < 1:
        raise RoutestatError(f"n_splits: expected 1 or more, got {n_splits}; use 1000")
    tables = [whole_counts(load, "loads") for load in loads]
    if {table.ndim for table in tables} != {2} or len({len(table) for table in tables}) != 1:
        found = ", ".join(str(table.shape) for table in tables[:3]) or "no layer"
        raise RoutestatError(f"loads: expected [group, state] of the same groups in each layer, got {found}")
    groups = len(tables[0])
    if tokens is None:
        return tables, np.array([table.sum(axis=1) for table in tables], dtype=np.float64)
    given = whole_counts(tokens, "tokens").astype(np.float64)
    if given.shape not in ((groups,), (len(tables), groups)):
        raise RoutestatError(
            f"tokens: expected [group] or [layer, group], got {given.shape} for {len(tables)} layers of {groups} "
            "groups; align them"
        )
    sizes = np.broadcast_to(given, (len(tables), groups))
    if any((table > size[:, None]).any() for table, size in zip(tables, sizes, strict=True)):
        raise RoutestatError(
            "loads: expected at most one per token, got more; count each expert once a token"
        )
    return tables, sizes
