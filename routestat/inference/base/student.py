"""Student's t in logs: p-values of clustered z-scores that stay finite however large the score."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from routestat.inference.base.tables import Floats

_LN10 = math.log(10.0)


def log10_t_tails(score: ArrayLike, dof: ArrayLike) -> Floats:
    """log10 P(|t_dof| > |score|), in the shape of both; finite for every finite score, NaN for NaN.

    Where the probability nears the smallest float: I_x(dof/2, 1/2) at x = dof / (dof + score**2), by its series
    of positive terms x**a (1-x)**b / (a B(a, b)) * sum of (a+b)_n / (a+1)_n x**n.
    """
    size, degrees = np.broadcast_arrays(np.abs(np.asarray(score, np.float64)), np.asarray(dof, np.float64))
    tail = 2.0 * stats.t.sf(size, degrees)
    known = np.isfinite(size)
    far = known & ~(tail > 1e-290)
    with np.errstate(divide="ignore"):
        out = np.where(known, np.log10(tail), np.where(np.isnan(size), np.nan, -np.inf))
    if far.any():
        square = size[far] ** 2
        a, b, whole = degrees[far] / 2.0, 0.5, degrees[far] + square
        x, rest = degrees[far] / whole, square / whole
        term, total, n = np.ones_like(x), np.ones_like(x), 0
        while (term > 1e-16 * total).any():
            term = term * x * (a + b + n) / (a + 1.0 + n)
            total, n = total + term, n + 1
        # A score just past the seam may have x near one, where its distance from one has the digits.
        log_x = np.where(x < 0.5, np.log(x), np.log1p(-np.minimum(rest, 0.5)))
        head = a * log_x + b * np.log(rest) - np.log(a) - special.betaln(a, b)
        out[far] = (head + np.log(total)) / _LN10
    return np.asarray(out)
