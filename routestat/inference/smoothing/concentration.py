"""The Dirichlet concentration of rows by empirical Bayes: Newton's method, with Minka's fixed point as fallback."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.base.special import LARGEST_SUM_PER_TOKEN, SMALLEST_SUM, count_rows, log_rising
from routestat.inference.base.tables import Floats, read_only

# The evidence of an unused column is greatest at alpha zero, where no Dirichlet exists and the predicted
# probability would be exactly zero: it gets this share of the others' sum, and no more than this.
UNSEEN = 1e-6
STEPS = 500
HALVINGS = 12


class _Evidence:
    """The summed evidence of rows as a function of alpha `[K]`, with its derivatives; only cells with counts."""

    def __init__(self, rows: Floats) -> None:
        source, column = np.nonzero(rows)
        # Few counts of a column and few totals, many rows: equal ones are evaluated once.
        cells = np.stack([column.astype(np.float64), rows[source, column]], axis=1)
        found, self.repeats = _distinct(cells)
        self.column, self.count = found[:, 0].astype(np.intp), found[:, 1]
        self.total, self.times = np.unique(rows.sum(axis=1), return_counts=True)
        self.width = rows.shape[1]

    def __call__(self, alpha: Floats) -> float:
        cells = self.repeats @ log_rising(alpha[self.column], self.count)
        return float(cells - self.times @ log_rising(alpha.sum(), self.total))

    def _per_column(self, cells: Floats) -> Floats:
        return np.bincount(self.column, weights=self.repeats * cells, minlength=self.width).astype(np.float64)

    def slopes(self, alpha: Floats) -> tuple[Floats, float]:
        """Return per column the sum of psi(alpha + c) - psi(alpha), and that of psi(A + n) - psi(A)."""
        whole = alpha.sum()
        cells = special.psi(alpha[self.column] + self.count) - special.psi(alpha)[self.column]
        return self._per_column(cells), float(
            self.times @ (special.psi(whole + self.total) - special.psi(whole))
        )

    def curvatures(self, alpha: Floats) -> tuple[Floats, float]:
        """Return the Hessian's diagonal `[K]` (negative) and its rank-one part (positive, equal in every cell)."""
        whole = alpha.sum()
        cells = _trigamma(alpha[self.column] + self.count) - _trigamma(alpha)[self.column]
        corner = special.zeta(2.0, whole) - _trigamma(whole + self.total)
        return self._per_column(cells), float(self.times @ corner)


def _trigamma(x: Floats) -> Floats:
    """psi'(x) for x > 0; the series is exact in a double's digits at 20; scipy's zeta costs ten times as much."""
    square = 1.0 / (x * x)
    tail = square * (1 / 6 - square * (1 / 30 - square * (1 / 42 - square * (1 / 30 - square * 5 / 66))))
    result = np.asarray((1.0 + tail + 0.5 / x) / x)
    # Below 20 by the recurrence psi'(x) = psi'(x + n) + the sum of 1/(x + i)**2 over i < n.
    near = np.flatnonzero(x < 20.0)
    if near.size:
        below = x[near][:, None] + np.arange(20)
        result[near] = _trigamma(x[near] + 20.0) + (1.0 / (below * below)).sum(axis=1)
    return result


def _distinct(cells: Floats) -> tuple[Floats, Floats]:
    """Return the different rows of two columns, and how often each occurs."""
    order = np.lexsort((cells[:, 1], cells[:, 0]))
    cells = cells[order]
    first = np.flatnonzero(np.concatenate([[True], (cells[1:] != cells[:-1]).any(axis=1)])[: len(cells)])
    return cells[first], np.diff(np.append(first, len(cells))).astype(np.float64)


def _newton_step(alpha: Floats, up: Floats, down: float, diagonal: Floats, corner: float) -> Floats:
    """Compute the Newton step in log alpha, damped where the evidence is not concave so that it still ascends."""
    gradient = alpha * (up - down)
    bend = alpha * alpha * diagonal + gradient
    # The Hessian in log alpha is diag(bend) + corner * alpha alpha'. Along a ridge or near a saddle it has a
    # direction that curves upwards; the shift grows until none is left.
    shift = max(0.0, 2.0 * float(bend.max()))
    for _ in range(100):
        damped = bend - shift
        weight = 1.0 + corner * (alpha * alpha / damped).sum()
        if damped.max() < 0 and weight > 0:
            break
        shift = max(4.0 * shift, 1e-9 * float(np.abs(bend).max()))
    plain = gradient / damped
    step = -(plain - alpha / damped * (corner * (alpha @ plain) / weight))
    return step * min(1.0, 3.0 / np.abs(step).max()) if step.any() else step


def _symmetric_step(alpha: Floats, up: Floats, down: float, diagonal: Floats, corner: float) -> Floats:
    a, width = alpha[0], alpha.size
    gradient = a * (up.sum() - width * down)
    bend = a * a * (diagonal.sum() + width * width * corner) + gradient
    return np.full(width, np.clip(gradient / max(abs(bend), 1e-300), -3.0, 3.0))


