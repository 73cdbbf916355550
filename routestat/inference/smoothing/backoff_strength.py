"""How strongly the rows of a table back off to a base: Dirichlet strengths by evidence, and discounts.

References
----------
MacKay & Peto (1995), A hierarchical Dirichlet language model. Natural Language Engineering 1;
Ney, Essen & Kneser (1994), On structuring probabilistic dependences in stochastic language modelling (leaving one
out). Computer Speech & Language 8.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike
from scipy import optimize

from routestat.counting.kernels.draws import summed_draws
from routestat.inference.base.special import LARGEST_SUM_PER_TOKEN, SMALLEST_SUM, log_rising
from routestat.inference.base.tables import Floats

# Points of the coarse grid.
GRID = 17
# Chebyshev's points, as many as the kernel divides by at once; values there to coefficients, the highest power first.
POINTS = chebyshev.chebpts1(8)
TO_POLYNOMIAL = np.linalg.inv(np.vander(POINTS))
# Up to this total a table of all totals is made.
COUNTED = 1 << 20
_STEPS = 60
MOST_DISCOUNT = 0.999
# Newton's method: the longest step in ln s and d, the step at which it ends, and what is taken as one maximum.
LONGEST, CLOSE, NEAR = (2.0, 0.3), 1e-7, 0.01


@dataclass(frozen=True, slots=True)
class BackoffParameters:
    """How strongly the distribution after a context is smoothed towards that after a shorter one.

    Attributes
    ----------
    strength : float
        s, in tokens.
    discount : float
        d, from 0 (Dirichlet rows) to below 1.
    """

    strength: float
    discount: float = 0.0


def fit_strength(counts: ArrayLike, base: ArrayLike, totals: ArrayLike) -> float:
    """Maximise the evidence of rows that are Dirichlet(s base) over s.

    Parameters
    ----------
    counts, base : arrays ``[cell]``
        Of the observed cells: tokens, and the shorter context's probability.
    totals : array ``[context]``
        Tokens of every context.

    Returns
    -------
    float
        In tokens; within bounds beyond which rows equal their first token, or their base, in any case. The upper
        bound where no context was seen twice: the data then hold no evidence that rows differ.
    """
    c, p = np.asarray(counts, np.float64), np.asarray(base, np.float64)
    n, times = _distinct(np.asarray(totals, np.float64).ravel())
    if not c.size or times @ np.maximum(n - 1.0, 0.0) < 1.0:
        return float(LARGEST_SUM_PER_TOKEN)
    slope = _Slope(c, p, n, times)
    low, high = math.log(SMALLEST_SUM), math.log(LARGEST_SUM_PER_TOKEN * n.max())
    # The evidence can have a second, lower maximum: all sign changes of the slope on a coarse grid are compared.
    grid = np.linspace(low, high, GRID)
    slopes = slope.signs(grid)
    peaks = [low] if slopes[0] <= 0 else []
    for i in np.flatnonzero((slopes[:-1] > 0) & (slopes[1:] <= 0)).tolist():
        peaks.append(_root(slope, grid[i], grid[i + 1]))
    if slopes[-1] > 0:
        peaks.append(high)
    if len(peaks) < 2:
        return math.exp(peaks[0])
    heights = [_evidence(c, p, n, times, math.exp(peak)) for peak in peaks]
    return math.exp(peaks[int(np.argmax(heights))])


class _Slope:
    """The derivative of the evidence in ln s: draws expected of the cells less those expected of the contexts."""

    def __init__(self, counts: Floats, base: Floats, totals: Floats, times: Floats) -> None:
        self.cells, self.least = (counts, base, np.ones_like(counts)), float(np.minimum(counts, 1.0).sum())
        self.contexts = totals, np.ones_like(totals), times

    def __call__(self, log_s: Floats) -> Floats:
        s = np.exp(log_s)
        return summed_draws(*self.cells, s) - summed_draws(*self.contexts, s)

    def signs(self, log_s: Floats) -> Floats:
        """Return numbers of the sign of the slope."""
        s = np.exp(log_s)
        # One token or more is drawn in every cell: fewer in all contexts need no sum over the cells.
        of_contexts = summed_draws(*self.contexts, s)
        found = self.least - of_contexts
        unclear = found <= 1e-9 * self.least
        if unclear.any():
            found[unclear] = summed_draws(*self.cells, s[unclear]) - of_contexts[unclear]
        return found


def _root(slope: _Slope, low: float, high: float) -> float:
    """Find where the slope falls through zero, by the polynomial through its values.

    The slope has no pole within pi of the real axis: over a cell of the grid eight values determine the root to 1e-6.
    """
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    coefficients: list[float] = (TO_POLYNOMIAL @ slope(middle + half * POINTS)).tolist()

    def value(at: float) -> float:
        total = 0.0
        for coefficient in coefficients:
            total = total * at + coefficient
        return total

    start, end = value(-1.0), value(1.0)
    if not start > 0 > end:
        # The slope is so near zero at an end that the sign of its polynomial is uncertain.
        return low if abs(start) < abs(end) else high
    return middle + half * float(optimize.brentq(value, -1.0, 1.0, xtol=1e-9))


def _distinct(totals: Floats) -> tuple[Floats, Floats]:
    """Return the distinct totals above zero and how often each occurs; not merged where they are not whole."""
    most = totals.max(initial=0.0)
    if most > COUNTED or (totals != np.floor(totals)).any():
        met = totals[totals > 0]
        return met, np.ones_like(met)
    times = np.bincount(totals.astype(np.int64))
    times[:1] = 0
    n = np.flatnonzero(times)
    return n.astype(np.float64), times[n].astype(np.float64)


def _evidence(counts: Floats, base: Floats, totals: Floats, times: ArrayLike, s: float) -> float:
    return float(log_rising(s * base, counts).sum() - np.asarray(times) @ log_rising(s, totals))


def fit_backoff(
    counts: ArrayLike, base: ArrayLike, context: ArrayLike, strength: float | None = None
) -> BackoffParameters:
    """Fit the strength by evidence, and a discount where the leave-one-token-out likelihood clearly improves.

    The discount stays zero unless it raises the log probability of left-out tokens by more than half the log of
    their number for each of the two fitted parameters. Counts are whole here.

    Parameters
    ----------
    counts, base : arrays ``[cell]``
        Of the observed cells, as in `fit_strength`.
    context : int array ``[cell]``
        The context of each cell, numbered from 0 without gaps.
    strength : float, optional
        Of greatest evidence, as `fit_strength` finds it, if that is known.
    """
    c, p = np.asarray(counts, np.float64), np.asarray(base, np.float64)
    place = np.asarray(context, np.intp)
    n, u = (np.bincount(place, w).astype(np.float64, copy=False) for w in (c, None))
    s = fit_strength(c, p, n) if strength is None else strength
    if not c.size or n.max() <= 1:
        return BackoffParameters(s)
    left_out = _LeftOut(c, p, n, u[place])
    most = math.log(LARGEST_SUM_PER_TOKEN * n.max())
    found: list[tuple[float, float, float]] = []
    for guess in ((math.log(s), 0.1), (0.0, 0.8)):
        found.append(_highest(left_out, guess, (math.log(SMALLEST_SUM), most), found))
    best, log_s, d = max(found)
    if best - left_out(math.log(s), 0.0)[0] <= math.log(c.sum()):
        return BackoffParameters(s)
    return BackoffParameters(math.exp(log_s), d)


class _LeftOut:
    """ln of the probability of every token given all others, as a function of ln s and d, with its derivatives.

    Parameters
    ----------
    counts, base, targets : float arrays ``[cell]``
        Tokens, the shorter context's probability, and how many targets the context has.
    totals : float array ``[context]``
    """

    def __init__(self, counts: Floats, base: Floats, totals: Floats, targets: Floats) -> None:
        # Without its only token a cell is empty, and one target fewer has been seen. What is left of the probability
        # of such tokens depends only on the number of the other targets.
        once = counts == 1
        self.new = np.bincount(targets[once].astype(np.int64) - 1).astype(np.float64)
        self.others = np.flatnonzero(self.new).astype(np.float64)
        self.new = self.new[self.new > 0]
        self.alone = float(np.log(base[once]).sum())
        more = ~once
        self.counts, self.base = counts[more], base[more]
        self.left, self.lost = self.counts - 1.0, targets[more] * self.base - 1.0
        n, times = _distinct(totals)
        self.totals, self.tokens = n - 1.0, n * times

    def __call__(self, log_s: float, d: float) -> tuple[float, float, float, float, float, float]:
        """Return the value, its derivatives in ln s and d, and its second ones (ln s twice, both, d twice)."""
        s = math.exp(log_s)
        top = self.left + s * self.base + d * self.lost
        spare, whole = s + d * self.others, self.totals + s
        value = (
            self.counts @ np.log(top) + self.new @ np.log(spare) - self.tokens @ np.log(whole) + self.alone
        )
        a, b, c = self.counts / top, self.new / spare, self.tokens / whole
        by_s = a @ self.base + b.sum() - c.sum()
        by_d = a @ self.lost + b @ self.others
        np.divide(a, top, out=a)
        b /= spare
        ap, bo = a * self.base, b * self.others
        by_ss = (c / whole).sum() - ap @ self.base - b.sum()
        by_sd = -(ap @ self.lost) - bo.sum()
        a *= self.lost
        by_dd = -(a @ self.lost) - bo @ self.others
        by_xx, by_xd = s * s * by_ss + s * by_s, s * by_sd
        return float(value), float(s * by_s), float(by_d), float(by_xx), float(by_xd), float(by_dd)


def _highest(
    function: Callable[[float, float], tuple[float, float, float, float, float, float]],
    guess: tuple[float, float],
    bounds: tuple[float, float],
    known: Sequence[tuple[float, float, float]],
) -> tuple[float, float, float]:
    """Climb from a guess by Newton's method, and return the height and where it is.

    Parameters
    ----------
    function : callable(log_s, d)
    guess : (float, float)
        ln s and d.
    bounds : (float, float)
        Of ln s; d is from 0 to `MOST_DISCOUNT`.
    known : sequence of (height, log_s, d)
        Maxima; the climb ends where it comes close to one.
    """
    x, d = min(max(guess[0], bounds[0]), bounds[1]), guess[1]
    found = function(x, d)
    for _ in range(_STEPS):
        for one in known:
            if abs(one[1] - x) < NEAR and abs(one[2] - d) < NEAR:
                return one
        to_x, to_d = _newton(found[1:], (x, d), bounds)
        for _ in range(_STEPS):
            new_x = min(max(x + to_x, bounds[0]), bounds[1])
            new_d = min(max(d + to_d, 0.0), MOST_DISCOUNT)
            trial = function(new_x, new_d)
            # At the top the height differs by rounding only.
            if trial[0] >= found[0] - 1e-14 * abs(found[0]):
                break
            to_x, to_d = to_x / 4.0, to_d / 4.0
        moved = abs(new_x - x) + abs(new_d - d)
        x, d, found = new_x, new_d, trial
        if moved < CLOSE:
            break
    return found[0], x, d


def _newton(
    slopes: tuple[float, ...], at: tuple[float, float], bounds: tuple[float, float]
) -> tuple[float, float]:
    """Return a step uphill in ln s and d; along a bound where the slope points beyond it."""
    x, d, xx, xd, dd = slopes
    held_x = (at[0] <= bounds[0] and x < 0) or (at[0] >= bounds[1] and x > 0)
    held_d = (at[1] <= 0 and d < 0) or (at[1] >= MOST_DISCOUNT and d > 0)
    determinant = xx * dd - xd * xd
    if not (held_x or held_d) and xx < 0 and determinant > 0:
        step = (xd * d - dd * x) / determinant, (xd * x - xx * d) / determinant
    else:
        # Where the function is not concave, or one coordinate is held, each is moved by itself.
        step = (0.0 if held_x else x / max(abs(xx), 1e-300)), (0.0 if held_d else d / max(abs(dd), 1e-300))
    largest = max(abs(step[0]) / LONGEST[0], abs(step[1]) / LONGEST[1], 1.0)
    return step[0] / largest, step[1] / largest
