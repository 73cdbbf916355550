"""The prior of strengths over the depth: their logs are Normal(mu, sigma), with both of them unknown."""

from collections.abc import Callable
from typing import Any

import numpy as np

from routestat.inference.base.tables import Floats

#: mu ~ Normal(log of the number of states, MU_SD), sigma ~ Gamma(SIGMA_SHAPE, SIGMA_RATE). This Gamma (95 % from 0.2
#: to 1.8) keeps sigma away from zero, where a few equal gaps would trap the sampler.
MU_SD, SIGMA_SHAPE, SIGMA_RATE = 2.0, 4.0, 5.0


def log_density(
    log_strength: Any, sigma: Any, n: int, centre: float, log: Callable[[Any], Any] = np.log
) -> Any:
    """Compute the log density in nats, up to a constant, of `n` log strengths given sigma, with mu integrated out.

    With few units the joint posterior of mu and sigma has no common step size; that of sigma alone has.

    Parameters
    ----------
    log_strength, sigma
        Arrays `[unit]` and one number, or a sampler's symbols for them.
    centre
        Mean of mu.
    log
        The symbols' own logarithm.
    """
    mean = log_strength.mean()
    whole = sigma**2 + n * MU_SD**2
    spread = ((log_strength - mean) ** 2).sum() / sigma**2 + n * (mean - centre) ** 2 / whole
    return -0.5 * (spread + 2 * (n - 1) * log(sigma) + log(whole))


def draw_mu(log_strength: Floats, sigma: Floats, centre: float, rng: np.random.Generator) -> Floats:
    """Draw mu given the rest `[chain, draw]`; its conditional distribution is normal, so the draws are exact.

    Parameters
    ----------
    log_strength, sigma
        Draws `[chain, draw, unit]` and `[chain, draw]`.
    """
    precision = MU_SD**-2 + log_strength.shape[-1] / sigma**2
    mean = (centre * MU_SD**-2 + log_strength.sum(axis=-1) / sigma**2) / precision
    return rng.normal(mean, precision**-0.5)
