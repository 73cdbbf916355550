"""Statistics that no naming of experts changes, so that routers of different models can be compared."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from routestat.inference.base.estimate import Estimate, without_interval
from routestat.inference.base.special import x_log_x
from routestat.inference.base.tables import Floats
from routestat.inference.information.mutual_information import batch_information
from routestat.inference.two_sample.jackknife import jackknife
from routestat.inference.two_sample.samples import two_samples

#: Of totals `[batch, …]`, a number for each of the batch.
Figure = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class FigureDifference:
    """A statistic of both samples and their difference a - b in `estimate`; see `compare_figures`."""

    a: float
    b: float
    estimate: Estimate

    @property
    def difference(self) -> float:
        """The statistic of a minus that of b."""
        return self.estimate.value

    @property
    def low(self) -> float:
        """Lower limit of the difference."""
        return self.estimate.low

    @property
    def high(self) -> float:
        """Upper limit of the difference."""
        return self.estimate.high

    @property
    def standard_error(self) -> float:
        """Standard error of the difference."""
        return self.estimate.standard_error

    @property
    def reason(self) -> str | None:
        """Why there is no interval, or None."""
        return self.estimate.reason or None


def compare_figures(
    figure: Figure, a: ArrayLike, b: ArrayLike, *, paired: bool = False, smooth: bool = True
) -> FigureDifference:
    """How a figure of one sample differs from that of the other, with the delete-group jackknife's interval.

    `a` and `b` are the samples' own figures, plug-in; the difference is the jackknife's, so that a bias which
    tokens of one document share, and which is larger in the smaller sample, does not pass for a difference.

    Parameters
    ----------
    figure
        Such as `entropy_bits`, `gini` or `information_bits`.
    a, b
        Whole counts `[group, …]` with as many axes; their states need not be the same ones, nor as many.
    paired
        Group g of `a` and group g of `b` are the same documents.
    smooth
        Whether the figure is one that the jackknife can correct. Those that rest on an order of the loads are not
        where loads are nearly even: their plug-in difference is given, with the jackknife's error.

    Raises
    ------
    RoutestatError
        For counts that are not such tables, or paired samples with different groups.
    """
    samples = two_samples(a, b, paired, np.ndim(a), alike=False)
    totals = samples.totals()
    if not (totals[0].any() and totals[1].any()):
        nan = math.nan
        return FigureDifference(nan, nan, without_interval(nan, 0, samples.reason or ""))
    found = jackknife(lambda x, y: figure(x) - figure(y), samples)
    first, second = (float(figure(total[None])[0]) for total in totals)
    # Without an error there is no jackknife estimate either, but the statistics stand.
    if not smooth or samples.reason is not None:
        shift = 0.0 if smooth else first - second - found.value
        low, high = found.low + shift, found.high + shift
        found = replace(found, value=first - second, low=low, high=high)
    return FigureDifference(first, second, found)


def entropy_bits(counts: Floats) -> Floats:
    """Plug-in entropy in bits of totals `[batch, cell]`."""
    share = counts / counts.sum(axis=1, keepdims=True)
    return -x_log_x(share).sum(axis=1) / math.log(2.0)


def gini(counts: Floats) -> Floats:
    """Gini coefficient of totals `[batch, expert]`: 0 when even, 1 - 1/n when one of n experts has all."""
    ordered = np.sort(counts, axis=1)
    n = ordered.shape[1]
    weight = 2.0 * np.arange(1, n + 1) - n - 1.0
    return (ordered * weight).sum(axis=1) / (n * ordered.sum(axis=1))


def max_over_mean(counts: Floats) -> Floats:
    """Compute the heaviest load over the mean load of totals `[batch, expert]`."""
    return counts.max(axis=1) / counts.mean(axis=1)


def information_bits(counts: Floats) -> Floats:
    """Plug-in mutual information in bits of totals `[batch, source, target]`."""
    return batch_information(counts)[0] / math.log(2.0)


def profile_distance(a: ArrayLike, b: ArrayLike) -> float:
    """How far two sorted load profiles are apart: total variation of the shares, heaviest with heaviest.

    Parameters
    ----------
    a, b
        Totals `[expert]`; the shorter profile is filled up with zeros. NaN where one has none.
    """
    first, second = (np.sort(np.asarray(x, dtype=np.float64))[::-1] for x in (a, b))
    if not (first.any() and second.any()):
        return math.nan
    width = max(first.size, second.size)
    p, q = (np.pad(x / x.sum(), (0, width - x.size)) for x in (first, second))
    return float(np.abs(p - q).sum() / 2.0)
