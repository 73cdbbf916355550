"""How strongly the rows of a table back off to a base: Dirichlet strengths by evidence, and discounts.

References
----------
MacKay & Peto (1995), A hierarchical Dirichlet language model. Natural Language Engineering 1;
Ney, Essen & Kneser (1994), On structuring probabilistic dependences in stochastic language modelling (leaving one
out). Computer Speech & Language 8.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from routestat.inference.base.special import LARGEST_SUM_PER_TOKEN, SMALLEST_SUM, log_rising
from routestat.inference.base.tables import Floats

# Up to this count the differences of psi are summed term by term.
SHORT = 8
_STEPS = 60


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
    n, times = np.unique(np.asarray(totals, np.float64), return_counts=True)
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
    slopes = np.array([slope(step) for step in grid])
    peaks = [low] if slopes[0] <= 0 else []
    for i in np.flatnonzero((slopes[:-1] > 0) & (slopes[1:] <= 0)).tolist():
        peaks.append(float(optimize.brentq(slope, grid[i], grid[i + 1], xtol=1e-6)))
    if slopes[-1] > 0:
        peaks.append(high)
    heights = [_evidence(c, p, n, times, math.exp(peak)) for peak in peaks]
    return math.exp(peaks[int(np.argmax(heights))])


class _Cells:
    """The sum over cells of s m (psi(s m + c) - psi(s m)) as a function of s, cheap where most c are small."""

    def __init__(self, counts: Floats, base: Floats) -> None:
        order = np.argsort(-counts, kind="stable")
        c, self.base = counts[order], base[order]
        # psi(a + c) - psi(a) of whole c is 1/a + 1/(a + 1) + …: the number of cells that have each term.
        whole = bool((c == np.floor(c)).all())
        self.more = [int(np.count_nonzero(c > k)) for k in range(SHORT)] if whole else []
        self.rest = int(np.count_nonzero(c > SHORT)) if whole else c.size
        self.counts = c[: self.rest]

    def draws(self, s: float) -> float:
        a = s * self.base
        total = sum(float((a[:cells] / (a[:cells] + k)).sum()) for k, cells in enumerate(self.more) if cells)
        if self.rest:
            long = a[: self.rest]
            total += float(
                (long * (special.psi(long + self.counts) - special.psi(long + len(self.more)))).sum()
            )
        return total


def _evidence(counts: Floats, base: Floats, totals: Floats, times: ArrayLike, s: float) -> float:
    return float(log_rising(s * base, counts).sum() - np.asarray(times) @ log_rising(s, totals))


def fit_backoff(counts: ArrayLike, base: ArrayLike, context: ArrayLike) -> BackoffParameters:
    """Fit the strength by evidence, and a discount where the leave-one-token-out likelihood clearly improves.

    The discount stays zero unless it raises the log probability of left-out tokens by more than half the log of
    their number for each of the two fitted parameters. Counts are whole here.

    Parameters
    ----------
    counts, base : arrays ``[cell]``
        Of the observed cells, as in `fit_strength`.
    context : int array ``[cell]``
        The context of each cell, numbered from 0 without gaps.
    """
    c, p = np.asarray(counts, np.float64), np.asarray(base, np.float64)
    place = np.asarray(context, np.intp)
    n, u = np.bincount(place, c), np.bincount(place).astype(np.float64)
    s = fit_strength(c, p, n)
    if not c.size or n.max() <= 1:
        return BackoffParameters(s)
    mine, seen = n[place], u[place]

    def left_out(log_s: float, d: float) -> float:
        """Compute −ln of the probability of every token given all others."""
        s = math.exp(log_s)
        once = c == 1
        # Without its only token a cell is empty, and one target fewer has been seen.
        top = c - 1.0 - d * ~once + (s + d * (seen - once)) * p
        return -float(c @ np.log(top / (mine - 1.0 + s)))

    start = math.log(s)
    plain = left_out(start, 0.0)
    bounds = [(math.log(SMALLEST_SUM), math.log(LARGEST_SUM_PER_TOKEN * n.max())), (0.0, 0.999)]
    found = [
        optimize.minimize(
            lambda at: left_out(at[0], at[1]),
            guess,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": _STEPS},
        )
        for guess in ([start, 0.1], [0.0, 0.8])
    ]
    best = min(found, key=lambda one: one.fun)
    if plain - best.fun <= math.log(c.sum()):
        return BackoffParameters(s)
    return BackoffParameters(math.exp(best.x[0]), float(best.x[1]))
