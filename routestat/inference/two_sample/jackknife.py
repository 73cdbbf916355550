"""The delete-group jackknife of a statistic of two samples."""

import math

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import Estimate, with_interval, without_interval
from routestat.inference.base.tables import Floats
from routestat.inference.two_sample.samples import Statistic, TwoSamples, welch


def jackknife(statistic: Statistic, samples: TwoSamples, level: float = 0.95) -> Estimate:
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
    n_a, n_b = samples.groups
    if samples.reason:
        return without_interval(math.nan, min(n_a, n_b), samples.reason, plugin)
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
    return with_interval(plugin - shift, math.sqrt(variance), dof, min(n_a, n_b), level, plugin)


def _left_out(
    statistic: Statistic, out_a: NDArray | None, out_b: NDArray | None, a: Floats, b: Floats
) -> Floats:
    """The statistic without each group, some groups at a time; a sample that is None stays whole."""
    groups = len(out_a) if out_a is not None else len(out_b) if out_b is not None else 0
    values = []
    for part in chunks(groups, a.size + b.size):
        rest_a = a[None] if out_a is None else a - out_a[part]
        rest_b = b[None] if out_b is None else b - out_b[part]
        values.append(statistic(rest_a, rest_b))
    return np.concatenate(values)
