"""The delete-group jackknife of a statistic of two samples."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from routestat.inference.base.score_test import CELLS_AT_ONCE
from routestat.inference.base.tables import Floats
from routestat.inference.two_sample.samples import Statistic, TwoSamples, welch


@dataclass(frozen=True, slots=True)
class Jackknifed:
    """A statistic of two samples: plug-in, jackknife estimate and interval; NaN errors have a `reason`."""

    plugin: float
    value: float
    low: float
    high: float
    standard_error: float
    reason: str | None = None


def jackknife(statistic: Statistic, samples: TwoSamples, level: float = 0.95) -> Jackknifed:
    """A smooth statistic of both samples' totals, centred and judged by leaving out each group in turn.

    Paired, a group is left out of both at once; otherwise of its own sample, and the two variances add up. The
    limits are Student's, with the degrees of freedom of `TwoSamples.variance`. Where the statistic is at the
    end of its range (a divergence of 0) its distribution is no normal one and the interval is no test.

    References
    ----------
    Efron & Stein (1981), The jackknife estimate of variance. Ann. Stat. 9.
    """
    a, b = samples.totals()
    plugin = float(statistic(a[None], b[None])[0])
    nan = math.nan
    if samples.reason:
        return Jackknifed(plugin, nan, nan, nan, nan, samples.reason)
    n_a, n_b = samples.groups
    if samples.paired:
        least = min(n_a, n_b)
        moves = _left_out(statistic, samples.a, samples.b, a, b) - plugin
        share, dof = (least - 1) / least, least - 1.0
        shift, variance = share * float(moves.sum()), share * float(((moves - moves.mean()) ** 2).sum())
    else:
        first = _left_out(statistic, samples.a, None, a, b) - plugin
        second = _left_out(statistic, None, samples.b, a, b) - plugin
        shift = float((n_a - 1) / n_a * first.sum() + (n_b - 1) / n_b * second.sum())
        own, other = (float(((m - m.mean()) ** 2).sum()) * (m.size - 1) / m.size for m in (first, second))
        variance, dof = own + other, float(welch(own, other, n_a, n_b))
    value, error = plugin - shift, math.sqrt(variance)
    reach = float(stats.t.ppf((1.0 + level) / 2.0, dof)) * error
    return Jackknifed(plugin, value, value - reach, value + reach, error)


def _left_out(
    statistic: Statistic, out_a: NDArray | None, out_b: NDArray | None, a: Floats, b: Floats
) -> Floats:
    """The statistic without each group, some groups at a time; a sample that is None stays whole."""
    groups = len(out_a) if out_a is not None else len(out_b) if out_b is not None else 0
    at_once = max(1, CELLS_AT_ONCE // max(1, a.size + b.size))
    values = []
    for first in range(0, groups, at_once):
        part = slice(first, first + at_once)
        rest_a = a[None] if out_a is None else a - out_a[part]
        rest_b = b[None] if out_b is None else b - out_b[part]
        values.append(statistic(rest_a, rest_b))
    return np.concatenate(values)
