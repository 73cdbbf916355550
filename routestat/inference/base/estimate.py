"""An estimate with its standard error and interval, and the one rule of its degrees of freedom.

Groups of whole documents are the independent units throughout; tokens inside a group need not be independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.base.units import too_few


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and confidence interval.

    Attributes
    ----------
    value
        The estimate.
    low, high
        Limits of its interval; NaN where there is none.
    standard_error
        Over groups of documents; NaN where there is none.
    n_groups
        Groups that the error comes from.
    reason
        Why something is NaN, or empty.
    plugin
        The statistic of the tables as they are, where `value` is its jackknife estimate; NaN elsewhere.
    """

    value: float
    low: float
    high: float
    standard_error: float
    n_groups: int
    reason: str = ""
    plugin: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Estimates with their errors and intervals, read-only arrays of one shape; NaN where there is none.

    Attributes
    ----------
    value, low, high, standard_error, plugin
        As in `Estimate`.
    """

    value: Floats
    low: Floats
    high: Floats
    standard_error: Floats
    plugin: Floats

    @classmethod
    def stack(cls, found: Sequence[Estimate], shape: tuple[int, ...] | None = None) -> "Estimates":
        """Return estimates as arrays, `[estimate]` or of a `shape` of as many places."""
        names = ("value", "low", "high", "standard_error", "plugin")
        columns = (np.array([getattr(one, name) for one in found], np.float64) for name in names)
        return cls(*(read_only(column if shape is None else column.reshape(shape)) for column in columns))


def without_interval(value: float, n_groups: int, reason: str, plugin: float = math.nan) -> Estimate:
    """Return a value that has neither error nor interval, for the `reason` given."""
    return Estimate(value, math.nan, math.nan, math.nan, n_groups, reason, plugin)


def with_interval(
    value: float, error: float, dof: float, n_groups: int, level: float = 0.95, plugin: float = math.nan
) -> Estimate:
    """Return a value with the interval of Student's t around it.

    Parameters
    ----------
    value, error
        The estimate and its standard error.
    dof
        Degrees of freedom of the error, such as `effective_dof` of the groups.
    n_groups
        Groups that the error comes from.
    level
        Of confidence.
    plugin
        As in `Estimate`.
    """
    reach = student_quantile(dof, level) * error
    return Estimate(value, value - reach, value + reach, error, n_groups, "", plugin)


def check_level(level: float) -> None:
    """Raise a `RoutestatError` unless the confidence level is between 0 and 1."""
    if not 0 < level < 1:
        raise RoutestatError(f"level: expected a share between 0 and 1, got {level}; use 0.95")


def sandwich_variance(scores: ArrayLike, groups: int | None = None) -> NDArray[np.float64]:
    """Compute the variance of a sum over independent groups from their scores: G / (G - 1) sum of psi_g**2.

    Parameters
    ----------
    scores
        `[group, ...]`, linearised contributions of the groups, which sum to zero.
    groups
        G, where it is not the number of scores: groups without tokens have a score of zero and do not count.

    References
    ----------
    Cochran (1977), Sampling Techniques, section 6; Binder (1983), Int. Stat. Rev. 51.
    """
    psi = np.asarray(scores, dtype=np.float64)
    return np.asarray(group_correction(len(psi) if groups is None else groups) * (psi**2).sum(axis=0))


def sandwich_error(scores: ArrayLike, groups: int | None = None) -> NDArray[np.float64]:
    """Compute the standard error of a sum over independent groups: the root of `sandwich_variance`."""
    return np.asarray(np.sqrt(sandwich_variance(scores, groups)))


def group_correction(groups: int) -> float:
    """G / (G - 1), by which squared scores about an estimated mean fall short of their variance."""
    return groups / (groups - 1)


def effective_dof(size: ArrayLike) -> float:
    """Compute the degrees of freedom of an error from these groups: 1 / (sum of w_g**2) - 1, one at least.

    G - 1 where groups are of one size. An error that a few long documents make up is known no better than from
    those few.

    Parameters
    ----------
    size
        Tokens `[group]`, of which w_g are the shares.
    """
    return max(1.0, 1.0 / float((size_shares(size) ** 2).sum()) - 1.0)


def t_quantile(size: ArrayLike, level: float) -> float:
    """Student's two-sided quantile with `effective_dof` of these groups; NaN where they are `too_few`."""
    if too_few(size):
        return math.nan
    return student_quantile(effective_dof(size), level)


def student_quantile(dof: float, level: float) -> float:
    """Student's two-sided quantile: the half-width, in standard errors, of an interval of this confidence."""
    return float(special.stdtrit(dof, (1.0 + level) / 2.0))


def size_shares(size: ArrayLike) -> Floats:
    """Each group's share of the tokens `[group]`."""
    tokens = np.asarray(size, dtype=np.float64)
    return tokens / tokens.sum()


def ratio(numerator: ArrayLike, denominator: ArrayLike, level: float = 0.95) -> Estimate:
    """Estimate sum of a_g / sum of b_g, with the sandwich error of the scores a_g - R b_g over the sum of b_g.

    Parameters
    ----------
    numerator, denominator
        a and b `[group]`; groups whose b is 0 are left out.
    level
        Of confidence; Student's t with `effective_dof`.
    """
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    used = bottom > 0
    if not used.any():
        return without_interval(math.nan, 0, "no tokens to score")
    value, error = _ratios(top[used, None], bottom[used])
    if why := too_few(bottom):
        return without_interval(float(value[0]), int(used.sum()), why)
    dof = effective_dof(bottom[used])
    return with_interval(float(value[0]), float(error[0]), dof, int(used.sum()), level)


def proportions(counts: ArrayLike, tokens: ArrayLike, level: float = 0.95) -> Estimates:
    """Estimate the share of tokens that each column counts, with the interval of `ratio`.

    Parameters
    ----------
    counts, tokens
        `[group, column]` and `[group]`: a group counts at most its tokens in a column. Groups without tokens are
        left out.
    level
        Of confidence.

    Returns
    -------
    Estimates `[column]`. There is no interval at 0 or 1: the sandwich has no width there, which is not certainty.
    """
    top, bottom = np.asarray(counts, np.float64), np.asarray(tokens, np.float64)
    used = bottom > 0
    nothing = np.full(top.shape[1], math.nan)
    if not used.any():
        return Estimates(*(read_only(nothing.copy()) for _ in range(5)))
    value, error = _ratios(top[used], bottom[used])
    half = np.where((value == 0) | (value == 1), math.nan, t_quantile(bottom[used], level) * error)
    error = nothing.copy() if too_few(bottom) else error
    columns = (value, value - half, value + half, error, nothing)
    return Estimates(*(read_only(column) for column in columns))


def _ratios(top: Floats, bottom: Floats) -> tuple[Floats, Floats]:
    """Ratios of the sums of `[group, column]` and `[group]`, and their sandwich errors; NaN with one group."""
    # Columns lie together in memory, so that each is summed as it would be alone.
    top, n = np.asfortranarray(top), bottom.sum()
    value = top.sum(axis=0) / n
    if len(bottom) < 2:
        return value, np.full(value.shape, math.nan)
    return value, sandwich_error(top - np.outer(value, bottom).T) / n
