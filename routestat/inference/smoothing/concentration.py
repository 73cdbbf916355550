"""The Dirichlet concentration of rows by empirical Bayes: Newton's method, with Minka's fixed point as fallback."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from routestat.counting.kernels.rising import rising_sums
from routestat.errors import RoutestatError
from routestat.inference.base.special import LARGEST_SUM_PER_TOKEN, SMALLEST_SUM, count_rows
from routestat.inference.base.tables import Floats, read_only

# The evidence of an unused column is greatest at alpha zero, where no Dirichlet exists and the predicted
# probability would be exactly zero: it gets this share of the others' sum, and no more than this.
UNSEEN = 1e-6
STEPS = 500
HALVINGS = 12


@dataclass(frozen=True, slots=True, eq=False)
class _Height:
    """The evidence at an alpha `[K]`, and its derivatives.

    Attributes
    ----------
    evidence
        Summed over the rows.
    up, down
        Per column the sum of psi(alpha + c) - psi(alpha), and that of psi(A + n) - psi(A): its gradient is up - down.
    diagonal, corner
        The Hessian's diagonal `[K]` (negative) and its rank-one part (positive, equal in every cell).
    """

    evidence: float
    up: Floats
    down: float
    diagonal: Floats
    corner: float


class _Evidence:
    """The summed evidence of rows as a function of alpha `[K]`; only cells with counts."""

    def __init__(self, counts: Floats) -> None:
        rows = counts.astype(np.int64)
        source, column = np.nonzero(rows)
        self._largest, n = int(rows.max()), rows.sum(axis=1)
        total, times = np.unique(n, return_counts=True)
        # Few counts of a column and few totals, many rows: equal ones are evaluated once.
        found, repeats = np.unique(column * (self._largest + 1) + rows[source, column], return_counts=True)
        ends = np.searchsorted(found, np.arange(rows.shape[1] + 1) * (self._largest + 1))
        # Totals are the last column.
        self._starts = np.append(ends, len(found) + len(total))
        self._counts = np.concatenate([found % (self._largest + 1), total])
        self._repeats = np.concatenate([repeats, times]).astype(np.float64)
        self.longest = int(n.max())

    def __call__(self, alpha: Floats) -> _Height:
        sums = np.empty((3, len(alpha) + 1))
        rising_sums(self._starts, self._counts, self._repeats, np.append(alpha, alpha.sum()), sums)
        evidence, first, second = sums
        return _Height(
            float(evidence[:-1].sum() - evidence[-1]),
            first[:-1],
            float(first[-1]),
            second[:-1],
            -float(second[-1]),
        )


def _newton_step(alpha: Floats, at: _Height) -> Floats:
    """Compute the Newton step in log alpha, damped where the evidence is not concave so that it still ascends."""
    gradient = alpha * (at.up - at.down)
    bend = alpha * alpha * at.diagonal + gradient
    # The Hessian in log alpha is diag(bend) + corner * alpha alpha'. Along a ridge or near a saddle it has a
    # direction that curves upwards; the shift grows until none is left.
    shift = max(0.0, 2.0 * float(bend.max()))
    for _ in range(100):
        damped = bend - shift
        weight = 1.0 + at.corner * (alpha * alpha / damped).sum()
        if damped.max() < 0 and weight > 0:
            break
        shift = max(4.0 * shift, 1e-9 * float(np.abs(bend).max()))
    plain = gradient / damped
    step = -(plain - alpha / damped * (at.corner * (alpha @ plain) / weight))
    return step * min(1.0, 3.0 / np.abs(step).max()) if step.any() else step


def _symmetric_step(alpha: Floats, at: _Height) -> Floats:
    a, width = alpha[0], alpha.size
    gradient = a * (at.up.sum() - width * at.down)
    bend = a * a * (at.diagonal.sum() + width * width * at.corner) + gradient
    return np.full(width, np.clip(gradient / max(abs(bend), 1e-300), -3.0, 3.0))


def _within_bounds(alpha: Floats, largest: float) -> Floats:
    return alpha * (np.clip(alpha.sum(), SMALLEST_SUM, largest) / alpha.sum())


def _newton_trial(
    evidence: _Evidence, alpha: Floats, step: Floats, floor: float, largest: float
) -> tuple[Floats, _Height]:
    """Halve the step while the evidence falls below `floor`: the direction ascends, its length may overshoot."""
    for _ in range(HALVINGS):
        trial = _within_bounds(alpha * np.exp(step), largest)
        at = evidence(trial)
        if at.evidence >= floor:
            break
        step = 0.5 * step
    return trial, at


def _fixed_point(evidence: _Evidence, alpha: Floats, ratio: Floats, largest: float) -> tuple[Floats, _Height]:
    """Take Minka's step, doubled while that ascends: alone it is slow where the evidence is nearly flat."""
    trial = _within_bounds(alpha * ratio, largest)
    at = evidence(trial)
    for _ in range(20):
        ratio = np.clip(ratio * ratio, 1e-4, 1e4)
        further = _within_bounds(alpha * ratio, largest)
        reached = evidence(further)
        if not reached.evidence > at.evidence:
            break
        trial, at = further, reached
    return trial, at


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
    if evidence.longest < 2:
        return alpha
    at = evidence(alpha)
    best = at.evidence
    for _ in range(STEPS):
        if alpha.sum() > 0.999 * largest:
            # Here the best direction is the pooled share. If a larger sum would still be better, stop.
            limit = share * largest
            beyond = evidence(limit)
            if limit @ beyond.up >= limit.sum() * beyond.down:
                return limit
            at = replace(at, up=beyond.up, down=beyond.down)
        step = (_symmetric_step if symmetric else _newton_step)(alpha, at)
        # Rounding in the evidence grows with its size; a last step may lose that much and still be right.
        floor = best - 1e-12 * abs(best)
        trial, reached = _newton_trial(evidence, alpha, step, floor, largest)
        if reached.evidence < floor:
            ratio = (np.full(width, at.up.mean()) if symmetric else at.up) / at.down
            trial, reached = _fixed_point(evidence, alpha, ratio, largest)
        moved = np.abs(np.log(trial / alpha)).max()
        alpha, at, best = trial, reached, max(best, reached.evidence)
        if moved < 1e-9:
            break
    return alpha
