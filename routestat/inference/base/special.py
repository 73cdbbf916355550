"""Rising factorials in logs, of which the evidence of Dirichlet rows is made, and rows of counts, checked."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, whole_counts

# Beyond these a double cannot hold alpha + count, and posteriors are 0, 1 or NaN.
SMALLEST_ALPHA, LARGEST_ALPHA = 1e-15, 1e15
# The sum of a fitted alpha stays above this, where a row of any length already follows its first token.
SMALLEST_SUM = 1e-4
# It stays below this many times the longest row. Beyond it the prior outweighs the
# data ten thousand to one and the evidence no longer tells one value from another.
LARGEST_SUM_PER_TOKEN = 1e4


def log_rising(x: ArrayLike, n: ArrayLike) -> Floats:
    """lnGamma(x + n) - lnGamma(x) for x > 0 and n >= 0, element by element, without cancellation at large x."""
    x, n = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64))
    far = x > 1e3
    result = np.asarray(special.gammaln(x + n) - special.gammaln(x))
    if far.any():
        x, n = x[far], n[far]
        # Stirling's series, differenced term by term; the two large parts share their leading digits.
        tail = _stirling_tail(x + n) - _stirling_tail(x)
        result[far] = (x - 0.5) * np.log1p(n / x) - n + n * np.log(x + n) + tail
    return result


def _stirling_tail(x: Floats) -> Floats:
    return (1.0 - 1.0 / (30.0 * x * x)) / (12.0 * x)


def count_rows(rows: ArrayLike) -> NDArray[np.float64]:
    """Counts `[..., K]` as floats, or a RoutestatError."""
    counts = whole_counts(rows, "counts")
    if counts.ndim == 0 or counts.shape[-1] == 0:
        raise RoutestatError(
            "counts: wanted rows [..., K] with K of one or more, got none; pass a row of counts"
        )
    return counts.astype(np.float64)
