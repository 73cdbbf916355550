"""Permutation test of two samples: whole groups are relabelled."""

import math

import numpy as np
from numpy.typing import ArrayLike

from routestat.inference.base.chunks import chunks
from routestat.inference.two_sample.samples import two_samples


def permutation_p(
    a: ArrayLike, b: ArrayLike, rng: np.random.Generator, *, paired: bool = False, n_resamples: int = 999
) -> float:
    """Test as `compare_distributions` does, slowly: p = (1 + b) / (B + 1) over relabellings of whole groups.

    Exact for any dependence within documents if those of both samples are drawn alike (their lengths too), which
    is more than equal distributions. Unpaired, groups change samples; paired, a group's two tables change places.

    Parameters
    ----------
    a, b
        Whole counts `[group, state]`; flatten the cells of a transition.
    rng
    paired, n_resamples

    Returns
    -------
    The p-value of X2; NaN where a sample has no tokens.
    """
    samples = two_samples(a, b, paired, 2)
    t = np.concatenate([samples.a, samples.b])
    t, first = t[:, t.any(axis=0)], np.arange(len(t)) < len(samples.a)
    size = t.sum(axis=1, dtype=np.float64)
    n = size.sum()
    if not size[first].sum() or not size[~first].sum():
        return math.nan
    p, gram = t.sum(axis=0, dtype=np.float64) / n, np.zeros((len(t), len(t)))
    for part in chunks(p.size, len(t)):
        e = (t[:, part] - size[:, None] * p[part]) / np.sqrt(p[part])
        gram += e @ e.T
    labels = np.empty((n_resamples + 1, len(t)), dtype=bool)
    labels[0] = first
    if paired:
        kept = rng.random((n_resamples, len(samples.a))) < 0.5
        labels[1:] = np.hstack([kept, ~kept])
    else:
        labels[1:] = rng.permuted(np.tile(first, (n_resamples, 1)), axis=1)
    in_a = labels @ size
    # A relabelling may leave a sample without tokens where groups are paired: it then shows nothing.
    share_a, share_b = (np.divide(1.0, m, out=np.zeros_like(m), where=m > 0) for m in (in_a, n - in_a))
    sign = np.where(labels, share_a[:, None], -share_b[:, None])
    statistic = in_a * (n - in_a) / n * ((sign @ gram) * sign).sum(axis=1)
    # Equal in truth is equal here, whatever the order of the sums.
    rounding = 1e-9 * statistic[0] + 1e-12 * np.trace(gram) / n
    return float(np.mean(statistic >= statistic[0] - rounding))
