"""Summaries of posterior draws."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.ranks import average_ranks
from routestat.inference.bayes.results import OrderPosterior


@dataclass(frozen=True)
class DrawSummary:
    """Mean, median, standard deviation and equal-tailed 95 % credible interval of draws."""

    mean: float
    median: float
    sd: float
    low: float
    high: float


def summarise_draws(draws: NDArray[np.float64]) -> DrawSummary:
    """Summarise draws of one parameter over all chains."""
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return DrawSummary(float(draws.mean()), float(np.median(draws)), float(draws.std(ddof=1)), low, high)


def strength_quantiles(item: OrderPosterior) -> NDArray[np.float64]:
    """Return the 2.5, 25, 50, 75 and 97.5 % quantiles of the strengths, in tokens ``[quantile, table]``."""
    flat = item.log_strength.reshape(-1, len(item.paths))
    found: NDArray[np.float64] = np.exp(np.quantile(flat, [0.025, 0.25, 0.5, 0.75, 0.975], axis=0))
    return found


def strength_draws(item: OrderPosterior, place: int) -> DrawSummary:
    """Summarise the draws of one table's strength, in tokens."""
    return summarise_draws(np.exp(item.log_strength[..., place]))


def typical_strength(item: OrderPosterior) -> float:
    """Return exp of the posterior mean of mu, in tokens: the centre of the strengths over the depth."""
    return float(np.exp(item.mu.mean()))


def draw_ranks(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of every draw among all draws of all chains ``[chain, draw]``, from 1, ties at their mean.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), Bayesian Analysis 16(2), section 4.
    """
    return average_ranks(draws.reshape(1, -1)).reshape(draws.shape)


def energy_changes(energy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the energies about their mean, and their changes from draw to draw ``[chain, draw - 1]``, in nats."""
    return energy - energy.mean(), np.diff(energy, axis=1)
