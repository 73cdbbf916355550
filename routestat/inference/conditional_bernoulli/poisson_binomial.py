"""The Poisson-binomial distribution: the number of successes of independent trials, with and without one of them.

A trial is removed by dividing out its factor, upwards where p <= 1/2 and downwards where p > 1/2, which does not
amplify rounding errors. Only values near the mode are used, so they are accurate.
"""

import numpy as np
from scipy import special

from routestat.inference.base.tables import Floats


def successes_distribution(odds: Floats, top_k: int) -> tuple[Floats, Floats]:
    """Compute p `[..., trial]` of log odds, and P(N = m) `[..., m]` up to what removing trials at k needs."""
    p = special.expit(odds)
    q, n = special.expit(-odds), odds.shape[-1]
    # The downward recursion must start in the tail: by Bernstein's bound less than 1e-18 lies beyond this.
    reach = n if (p > 0.5).any() else top_k
    top = min(n, reach, top_k + 15 + int(np.sqrt(200 + 84 * top_k)))
    distribution = np.zeros((*p.shape[:-1], top + 1))
    distribution[..., 0] = 1.0
    for e in range(n):
        more = distribution[..., :-1] * p[..., e, None]
        distribution *= q[..., e, None]
        distribution[..., 1:] += more
    return p, distribution


def without(distribution: Floats, p: Floats) -> Floats:
    """Return the distribution `[..., m]` without one trial of probability p `[...]`."""
    distribution, p = np.broadcast_to(distribution, (*p.shape, distribution.shape[-1])), np.asarray(p)
    out = np.zeros(distribution.shape)
    light = np.minimum(p, 0.5)
    before: Floats | float = 0.0
    for m in range(distribution.shape[-1]):
        before = (distribution[..., m] - light * before) / (1.0 - light)
        out[..., m] = before
    heavy = p > 0.5
    if heavy.any():
        whole, share = distribution[heavy], p[heavy]
        down, after = np.zeros(whole.shape), np.zeros(share.shape)
        for m in range(distribution.shape[-1] - 2, -1, -1):
            down[:, m] = after = (whole[:, m + 1] - (1.0 - share) * after) / share
        out[heavy] = down
    return out


def without_at(distribution: Floats, p: Floats, place: int) -> Floats:
    """P(N without one trial = place) `[...]`: `without` at one place only."""
    light = np.minimum(p, 0.5)
    odds, scale = light / (1.0 - light), 1.0 / (1.0 - light)
    out = np.zeros(p.shape)
    for m in range(place + 1):
        out = distribution[..., m] * scale - odds * out
    heavy = p > 0.5
    if heavy.any():
        share = p[heavy]
        whole, after = (
            np.broadcast_to(distribution, (*p.shape, distribution.shape[-1]))[heavy],
            np.zeros(share.shape),
        )
        for m in range(distribution.shape[-1] - 2, place - 1, -1):
            after = (whole[:, m + 1] - (1.0 - share) * after) / share
        out[heavy] = after
    return out
