"""The delete-group jackknife where groups differ in size: what is left of a figure once its bias is out."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few


def unbiased(whole: float, left_out: ArrayLike, size: ArrayLike) -> float:
    """The figure without its leading bias: (sum of (F - (1 - w_g)**2 F_-g) - F) / (1 - sum of w_g**2).

    A smooth figure of the groups' sum is off by b = sum of w_g**2 v_g, with w_g the group's share of the tokens and
    v_g whatever its own dependence makes it; without group g by (b - w_g**2 v_g) / (1 - w_g)**2. This solves for b
    whatever w and v are. With groups of one size it is G F - (G - 1) mean F_-g; that textbook form leaves two fifths
    of the bias where lengths of documents have a Pareto tail (of index 1.2), and has three times the error.

    Parameters
    ----------
    whole
        F of all groups.
    left_out
        F_-g `[group]`, of all but one.
    size
        Tokens `[group]`, two above zero or more.
    """
    share = _shares(size)
    kept = (1.0 - share) ** 2
    return float(((whole - kept * np.asarray(left_out)).sum() - whole) / (1.0 - (share**2).sum()))


def degrees(size: ArrayLike) -> float:
    """Degrees of freedom of an error from these groups: 1 / (sum of w_g**2) - 1, G - 1 if they are of one size.

    An error that a few long documents make up is known no better than from those few. One at least.
    """
    return max(1.0, 1.0 / float((_shares(size) ** 2).sum()) - 1.0)


def student(size: ArrayLike, level: float) -> float:
    """Student's two-sided quantile with the `degrees` of these groups; NaN where they are `too_few` for an interval."""
    if too_few(size):
        return math.nan
    return float(stats.t.ppf((1.0 + level) / 2.0, degrees(size)))


def _shares(size: ArrayLike) -> Floats:
    tokens = np.asarray(size, dtype=np.float64)
    return tokens / tokens.sum()
