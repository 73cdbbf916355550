"""How many of several independent draws succeed: the law of that number, with each draw and without it.

A draw is taken out of the law by dividing out its factor, upwards where p <= 1/2 and downwards where p > 1/2,
which multiplies no rounding error. Only places near the mode are asked for, so their digits are good.
"""

import numpy as np
from scipy import special

from routestat.inference.base.tables import Floats


def successes_distribution(odds: Floats, top_k: int) -> tuple[Floats, Floats]:
    """p `[..., draw]` of log odds, and P(N = m) `[..., m]`, as far up as taking draws out of it at k needs."""
    p = special.expit(odds)
    q, n = special.expit(-odds), odds.shape[-1]
    # Downwards the law must begin where nothing is left: by Bernstein's bound beyond this 1e-18 is not.
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
    """The law `[..., m]` with one draw of probability p `[...]` taken out."""
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
    """P(N without one draw = place) `[...]`: `without` where only one place is asked for."""
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
