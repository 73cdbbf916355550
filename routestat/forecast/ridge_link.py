"""From the predictions of a ridge to log weights of the conditional Bernoulli distribution.

A ridge predicts an expert's indicator: about the probability of its inclusion, but also below 0 and above 1, and too
sure of itself on other documents. The log weight is ``power · log odds`` of the prediction after its negative part is
softened over the scale ``softness``. It increases with the prediction: the order of the experts is the ridge's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from routestat.counting.kernels.likelihood import LANES
from routestat.counting.moments import SampledParts, tempered_likelihood
from routestat.forecast.exponents import CLOSE, PULL, STEPS
from routestat.inference.base.tables import Floats

#: Predictions between which log weights are interpolated, and the number of steps.
RANGE, KNOTS = (-2.0, 3.0), 4096
#: The power that keeps the order of experts where predictions are worth nothing.
LEAST_POWER = 1e-6


@dataclass(frozen=True, slots=True)
class Link:
    """How predictions become log weights.

    Attributes
    ----------
    power, softness : float
        Both above zero.
    top_k : int
    """

    power: float
    softness: float
    top_k: int

    @property
    def low(self) -> float:
        """The prediction of the first knot."""
        return RANGE[0]

    @property
    def step(self) -> float:
        """Between two knots."""
        return (RANGE[1] - RANGE[0]) / KNOTS

    def knots(self) -> Floats:
        """Log weights ``[knot]``, between which the link is linear."""
        at: Floats = np.linspace(*RANGE, KNOTS + 1)
        return self.power * _odds(at, self.softness, self.top_k)


def plain_link(n_experts: int, top_k: int) -> Link:
    """Return the link where no documents are left to fit one on."""
    return Link(1.0, top_k / n_experts, top_k)


def fit_links(
    predicted: Floats, target: NDArray[np.integer], fold: NDArray[np.integer], n_folds: int
) -> list[Link]:
    """Fit a link for each fold by maximum likelihood, pulled slightly towards a power of 1.

    Parameters
    ----------
    predicted : float array ``[row, expert]``
        Of tokens that the ridges were not fitted to.
    target : int array ``[row, k]``
        The chosen experts.
    fold : int array ``[row]``
        Ascending.
    n_folds : int

    Returns
    -------
    list of Link
        The plain one for a fold without rows.
    """
    n_experts, top_k = predicted.shape[1], target.shape[1]
    plain = plain_link(n_experts, top_k)
    prior = np.array([plain.power, np.log(plain.softness)])
    found = np.tile(prior, (n_folds, 1))
    best, reached, step = found.copy(), np.full(n_folds, -np.inf), np.zeros_like(found)
    done = np.zeros(n_folds, np.bool_)
    for _ in range(STEPS):
        value, slope, curve = _likelihood(predicted, target, fold, found)
        away = found - prior
        value, slope = value - 0.5 * PULL * (away**2).sum(axis=1), slope - PULL * away
        better = value >= reached - 1e-9 * np.abs(reached)
        best, reached = np.where(better[:, None], found, best), np.where(better, value, reached)
        # Steps that would leave where the softness means anything are shortened.
        newton = np.clip(np.linalg.solve(curve + PULL * np.eye(2), slope[..., None])[..., 0], -1.0, 1.0)
        step = np.where(better[:, None], newton, step / 2.0)
        # No fold goes on because another does.
        found = np.where(done[:, None], found, best + step)
        found[:, 0] = np.maximum(found[:, 0], LEAST_POWER)
        # Convergence is quadratic: the error that remains after so small a step is far smaller still.
        done |= (np.abs(step) < CLOSE).all(axis=1)
        if done.all():
            break
    return [Link(float(power), float(np.exp(scale)), top_k) for power, scale in found]


def _likelihood(
    predicted: Floats, target: NDArray[np.integer], fold: NDArray[np.integer], at: Floats
) -> tuple[Floats, Floats, Floats]:
    """Log likelihood, gradient and minus the Hessian, roughly, in the power and the log of the softness."""
    power, softness = at[fold, 0, None], np.exp(at[fold, 1, None])
    odds, by_scale = _odds(predicted, softness, target.shape[1]), _slope(predicted, softness, target.shape[1])
    rows, n_experts = predicted.shape
    blocks = -(-rows // LANES)
    parts = np.zeros((2, blocks * LANES, n_experts))
    parts[0, :rows], parts[1, :rows] = odds, power * by_scale
    values = np.ascontiguousarray(parts.reshape(2, blocks, LANES, n_experts).transpose(1, 0, 3, 2))
    of = SampledParts(values, target.astype(np.int64), fold.astype(np.int64), len(at))
    return tempered_likelihood(of, np.column_stack([at[:, 0], np.zeros(len(at))]))


def _odds(predicted: Floats, softness: Floats | float, top_k: int) -> Floats:
    # As log odds of inclusion, which are exact for k = 1; both sides softened, so that they exist everywhere.
    rest = 1.0 - predicted * ((top_k - 1) / top_k)
    return np.asarray(_log_soft(predicted, softness) - _log_soft(rest, softness))


def _log_soft(x: Floats, softness: Floats | float) -> Floats:
    """Log of softness · log(1 + exp(x / softness)): x where that is large, never below zero."""
    u = np.asarray(x / softness)
    # log(1 + eᵘ) ≈ eᵘ where u is far below zero.
    return np.asarray(
        np.log(softness) + np.where(u < -30.0, u, np.log(np.logaddexp(0.0, np.maximum(u, -30.0))))
    )


def _slope(predicted: Floats, softness: Floats | float, top_k: int) -> Floats:
    """Differentiate `_odds` by the log of the softness."""
    rest = 1.0 - predicted * ((top_k - 1) / top_k)
    return np.asarray(_slope_of_log_soft(predicted, softness) - _slope_of_log_soft(rest, softness))


def _slope_of_log_soft(x: Floats, softness: Floats | float) -> Floats:
    u = np.maximum(x / softness, -700.0)
    return np.asarray(
        1.0 - u * expit(u) / np.where(u < -30.0, np.exp(u), np.logaddexp(0.0, np.maximum(u, -30.0)))
    )
