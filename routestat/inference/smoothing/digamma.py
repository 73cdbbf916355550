"""Differences of the digamma function psi, which keep their digits at large arguments."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.inference.base.tables import Floats

# From here on Stirling's series of psi has 15 digits.
FAR = 16.0


def digamma_rise(x: ArrayLike, n: ArrayLike) -> Floats:
    """Compute psi(x + n) - psi(x) for x > 0 and n >= 0, element by element, without cancellation at large x."""
    x, n = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(n, np.float64))
    near = x < FAR
    # Both psi share their leading digits at large x; there the logarithms are subtracted, and the rest term by term.
    base = np.maximum(x, FAR)
    end = base + n
    rise = np.log1p(n / base) + n / (2.0 * base * end) + (_tail(base) - _tail(end))
    if near.any():
        rise = np.where(near, special.psi(x + n) - special.psi(x), rise)
    return np.asarray(rise)


def _tail(x: Floats) -> Floats:
    """Return ln x - 1 / (2 x) - psi(x)."""
    r = 1.0 / (x * x)
    return r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r / 132))))
