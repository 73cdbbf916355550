"""Differences of rates between two samples: shares of tokens with some property, which a token may have several of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import student_quantile
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, read_only, whole_counts
from routestat.inference.two_sample.samples import TwoSamples, two_samples


@dataclass(frozen=True, slots=True, eq=False)
class RateDifferences:
    """Rates of both samples and their difference, `[item]`; see `rate_differences`.

    Attributes
    ----------
    rate_a, rate_b, difference, standard_error, low, high
        Shares of the tokens, a - b, its clustered standard error and its interval.
    log10_p
        Two-sided, over Student's t, never below what relabelling whole groups can show; NaN without an error. Not
        adjusted.
    log2_ratio, ratio_low, ratio_high
        log2(rate_a / rate_b) and its interval; NaN where either is zero.
    reason
        Why there are no errors, or None.
    """

    rate_a: Floats
    rate_b: Floats
    difference: Floats
    standard_error: Floats
    low: Floats
    high: Floats
    log10_p: Floats
    log2_ratio: Floats
    ratio_low: Floats
    ratio_high: Floats
    reason: str | None = None


def rate_differences(
    a: ArrayLike,
    b: ArrayLike,
    size_a: ArrayLike,
    size_b: ArrayLike,
    *,
    paired: bool = False,
    level: float = 0.95,
) -> RateDifferences:
    """Compare the shares of tokens that have some properties, each on its own, with the ratio sandwich over groups.

    As in `cell_differences`, but a token may have several of the properties or none: the score of a group is
    (T_g - n_g p) / n with its own tokens n_g. Unpaired, t divides by the larger of the two samples' error and of the
    one with the spread of both pooled.

    Parameters
    ----------
    a, b
        Tokens that have each property, `[group, item]`.
    size_a, size_b
        All tokens, `[group]`.
    paired
        Group g of `a` and group g of `b` are the same documents.
    level
        Of the intervals of difference and ratio.

    Raises
    ------
    RoutestatError
        For counts that are not such tables, or paired samples with different groups.

    References
    ----------
    Cochran (1977), Sampling Techniques, section 6.
    """
    tables = whole_counts(a, "a"), whole_counts(b, "b")
    sizes = np.asarray(size_a), np.asarray(size_b)
    for table, size in zip(tables, sizes, strict=True):
        if table.ndim != 2 or table.shape[:1] != size.shape:
            raise RoutestatError(
                f"a and b: expected [group, item] and sizes [group], got {table.shape} and {size.shape}; reshape them"
            )
    samples = two_samples(sizes[0][:, None], sizes[1][:, None], paired, 2)
    held = sizes[0] > 0, sizes[1] > 0
    if paired:
        held = (held[0] | held[1],) * 2
    own = [table[rows].astype(np.float64) for table, rows in zip(tables, held, strict=True)]
    n = [float(size.sum()) for size in sizes]
    with np.errstate(invalid="ignore", divide="ignore"):
        p_a, p_b = own[0].sum(axis=0) / n[0], own[1].sum(axis=0) / n[1]
        nothing = np.full(p_a.shape, math.nan)
        ratio = np.log2(p_a / p_b)
    ratio[~np.isfinite(ratio)] = math.nan
    found = _Rates(p_a, p_b, p_a - p_b, ratio)
    if samples.reason is not None:
        none = read_only(nothing)
        return _made((p_a, p_b, p_a - p_b, none, none, none, none, ratio, none, none), samples.reason)
    return _tested(samples, own, found, level)


@dataclass(frozen=True, slots=True)
class _Rates:
    a: Floats
    b: Floats
    difference: Floats
    ratio: Floats


def _tested(samples: TwoSamples, own: list[Floats], found: _Rates, level: float) -> RateDifferences:
    sizes = [size[:, None] for size in samples.sizes]
    n = [float(size.sum()) for size in sizes]
    rates = found.a, found.b
    z = [(table - size * p) / total for table, size, p, total in zip(own, sizes, rates, n, strict=True)]
    variance, dof = samples.variance(z[0], -z[1])
    error = np.sqrt(variance)
    error[error < 1e-13] = 0.0
    larger, dofs = error, dof
    if not samples.paired:
        groups = sum(samples.groups)
        # A sample in which nothing has the property shows no spread of its own, which is no proof that it has none;
        # under one rate for both its scores have some.
        both = (own[0].sum(axis=0) + own[1].sum(axis=0)) / (n[0] + n[1])
        spread = [
            np.where((error == 0) & (found.difference != 0), table - size * both, score * total) ** 2
            for table, size, score, total in zip(own, sizes, z, n, strict=True)
        ]
        squares = spread[0].sum(axis=0) + spread[1].sum(axis=0)
        pooled = np.sqrt(groups / (groups - 2.0) * squares / n[0] / n[1])
        larger = np.maximum(error, pooled)
        dofs = np.where(pooled > error, samples.pooled_dof, dof)
    else:
        apart = (error == 0) & (found.difference != 0)
        larger = np.where(apart, np.sqrt(((own[0] / n[0] - own[1] / n[1]) ** 2).sum(axis=0)), error)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = found.difference / larger
        t[(found.difference == 0) & (larger == 0)] = 0.0
        spread_of_log = np.sqrt(samples.variance(z[0] / found.a, -z[1] / found.b)[0]) / math.log(2.0)
    quantile = np.array([student_quantile(float(one), level) for one in dof])
    reach = np.where(np.isfinite(found.ratio), quantile * spread_of_log, math.nan)
    log10_p = np.maximum(log10_t_tails(t, dofs), samples.log10_floor)
    half = np.array([student_quantile(float(one), level) for one in dofs]) * larger
    columns = (
        found.a,
        found.b,
        found.difference,
        larger,
        found.difference - half,
        found.difference + half,
        log10_p,
        found.ratio,
        found.ratio - reach,
        found.ratio + reach,
    )
    return _made(columns, None)


def _made(columns: Sequence[Floats], reason: str | None) -> RateDifferences:
    a, b, difference, error, low, high, log10_p, ratio, ratio_low, ratio_high = (
        read_only(np.array(values)) for values in columns
    )
    return RateDifferences(a, b, difference, error, low, high, log10_p, ratio, ratio_low, ratio_high, reason)
