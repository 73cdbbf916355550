"""An estimate with its standard error and interval, and Student's t for groups that differ in size."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; NaN where there is none, and `reason` says why."""

    value: float
    low: float
    high: float
    standard_error: float
    n_groups: int
    reason: str = ""


def ratio(numerator: ArrayLike, denominator: ArrayLike, level: float = 0.95) -> Estimate:
    """Σ numerator / Σ denominator with the group sandwich: ψ_g = a_g − R·b_g, Var = G/(G − 1)·Σψ²/b².

    Groups are independent, tokens inside them are not assumed to be. The quantile is Student's with G − 1
    degrees of freedom.

    Parameters
    ----------
    numerator, denominator : float arrays ``[group]``
        Groups with denominator 0 are left out.
    level : float
    """
    top, bottom = np.asarray(numerator, float), np.asarray(denominator, float)
    top, bottom = top[bottom > 0], bottom[bottom > 0]
    if not len(bottom):
        nan = float("nan")
        return Estimate(nan, nan, nan, nan, 0, "no tokens to score")
    n = bottom.sum()
    value = float(top.sum() / n)
    if why := too_few(bottom):
        nan = float("nan")
        return Estimate(value, nan, nan, nan, len(bottom), why)
    scores = top - value * bottom
    error = float(np.sqrt(len(bottom) / (len(bottom) - 1) * np.sum(scores**2)) / n)
    reach = float(stats.t.ppf(0.5 + level / 2, len(bottom) - 1)) * error
    return Estimate(value, value - reach, value + reach, error, len(bottom))


def effective_dof(size: ArrayLike) -> float:
    """Degrees of freedom of an error from these groups: 1 / (sum of w_g**2) - 1, G - 1 if they are of one size.

    An error that a few long documents make up is known no better than from those few. One at least.
    """
    return max(1.0, 1.0 / float((size_shares(size) ** 2).sum()) - 1.0)


def t_quantile(size: ArrayLike, level: float) -> float:
    """Student's two-sided quantile with `effective_dof` of these groups; NaN where they are `too_few`."""
    if too_few(size):
        return math.nan
    return float(stats.t.ppf((1.0 + level) / 2.0, effective_dof(size)))


def size_shares(size: ArrayLike) -> Floats:
    tokens = np.asarray(size, dtype=np.float64)
    return tokens / tokens.sum()
