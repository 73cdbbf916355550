"""Slow and obvious versions of the full Bayes of the chain: urns filled token by token, and posteriors on a grid."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy import integrate, stats

Token = tuple[int, ...]


def urn_log_probability(
    seen: Iterable[Token], new: Iterable[Token], alpha: Callable[[Token], Sequence[float]]
) -> float:
    """Log probability of the new tokens (row…, target), one after the other, once `seen` lie in the urns."""
    cells: Counter[Token] = Counter()
    rows: Counter[Token] = Counter()
    for token in seen:
        cells[token] += 1
        rows[token[:-1]] += 1
    total = 0.0
    for token in new:
        row = token[:-1]
        prior = alpha(row)
        total += math.log((prior[token[-1]] + cells[token]) / (sum(prior) + rows[row]))
        cells[token] += 1
        rows[row] += 1
    return total


def log_strength_prior(u: np.ndarray, n_states: float, sd: float, shape: float, rate: float) -> np.ndarray:
    """Density of one log strength: Normal(mu, sigma) with mu ~ Normal(log K, sd) and sigma ~ Gamma integrated out."""

    sigma = np.linspace(1e-4, 12, 4001)
    given = stats.norm.pdf(np.asarray(u)[:, None], math.log(n_states), np.hypot(sd, sigma))
    return integrate.simpson(given * stats.gamma.pdf(sigma, shape, scale=1 / rate), sigma, axis=1)


def weights(log_density: np.ndarray) -> np.ndarray:
    """Probabilities of the points of an even grid."""
    raw = np.exp(log_density - log_density.max())
    return raw / raw.sum()
