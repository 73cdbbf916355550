"""What can be compared of any two routers, even of different models: figures that no naming of experts changes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.inference.base.tables import Floats
from routestat.inference.two_sample.jackknife import jackknife
from routestat.inference.two_sample.samples import two_samples

#: Of totals `[batch, …]`, a number for each of the batch.
Figure = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class FigureDifference:
    """A figure of both samples and their difference a - b, with its 95 % interval; see `compare_figures`."""

    a: float
    b: float
    difference: float
    low: float
    high: float
    standard_error: float
    reason: str | None = None


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
        return FigureDifference(nan, nan, nan, nan, nan, nan, samples.reason)
    found = jackknife(lambda x, y: figure(x) - figure(y), samples)
    first, second = (float(figure(total[None])[0]) for total in totals)
    # Without an error there is no jackknife either, but the figures stand.
    corrected = smooth and samples.reason is None
    shift = 0.0 if smooth else first - second - found.value
    return FigureDifference(
        first,
        second,
        found.value if corrected else first - second,
        found.low + shift,
        found.high + shift,
        found.standard_error,
        samples.reason,
    )


def entropy_bits(counts: Floats) -> Floats:
    """Plug-in entropy in bits of totals `[batch, cell]`."""
    share = counts / counts.sum(axis=1, keepdims=True)
    return special.entr(share).sum(axis=1) / math.log(2.0)


def gini(counts: Floats) -> Floats:
    """Gini coefficient of totals `[batch, expert]`: 0 when even, 1 - 1/n when one of n experts has all."""
    ordered = np.sort(counts, axis=1)
    n = ordered.shape[1]
    weight = 2.0 * np.arange(1, n + 1) - n - 1.0
    return (ordered * weight).sum(axis=1) / (n * ordered.sum(axis=1))


def max_over_mean(counts: Floats) -> Floats:
    """The heaviest load over the mean load of totals `[batch, expert]`."""
    return counts.max(axis=1) / counts.mean(axis=1)


def information_bits(counts: Floats) -> Floats:
    """Plug-in mutual information in bits of totals `[batch, source, target]`."""
    flat = counts.reshape(len(counts), -1)
    return entropy_bits(counts.sum(axis=2)) + entropy_bits(counts.sum(axis=1)) - entropy_bits(flat)


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
