"""The delete-group jackknife where groups differ in size."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.inference.base.estimate import size_shares, t_quantile
from routestat.inference.base.tables import Floats, read_only


def jackknife_value(whole: float, left_out: ArrayLike, size: ArrayLike) -> float:
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
    share = size_shares(size)
    kept = (1.0 - share) ** 2
    return float(((whole - kept * np.asarray(left_out)).sum() - whole) / (1.0 - (share**2).sum()))


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Figures with their intervals, read-only arrays of one shape; NaN where there is none.

    Attributes
    ----------
    value
        The delete-group jackknife estimate; `plugin` is the figure of the tables as they are.
    low, high
        Limits by documents, centred on `value`: they may leave the figure's range where it is near its end.
    """

    value: Floats
    low: Floats
    high: Floats
    plugin: Floats


def jackknife_each(whole: ArrayLike, left_out: ArrayLike, size: ArrayLike, level: float = 0.95) -> Estimates:
    """Every figure with its interval.

    Parameters
    ----------
    whole
        Figures of all groups, of any shape.
    left_out, size
        The figures without each group and the group's tokens, `[..., group]`.
    level
        Of confidence; Student's t (see `t_quantile`).
    """
    figures = np.asarray(whole, dtype=np.float64)
    without, tokens = np.asarray(left_out, np.float64), np.asarray(size, np.float64)
    found = np.full((4, *figures.shape), math.nan)
    for at in np.ndindex(figures.shape):
        row = figures[at][None], without[at][None], tokens[at][None]
        found[(slice(None), *at)] = _combined(*row, np.ones(1), level)
    return Estimates(*(read_only(np.array(part)) for part in found))


def jackknife_sum(
    whole: ArrayLike, left_out: ArrayLike, size: ArrayLike, weights: ArrayLike, level: float = 0.95
) -> Estimates:
    """One sum of figures with its interval, arrays of no axes: each group moves all figures at once.

    Parameters
    ----------
    whole
        Figures `[figure]`.
    left_out, size
        `[figure, group]`, as in `jackknife_each`.
    weights
        `[figure]`: 1/n for a mean.
    level
        Of confidence.
    """
    figures, without, tokens, weight = (
        np.asarray(a, dtype=np.float64) for a in (whole, left_out, size, weights)
    )
    found = _combined(figures, without, tokens, weight, level)
    return Estimates(*(read_only(np.array(number)) for number in found))


def jackknife_contributions(whole: float, left_out: Floats, size: Floats) -> tuple[Floats, Floats]:
    """What each group adds to the jackknife estimate, `[group]`, and the share of it that it has by its size.

    (1 - w)(F - (1 - w) F_-g) / (1 - sum of w**2) and (1 - w) w / (1 - sum of w**2): the first sum to `jackknife_value`, the
    second to one.
    """
    share = size / size.sum()
    scale = (1.0 - share) / (1.0 - float((share**2).sum()))
    return scale * (whole - (1.0 - share) * left_out), scale * share


def _combined(
    whole: Floats, left_out: Floats, size: Floats, weights: Floats, level: float
) -> tuple[float, float, float, float]:
    plugin, nan = float(weights @ whole), math.nan
    groups = int((size > 0).any(axis=0).sum())
    if not whole.size or not np.isfinite(left_out).all() or ((size > 0).sum(axis=1) < 2).any():
        return nan, nan, nan, plugin if whole.size else nan
    value = sum(
        w * jackknife_value(f, left, n) for w, f, left, n in zip(weights, whole, left_out, size, strict=True)
    )
    share = size / size.sum(axis=1, keepdims=True)
    moves = weights @ ((1.0 - share) * (whole[:, None] - left_out))
    moves = moves[(size > 0).any(axis=0)]
    error = math.sqrt(groups / (groups - 1) * float(((moves - moves.mean()) ** 2).sum()))
    reach = t_quantile(size.sum(axis=0), level) * error
    return value, value - reach, value + reach, plugin
