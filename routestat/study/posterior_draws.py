"""Summaries of posterior draws."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
