"""Cramer's V with an interval, and the test that it exceeds a threshold.

With a billion tokens every dependence is significant. The question is then not whether V is zero but whether it
exceeds a size that matters.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.chunks import chunks
from routestat.inference.base.clustered_score_test import few_groups
from routestat.inference.base.estimate import (
    Estimate,
    effective_dof,
    sandwich_error,
    with_interval,
    without_interval,
)
from routestat.inference.base.jackknife import jackknife_value
from routestat.inference.base.special import log10_t_tail
from routestat.inference.base.tables import Floats, contingency, expected_counts
from routestat.inference.base.units import log10_sign_floor, too_few


@dataclass(frozen=True, slots=True)
class MinimumEffect:
    """Cramer's V and whether it exceeds a threshold; see `minimum_effect`.

    Attributes
    ----------
    square
        V squared: the jackknife estimate, and the plug-in.
    threshold
        In units of V.
    p, log10_p
        Of V at or below the threshold, one-sided, over groups.
    reason, note
        Why something is NaN, and a caution; or None.
    """

    square: Estimate
    threshold: float
    p: float
    log10_p: float
    reason: str | None = None
    note: str | None = None

    @property
    def v(self) -> float:
        """V: the root of the estimate of its square, or of the plug-in where there is no estimate; 0 at least."""
        return _root(self.square.plugin if math.isnan(self.square.value) else self.square.value)

    @property
    def low(self) -> float:
        """Lower limit of V, 0 at least."""
        return _root(self.square.low)

    @property
    def high(self) -> float:
        """Upper limit of V."""
        return _root(self.square.high)

    @property
    def n_groups(self) -> int:
        """Groups that held tokens."""
        return self.square.n_groups


def _root(square: float) -> float:
    return math.sqrt(max(0.0, square)) if square == square else math.nan


def minimum_effect(tables: ArrayLike, threshold: float = 0.1, level: float = 0.95) -> MinimumEffect:
    """Test that Cramer's V exceeds `threshold`; groups of documents are independent, tokens within one need not be.

    V squared is (sum of p**2 / (r c) - 1) / min(rows - 1, columns - 1). It is centred on its delete-group
    jackknife; its error is that of the linearised ratio, G/(G-1) sum psi_g**2 / n**2 with
    psi_g = sum over cells of T_g (2 p/(r c) - a(source) - b(target)) less its mean, a and b the conditional means
    of p/(r c). Near V = 0 the linear term vanishes: test zero with `independence`.

    Parameters
    ----------
    tables
        Counts `[group, source, target]`.
    threshold
        From 0 up to below 1, in units of V: 0.1 is usually called small (Cohen 1988).
    level
        Of the interval; Student's t (see `effective_dof`).

    Raises
    ------
    RoutestatError
        For tables without groups, a threshold outside [0, 1) or a level outside (0, 1).
    """
    if not 0 <= threshold < 1 or not 0 < level < 1:
        raise RoutestatError(f"threshold and level are shares, got {threshold} and {level}; use 0.1 and 0.95")
    table = contingency(tables)
    if table.tables is None:
        raise RoutestatError(
            "tables: expected [group, source, target], got 2 axes; count per group of documents"
        )
    nan, groups = math.nan, int(table.groups.size)
    smaller = min(table.total.shape) - 1
    if smaller < 1:
        why = "no tokens" if not table.total.size else "one row or one column is in use, so V has no meaning"
        return MinimumEffect(without_interval(nan, groups, why), threshold, nan, nan, why)
    plugin = float(_phi_square(table.total)) / smaller
    size = table.tables.sum(axis=(1, 2))
    if few_units := too_few(size):
        found = without_interval(nan, groups, few_units, plugin)
        return MinimumEffect(found, threshold, nan, nan, few_units)
    total, n = table.total, float(table.total.sum())
    left = [_phi_square(total - table.tables[part]) / smaller for part in chunks(groups, total.size)]
    value = jackknife_value(plugin, np.concatenate(left), size)
    error = float(sandwich_error(_scores(total, table.tables, size))) / n / smaller
    dof = effective_dof(size)
    square = with_interval(value, error, dof, groups, level, plugin)
    # Shares are good to 15 digits: what is below is rounding.
    if not error > 1e-13:
        why = "the groups give V no error to test by: they are in equal proportions, or V is 1"
        return MinimumEffect(square, threshold, nan, nan, why)
    log10_p = max(log10_t_tail((value - threshold**2) / error, dof), floor := log10_sign_floor(groups))
    return MinimumEffect(square, threshold, 10.0**log10_p, log10_p, None, few_groups(groups, floor))


def _scores(total: Floats, tables: NDArray[Any], size: NDArray[Any]) -> Floats:
    """Linearised scores of n times phi squared, `[group]`."""
    lifts = total / expected_counts(total)
    rows = (total * lifts).sum(axis=1) / total.sum(axis=1)
    columns = (total * lifts).sum(axis=0) / total.sum(axis=0)
    pointwise = 2.0 * lifts - rows[:, None] - columns[None, :]
    scores = np.einsum("gij,ij->g", tables, pointwise)
    return np.asarray(scores - size * (scores.sum() / float(total.sum())), np.float64)


def _phi_square(counts: Floats) -> Floats:
    """Pearson's phi squared of one table `[source, target]` or of several `[…, source, target]`."""
    n, rows, columns = counts.sum(axis=(-2, -1)), counts.sum(axis=-1), counts.sum(axis=-2)
    # Leaving a group out can empty a row: it then has no cells either.
    product = np.maximum(rows, 1)[..., :, None] * np.maximum(columns, 1)[..., None, :]
    return np.where(n > 0, (counts**2 / product).sum(axis=(-2, -1)) - 1.0, np.nan)
