"""Effect of a forced choice: the distribution of the target under do(i), after i as observed, and overall.

The same documents run under both regimes, so their distributions are compared document by document. Only groups of
documents are taken as independent; tokens inside them, and the two runs of one document, are not.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate, Estimates, check_level, proportions, without_interval
from routestat.inference.base.tables import Floats, read_only, whole_counts
from routestat.inference.base.units import too_few
from routestat.inference.two_sample.cells import share_differences
from routestat.inference.two_sample.distributions import divergence_bits
from routestat.inference.two_sample.jackknife import jackknife
from routestat.inference.two_sample.samples import two_samples


class TargetLimits:
    """Limits of the estimates of targets."""

    __slots__ = ()
    estimates: Estimates

    @property
    def low(self) -> Floats:
        """Lower limits `[target]`."""
        return self.estimates.low

    @property
    def high(self) -> Floats:
        """Upper limits `[target]`."""
        return self.estimates.high


@dataclass(frozen=True, slots=True, eq=False)
class TargetDistribution(TargetLimits):
    """Probabilities of the targets with their intervals; see `target_distribution`.

    Attributes
    ----------
    estimates
        Probabilities `[target]`, in the expert view that an expert is included; see `proportions`.
    n_tokens, n_groups
        The tokens behind them, and the groups of documents that had any.
    reason
        Why there is no distribution, or no interval; empty where both are there.
    """

    estimates: Estimates
    n_tokens: int
    n_groups: int
    reason: str = ""

    @property
    def probability(self) -> Floats:
        """Probabilities `[target]`; NaN where there is none."""
        return self.estimates.value


@dataclass(frozen=True, slots=True, eq=False)
class TargetDifference(TargetLimits):
    """One distribution minus another over the same documents; see `target_difference`.

    Attributes
    ----------
    estimates
        Differences of probabilities `[target]`.
    js_bits
        Jensen-Shannon divergence in bits, centred on the delete-group jackknife; may fall below zero.
    total_variation
        Half the sum of the absolute differences, per slot; a plug-in, so never below zero and biased upwards where
        tokens are few.
    reason
        Why something is NaN, or empty.
    """

    estimates: Estimates
    js_bits: Estimate
    total_variation: float
    reason: str = ""

    @property
    def value(self) -> Floats:
        """Differences of probabilities `[target]`."""
        return self.estimates.value


@dataclass(frozen=True, slots=True, eq=False)
class InterventionEffect:
    """What forcing one source state does to the distribution of a target; see `intervention_effect`.

    Attributes
    ----------
    source
        The forced state's row of the tables.
    do, observed, natural
        P(target | do(source)), P(target | source) as observed, and P(target) as observed over all tokens.
    beyond_observed
        do minus observed: how far the observed association is from the causal effect.
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
            f"do and observed: expected counts [group, source, target] of one shape, got {forced.shape} "
            f"and {free.shape}; count both runs alike"
        )
    if not 0 <= source < forced.shape[1]:
        raise RoutestatError(f"source: expected a row 0 … {forced.shape[1] - 1} of the tables, got {source}")
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
    """Estimate the probability of every target, with the ratio sandwich over groups (see `proportions`).

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
    """Estimate the first distribution minus the second; a group's two scores are subtracted before they are squared.

    The score of a group is ψ_g = (T_g − p·n_g)/n, times √(G/(G − 1)); the variance is Σ(ψ_g − ψ'_g)². Student's t
    has the fewer of the two distributions' degrees of freedom. Intervals are of one target at a
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
        raise RoutestatError(f"first and second: expected one shape, got {a.shape} and {b.shape}")
    nothing = np.full(a.shape[1], math.nan)
    if not (tokens_a.any() and tokens_b.any()):
        none = Estimates(*(read_only(nothing.copy()) for _ in range(5)))
        why = "never observed"
        return TargetDifference(none, without_interval(math.nan, 0, why), math.nan, why)
    samples = two_samples(a[:, None, :], b[:, None, :], True, 3)
    found = share_differences(samples)
    # A difference of probabilities is that of the shares of slots, as often as a token has slots.
    value, error = slots * found.difference, slots * found.standard_error
    reach = np.asarray(stats.t.ppf((1.0 + level) / 2.0, found.dof)) * error
    columns = (value, value - reach, value + reach, error, nothing)
    bits = jackknife(divergence_bits, samples, level)
    if samples.reason:
        bits = replace(bits, value=bits.plugin)
    return TargetDifference(
        Estimates(*(read_only(column) for column in columns)),
        bits,
        float(np.abs(value).sum()) / (2 * slots),
        samples.reason or "",
    )


def _checked(table: ArrayLike, slots: int, level: float) -> tuple[NDArray[np.integer], Floats]:
    """Check counts `[group, target]` and return them with the tokens `[group]`."""
    check_level(level)
    if slots < 1:
        raise RoutestatError(f"slots: expected 1 or more, got {slots}")
    counts = whole_counts(table, "table")
    if counts.ndim != 2:
        raise RoutestatError(f"table: expected counts [group, target], got {counts.ndim} axes")
    return counts, counts.sum(axis=1) / slots
