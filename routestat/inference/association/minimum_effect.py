"""Cramer's V with an interval, and the test that matters when tokens are many: is the effect large enough?

With a billion tokens every dependence is significant. The question is then not whether V is zero but whether it
exceeds a size worth caring about.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import effective_dof, t_quantile
from routestat.inference.base.jackknife import jackknife_value
from routestat.inference.base.score_test import few_groups
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, contingency, expected_counts
from routestat.inference.base.units import log10_sign_floor, too_few

# Wide tables are large as floats: so many groups of them are held at a time.
GROUPS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class MinimumEffect:
    """Cramer's V and whether it exceeds a threshold; see `minimum_effect`.

    Attributes
    ----------
    v, low, high
        Square roots of the jackknife estimate of V squared and of its limits, below at 0.
    threshold
    p, log10_p
        Of V at or below the threshold, one-sided, over groups.
    n_groups
    reason, note
        Why something is NaN, and a caution; or None.
    """

    v: float
    low: float
    high: float
    threshold: float
    p: float
    log10_p: float
    n_groups: int
    reason: str | None = None
    note: str | None = None


def minimum_effect(tables: ArrayLike, threshold: float = 0.1, level: float = 0.95) -> MinimumEffect:
    """Is Cramer's V above `threshold`? Groups of documents are independent, tokens within one need not be.

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
            "tables: wanted [group, source, target], got 2 axes; count per group of documents"
        )
    nan, groups = math.nan, int(table.groups.size)
    smaller = min(table.total.shape) - 1
    if smaller < 1:
        why = "no tokens" if not table.total.size else "one row or one column is in use, so V has no meaning"
        return MinimumEffect(nan, nan, nan, threshold, nan, nan, groups, why)
    square = float(_phi_square(table.total)) / smaller
    size = table.tables.sum(axis=(1, 2))
    if few_units := too_few(size):
        return MinimumEffect(math.sqrt(square), nan, nan, threshold, nan, nan, groups, few_units)
    total, n = table.total, float(table.total.sum())
    lift = total / expected_counts(total)
    rows = (total * lift).sum(axis=1) / total.sum(axis=1)
    columns = (total * lift).sum(axis=0) / total.sum(axis=0)
    pointwise = 2.0 * lift - rows[:, None] - columns[None, :]
    scores = np.einsum("gij,ij->g", table.tables, pointwise)
    scores = scores - size * (scores.sum() / n)
    left = np.concatenate(
        [
            _phi_square(total - table.tables[first : first + GROUPS_AT_ONCE]) / smaller
            for first in range(0, groups, GROUPS_AT_ONCE)
        ]
    )
    estimate = jackknife_value(square, left, size)
    error = math.sqrt(groups / (groups - 1) * float(scores @ scores)) / n / smaller
    reach = t_quantile(size, level) * error
    v, low, high = (math.sqrt(max(0.0, one)) for one in (estimate, estimate - reach, estimate + reach))
    # Shares are good to 15 digits: what is below is rounding.
    if not error > 1e-13:
        why = "the groups give V no error to test by: they are in equal proportions, or V is 1"
        return MinimumEffect(v, low, high, threshold, nan, nan, groups, why)
    t = (estimate - threshold**2) / error
    dof = effective_dof(size)
    # Far out one tail is half of both; where it is not small its log loses nothing.
    tail = float(log10_t_tails(t, dof)) - math.log10(2.0) if t > 0 else math.log10(stats.t.sf(t, dof))
    log10_p = max(tail, floor := log10_sign_floor(groups))
    note = few_groups(groups, floor)
    return MinimumEffect(v, low, high, threshold, 10.0**log10_p, log10_p, groups, None, note)


def _phi_square(counts: Floats) -> Floats:
    """Of one table ``[source, target]`` or of several ``[…, source, target]``."""
    n, rows, columns = counts.sum(axis=(-2, -1)), counts.sum(axis=-1), counts.sum(axis=-2)
    # Leaving a group out can empty a row: it then has no cells either.
    product = np.maximum(rows, 1)[..., :, None] * np.maximum(columns, 1)[..., None, :]
    return np.where(n > 0, (counts**2 / product).sum(axis=(-2, -1)) - 1.0, np.nan)
