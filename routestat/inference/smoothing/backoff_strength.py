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
from numpy.typing import ArrayLike
from scipy import optimize, special

from routestat.inference.base.special import LARGEST_SUM_PER_TOKEN, SMALLEST_SUM, log_rising
from routestat.inference.base.tables import Floats

# Up to this count the differences of psi are summed term by term.
SHORT = 8
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
    cells = _Cells(c, p)

    def slope(log_s: float) -> float:
        """Differentiate the evidence with respect to log s."""
        s = math.exp(log_s)
        return cells.draws(s) - s * float(times @ (special.psi(s + n) - special.psi(s)))

    low, high = math.log(SMALLEST_SUM), math.log(LARGEST_SUM_PER_TOKEN * n.max())
    # The evidence can have a second, lower maximum: all sign changes of the slope on a coarse grid are compared.
    grid = np.linspace(low, high, 13)
    slopes = np.array([slope(step) for step in grid.tolist()])
    peaks = [low] if slopes[0] <= 0 else []
    for i in np.flatnonzero((slopes[:-1] > 0) & (slopes[1:] <= 0)).tolist():
        peaks.append(float(optimize.brentq(slope, grid[i], grid[i + 1], xtol=1e-6)))
    if slopes[-1] > 0:
        peaks.append(high)
    if len(peaks) < 2:
        return math.exp(peaks[0])
    heights = [_evidence(c, p, n, times, math.exp(peak)) for peak in peaks]
    return math.exp(peaks[int(np.argmax(heights))])


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


class _Cells:
    """The sum over cells of s m (psi(s m + c) - psi(s m)) as a function of s, cheap where most c are small."""

    def __init__(self, counts: Floats, base: Floats) -> None:
        # psi(a + c) - psi(a) of whole c is 1/a + 1/(a + 1) + …; the first term is one for every cell.
        self.first, self.terms, self.done = 0.0, [], 0
        c, p = counts, base
        if (c == np.floor(c)).all():
            self.first = float(len(c)) if SHORT else 0.0
            for k in range(SHORT):
                more = c > k
                c, p = c[more], p[more]
                if k and len(c):
                    self.terms.append((k, p))
            self.done = SHORT
            more = c > SHORT
            c, p = c[more], p[more]
        self.counts, self.base = c - self.done, p

    def draws(self, s: float) -> float:
        total = self.first + sum(float((p / (p + k / s)).sum()) for k, p in self.terms)
        if len(self.base):
            a = s * self.base
            start = a + self.done if self.done else a
            total += float(a @ (special.psi(start + self.counts) - special.psi(start)))
        return total


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
    n, u = np.bincount(place, c), np.bincount(place).astype(np.float64)
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
        second = s * s * by_ss + s * by_s, s * by_sd, by_dd
        return float(value), float(s * by_s), float(by_d), *map(float, second)


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
