"""The delete-group jackknife of a statistic of two samples, weighted by the groups' sizes."""

import math

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import Estimate, sandwich_variance, with_interval, without_interval
from routestat.inference.base.jackknife import jackknife_scores, jackknife_value
from routestat.inference.base.tables import Floats
from routestat.inference.two_sample.samples import Statistic, TwoSamples, welch


def jackknife(statistic: Statistic, samples: TwoSamples, level: float = 0.95) -> Estimate:
    """Estimate a smooth statistic of both samples' totals by leaving out each group in turn.

    Unpaired, a group is left out of its own sample; the two biases and the two variances add up. Paired, it is left
    out of both at once, with the mean of its shares of either sample as its weight. Where groups are of one size in
    either sample that is exact to first order. With lengths of a Pareto tail (index 1.2, 40 groups) and 1 to 100 %
    of a group's tokens in the second sample the textbook form keeps .34 to .51 of the bias of a divergence of 0,
    this one .03 to .19.

    Parameters
    ----------
    statistic
        Of totals of both samples.
    samples
        Groups of both.
    level
        Of confidence: Student's t with the degrees of freedom of `TwoSamples.variance`.

    Returns
    -------
    Estimate. Where the statistic is at the end of its range (a divergence of 0) its distribution is not normal and
    the interval is no test.

    References
    ----------
    Efron & Stein (1981), The jackknife estimate of variance. Ann. Stat. 9.
    """
    a, b = samples.totals()
    plugin = float(statistic(a[None], b[None])[0])
    n_a, n_b = samples.groups
    if samples.reason:
        return without_interval(math.nan, min(n_a, n_b), samples.reason, plugin)
    size_a, size_b = samples.sizes
    if samples.paired:
        share = size_a / size_a.sum() + size_b / size_b.sum()
        left = _left_out(statistic, samples.a, samples.b, a, b)
        value, scores = jackknife_value(plugin, left, share), jackknife_scores(plugin, left, share)
        variance, dof = float(sandwich_variance(scores - scores.mean())), min(samples.dofs)
    else:
        first = _left_out(statistic, samples.a, None, a, b)
        second = _left_out(statistic, None, samples.b, a, b)
        value = jackknife_value(plugin, first, size_a) + jackknife_value(plugin, second, size_b) - plugin
        scores_a, scores_b = (
            jackknife_scores(plugin, left, size) for left, size in ((first, size_a), (second, size_b))
        )
        own, other = (float(sandwich_variance(s - s.mean())) for s in (scores_a, scores_b))
        variance, dof = own + other, float(welch(own, other, *samples.dofs))
    return with_interval(value, math.sqrt(variance), dof, min(n_a, n_b), level, plugin)


def _left_out(
    statistic: Statistic,
    out_a: NDArray[np.integer] | None,
    out_b: NDArray[np.integer] | None,
    a: Floats,
    b: Floats,
) -> Floats:
    """Compute the statistic without each group, `[group]`; a sample that is None stays whole."""
    groups = len(out_a) if out_a is not None else len(out_b) if out_b is not None else 0
    values = []
    for part in chunks(groups, a.size + b.size):
        rest_a = a[None] if out_a is None else a - out_a[part]
        rest_b = b[None] if out_b is None else b - out_b[part]
        values.append(statistic(rest_a, rest_b))
    return np.concatenate(values)