def _within_bounds(alpha: Floats, largest: float) -> Floats:
    return alpha * (np.clip(alpha.sum(), SMALLEST_SUM, largest) / alpha.sum())


def _newton_trial(
    evidence: _Evidence, alpha: Floats, step: Floats, floor: float, largest: float
) -> tuple[Floats, float]:
    """Halve the step while the evidence falls below `floor`: the direction ascends, its length may overshoot."""
    for _ in range(HALVINGS):
        trial = _within_bounds(alpha * np.exp(step), largest)
        height = evidence(trial)
        if height >= floor:
            break
        step = 0.5 * step
    return trial, height


def _fixed_point(evidence: _Evidence, alpha: Floats, ratio: Floats, largest: float) -> tuple[Floats, float]:
    """Take Minka's step, doubled while that ascends: alone it is slow where the evidence is nearly flat."""
    trial = _within_bounds(alpha * ratio, largest)
    height = evidence(trial)
    for _ in range(20):
        ratio = np.clip(ratio * ratio, 1e-4, 1e4)
        further = _within_bounds(alpha * ratio, largest)
        reached = evidence(further)
        if not reached > height:
            break
        trial, height = further, reached
    return trial, height


def fit_concentration(rows: ArrayLike, symmetric: bool = False) -> Floats:
    """Maximise the summed evidence of the rows over alpha `[K]`: empirical Bayes.

    Newton in log alpha with the Hessian's diagonal-plus-rank-one form, damped where it is not concave and halved
    where it overshoots; where that does not ascend, Minka's fixed point, which always does. The evidence can
    have a second, lower maximum when the rows are few and short; the ascent starts from the pooled shares with a
    mean of one. Rows are taken as independent draws from one Dirichlet.

    Parameters
    ----------
    rows
        Whole counts `[row, K]`. Rows without tokens are ignored.
    symmetric
        One number for all columns. The result is still `[K]`.

    Notes
    -----
    The best value can lie at a boundary where no Dirichlet exists. A column that was never counted (unless
    `symmetric`) would get zero: it is left out of the fit and gets 1e-6 of the others' sum, at most 1e-6. Rows
    that each use one column only drive the sum to zero: it stops at 1e-4. Rows no more unlike than one
    multinomial would make them drive the sum to infinity: it stops at 10,000 times the longest row, shared out
    as the pooled counts are. Where no row has two tokens the sum cannot be known and stays at its start, the
    number of columns in use.

    Raises
    ------
    RoutestatError
        For anything but a table of whole counts with at least one token.

    References
    ----------
    Minka (2000), Estimating a Dirichlet distribution.
    """
    counts = count_rows(rows)
    if counts.ndim != 2:
        raise RoutestatError(f"rows: expected counts [row, K], got {counts.ndim} axes; reshape them")
    if not counts.any():
        raise RoutestatError(
            "rows: expected at least one token to fit alpha to, got none; give alpha as a number"
        )
    seen = np.ones(counts.shape[1], dtype=bool) if symmetric else counts.any(axis=0)
    fitted = np.empty(counts.shape[1])
    fitted[seen] = _maximise(counts[:, seen], symmetric)
    fitted[~seen] = UNSEEN * min(1.0, fitted[seen].sum())
    return read_only(fitted)


def _maximise(counts: Floats, symmetric: bool) -> Floats:
    evidence = _Evidence(counts)
    width = counts.shape[1]
    largest = LARGEST_SUM_PER_TOKEN * counts.sum(axis=1).max()
    share = np.full(width, 1.0 / width) if symmetric else counts.sum(axis=0) / counts.sum()
    alpha = _within_bounds(share * width, largest)
    if evidence.total.max() < 2:
        return alpha
    best = evidence(alpha)
    for _ in range(STEPS):
        up, down = evidence.slopes(alpha)
        if alpha.sum() > 0.999 * largest:
            # Here the best direction is the pooled share. If a larger sum would still be better, stop.
            limit = share * largest
            up, down = evidence.slopes(limit)
            if limit @ up >= limit.sum() * down:
                return limit
        make = _symmetric_step if symmetric else _newton_step
        step = make(alpha, up, down, *evidence.curvatures(alpha))
        # Rounding in the evidence grows with its size; a last step may lose that much and still be right.
        floor = best - 1e-12 * abs(best)
        trial, height = _newton_trial(evidence, alpha, step, floor, largest)
        if height < floor:
            ratio = (np.full(width, up.mean()) if symmetric else up) / down
            trial, height = _fixed_point(evidence, alpha, ratio, largest)
        moved = np.abs(np.log(trial / alpha)).max()
        alpha, best = trial, max(best, height)
        if moved < 1e-9:
            break
    return alpha
