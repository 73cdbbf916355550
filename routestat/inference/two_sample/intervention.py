"""What a forced choice changes: the law of what follows do(i), beside the law observed after i and overall.

The same documents run under both regimes, so their laws are compared document by document. Only groups of
documents are taken as independent; tokens inside them, and the two runs of one document, are not.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate, Estimates, proportions, ratio
from routestat.inference.base.tables import Floats, read_only, whole_counts
from routestat.inference.base.units import too_few
from routestat.inference.information.divergence import jensen_shannon

_NAN = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class TargetDistribution:
    """Probabilities of the targets with their intervals; see `target_distribution`.

    Attributes
    ----------
    estimates
        Probabilities `[target]`, in the expert view that an expert is included; see `proportions`.
    n_tokens, n_groups
        The tokens behind them, and the groups of documents that had any.
    reason
        Why there is no law, or no interval; empty where both are there.
    """

    estimates: Estimates
    n_tokens: int
    n_groups: int
    reason: str = ""

    @property
    def probability(self) -> Floats:
        """Probabilities `[target]`; NaN where there is none."""
        return self.estimates.value

    @property
    def low(self) -> Floats:
        """Lower limits `[target]`."""
        return self.estimates.low

    @property
    def high(self) -> Floats:
        """Upper limits `[target]`."""
        return self.estimates.high


@dataclass(frozen=True, slots=True, eq=False)
class TargetDifference:
    """One law minus another over the same documents; see `target_difference`.

    Attributes
    ----------
    value, low, high
        `[target]`, differences of probabilities.
    js_bits
        Jensen-Shannon divergence in bits, centred on the delete-group jackknife; may fall below zero.
    total_variation
        Half the sum of the absolute differences, per slot; a plug-in, so never below zero and biased upwards where
        tokens are few.
    reason
        Why something is NaN, or empty.
    """

    value: Floats
    low: Floats
    high: Floats
    js_bits: Estimate
    total_variation: float
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class InterventionEffect:
    """What forcing one source state does to the law of a target; see `intervention_effect`.

    Attributes
    ----------
    source
        The forced state's row of the tables.
    do, observed, natural
        P(target | do(source)), P(target | source) as observed, and P(target) as observed over all tokens.
    beyond_observed
        do minus observed: what the association does not say of the cause.
    beyond_natural
        do minus natural: what forcing every token changes.
    level
        Of the intervals.
    """

    source: int
    do: TargetDistribution
    observed: TargetDistribution
    natural: TargetDistribution
    beyond_observed: TargetDifference
    beyond_natural: TargetDifference
    level: float


def intervention_effect(
    do: ArrayLike, observed: ArrayLike, source: int, *, slots: int = 1, level: float = 0.95
) -> InterventionEffect:
    """P(target | do(source)) beside P(target | source) and P(target), each with its interval.

    Parameters
    ----------
    do, observed
        Whole counts `[group, source, target]` of the forced and of the natural run over the same documents,
        group by group. Under `do` the source is what was forced.
    source
        Row of the tables.
    slots
        Cells that one token adds to a row: 1 in the state view, k where the targets are experts.
    level
        Of confidence, between 0 and 1.

    Raises
    ------
    RoutestatError
        For tables that are not such or differ in shape, or a source, slots or level out of range.
    """
    forced, free = whole_counts(do, "do"), whole_counts(observed, "observed")
    if forced.ndim != 3 or forced.shape != free.shape:
        raise RoutestatError(
            f"do and observed: wanted counts [group, source, target] of one shape, got {forced.shape} "
            f"and {free.shape}; count both runs alike"
        )
    if not 0 <= source < forced.shape[1]:
        raise RoutestatError(f"source: wanted a row 0 … {forced.shape[1] - 1} of the tables, got {source}")
    under, after, overall = forced[:, source], free[:, source], free.sum(axis=1)
    return InterventionEffect(
        source,
        target_distribution(under, slots=slots, level=level),
        target_distribution(after, slots=slots, level=level),
        target_distribution(overall, slots=slots, level=level),
        target_difference(under, after, slots=slots, level=level),
        target_difference(under, overall, slots=slots, level=level),
        level,
    )


def target_distribution(table: ArrayLike, *, slots: int = 1, level: float = 0.95) -> TargetDistribution:
    """The probability of every target, with the ratio sandwich over groups (see `ratio`).

    Parameters
    ----------
    table
        Whole counts `[group, target]`.
    slots, level
        As in `intervention_effect`.

    Raises
    ------
    RoutestatError
        For anything but such a table, or slots or a level out of range.
    """
    counts, tokens = _checked(table, slots, level)
    used = int(np.count_nonzero(tokens))
    reason = (too_few(tokens) or "") if used else "never observed"
    return TargetDistribution(proportions(counts, tokens, level), round(float(tokens.sum())), used, reason)


def target_difference(
    first: ArrayLike, second: ArrayLike, *, slots: int = 1, level: float = 0.95
) -> TargetDifference:
    """The first law minus the second, paired by group: a group's two scores are subtracted before they are squared.

    The score of a group under a law is ψ_g = (T_g − p·n_g)/n, times √(G/(G − 1)); the variance is
    Σ(ψ_g − ψ'_g)². Student's t has the degrees of the law with fewer groups. Intervals are of one target at a
    time. Identical tables differ by exactly 0, and the interval is 0 too.

    Parameters
    ----------
    first, second
        Whole counts `[group, target]` over the same groups.
    slots, level
        As in `intervention_effect`.

    Raises
    ------
    RoutestatError
        For tables that are not such or differ in shape, or slots or a level out of range.
    """
    a, tokens_a = _checked(first, slots, level)
    b, tokens_b = _checked(second, slots, level)
    if a.shape != b.shape:
        raise RoutestatError(f"first and second: wanted one shape, got {a.shape} and {b.shape}")
    nothing = read_only(np.full(a.shape[1], _NAN))
    groups = min(np.count_nonzero(tokens_a), np.count_nonzero(tokens_b))
    if not groups:
        none = Estimate(_NAN, _NAN, _NAN, _NAN, 0, "never observed")
        return TargetDifference(nothing, nothing, nothing, none, _NAN, none.reason)
    value = a.sum(axis=0) / tokens_a.sum() - b.sum(axis=0) / tokens_b.sum()
    variation = float(np.abs(value).sum()) / (2 * slots)
    if why := too_few(tokens_a) or too_few(tokens_b):
        bits = jensen_shannon(a.sum(axis=0), b.sum(axis=0))
        alone = Estimate(bits, _NAN, _NAN, _NAN, int(groups), why)
        return TargetDifference(read_only(value), nothing, nothing, alone, variation, alone.reason)
    error = np.sqrt(((_scores(a, tokens_a) - _scores(b, tokens_b)) ** 2).sum(axis=0))
    reach = float(stats.t.ppf(0.5 + level / 2, groups - 1)) * error
    low, high = read_only(value - reach), read_only(value + reach)
    return TargetDifference(read_only(value), low, high, _divergence(a, b, int(groups), level), variation)


def _scores(counts: Floats, tokens: Floats) -> Floats:
    """Influence of each group on the law ``[group, target]``, scaled for the groups that its margins cost."""
    groups, n = np.count_nonzero(tokens), tokens.sum()
    share = counts.sum(axis=0) / n
    scores: Floats = (counts - share * tokens[:, None]) / n * np.sqrt(groups / (groups - 1))
    return scores


def _divergence(a: Floats, b: Floats, groups: int, level: float) -> Estimate:
    """Jackknife of the Jensen-Shannon divergence: a group leaves both laws at once."""
    used = (a.any(axis=1)) | (b.any(axis=1))
    a, b = a[used], b[used]
    total_a, total_b, size = a.sum(axis=0), b.sum(axis=0), len(a)
    whole = jensen_shannon(total_a, total_b)
    without = [jensen_shannon(total_a - one, total_b - other) for one, other in zip(a, b, strict=True)]
    pseudo = size * whole - (size - 1) * np.array(without)
    estimate = ratio(pseudo, np.ones(size), level)
    # As for the probabilities: no more degrees than the law with fewer groups has.
    reach = float(stats.t.ppf(0.5 + level / 2, groups - 1)) * estimate.standard_error
    return replace(estimate, low=estimate.value - reach, high=estimate.value + reach)


def _checked(table: ArrayLike, slots: int, level: float) -> tuple[Floats, Floats]:
    """Counts ``[group, target]`` and tokens ``[group]``."""
    if not 0 < level < 1:
        raise RoutestatError(f"level: wanted a share between 0 and 1, got {level}; use 0.95")
    if slots < 1:
        raise RoutestatError(f"slots: wanted 1 or more, got {slots}")
    counts = whole_counts(table, "table").astype(np.float64)
    if counts.ndim != 2:
        raise RoutestatError(f"table: wanted counts [group, target], got {counts.ndim} axes")
    return counts, counts.sum(axis=1) / slots
