"""Special functions: rising factorials, and tails of chi-square and Student's t as logarithms that stay finite."""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only, whole_counts

# Beyond these a double cannot hold alpha + count, and posteriors are 0, 1 or NaN.
SMALLEST_ALPHA, LARGEST_ALPHA = 1e-15, 1e15

# The sum of a fitted alpha stays above this, where a row of any length already follows its first token.
SMALLEST_SUM = 1e-4

# It stays below this many times the longest row. Beyond it the prior outweighs the
# data ten thousand to one and the evidence no longer distinguishes one value from another.
LARGEST_SUM_PER_TOKEN = 1e4

#: Whole numbers of which terms such as x ln x are looked up: half a megabyte.
LISTED = 1 << 16


def x_log_x(values: NDArray[Any]) -> Floats:
    """Compute x ln x, element by element; 0 at 0."""
    return np.asarray(values * np.log(np.where(values > 0, values, 1.0)), np.float64)


@cache
def listed_x_log_x() -> Floats:
    """Tabulate x ln x of the whole numbers below `LISTED`, which most counts of cells are."""
    return read_only(x_log_x(np.arange(LISTED)))


@cache
def _integral_fits() -> tuple[Floats, Floats]:
    """Coefficients, of rising powers, of E1(x) + ln x for x from 0 to 4, and of x exp(x) E1(x) in 1/x for 4 to 40."""

    def near(t: Floats) -> Floats:
        x = 2.0 + 2.0 * t
        return np.asarray(special.exp1(x) + np.log(x))

    def far(t: Floats) -> Floats:
        x = 1.0 / (0.1375 + 0.1125 * t)
        return np.asarray(special.exp1(x) * np.exp(x) * x)

    return tuple(chebyshev.cheb2poly(chebyshev.chebinterpolate(fit, 18)) for fit in (near, far))  # type: ignore[return-value]


def exponential_integral(values: Floats) -> Floats:
    """Compute E1(x), the integral of exp(-t)/t from x > 0 on, element by element; good to 1e-14, and 0 from 40 on.

    Polynomials fitted at Chebyshev's nodes, evaluated for all elements at once: some ten times as fast as
    `scipy.special.exp1`.
    """
    x, (near, far) = np.asarray(values, np.float64), _integral_fits()
    out = np.zeros(x.shape)
    for part, of in ((x < 4.0, near), ((x >= 4.0) & (x < 40.0), far)):
        if not part.any():
            continue
        own = x[part]
        at = own / 2.0 - 1.0 if of is near else (1.0 / own - 0.1375) / 0.1125
        found = np.full(own.shape, of[-1])
        for coefficient in of[-2::-1]:
            found *= at
            found += coefficient
        out[part] = found - np.log(own) if of is near else found * np.exp(-own) / own
    return out


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
    """Check counts `[..., K]` and return them as floats."""
    counts = whole_counts(rows, "counts")
    if counts.ndim == 0 or counts.shape[-1] == 0:
        raise RoutestatError(
            "counts: expected rows [..., K] with K of one or more, got none; pass a row of counts"
        )
    return counts.astype(np.float64)


def log10_chi2_tail(statistic: float, dof: float) -> float:
    """log10 P(chi2_dof > statistic), finite for every finite statistic; dof need not be whole.

    Where the probability is near the smallest float, Lentz's continued fraction of the upper incomplete gamma
    function in logs. Zero degrees of freedom give 0 (a probability of one); NaN gives NaN.
    """
    if math.isnan(statistic) or math.isnan(dof):
        return math.nan
    if dof <= 0 or statistic <= 0:
        return 0.0
    a, x = dof / 2.0, statistic / 2.0
    tail = float(special.gammaincc(a, x))
    # Below this floats lose digits one by one, long before they reach zero.
    if tail > 1e-290:
        return math.log10(tail)
    b = x + 1.0 - a
    c, d = math.inf, 1.0 / b
    fraction = d
    for i in range(1, 1_000_000):
        b += 2.0
        numerator = i * (a - i)
        d = 1.0 / (numerator * d + b)
        c = b + numerator / c
        fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return (a * math.log(x) - x - math.lgamma(a) + math.log(fraction)) / math.log(10.0)


def chi2_tail(statistic: float, dof: float) -> float:
    """P(chi2_dof > statistic); 1 at zero degrees of freedom, NaN for NaN."""
    if math.isnan(statistic) or math.isnan(dof):
        return math.nan
    return 1.0 if dof <= 0 or statistic <= 0 else float(special.gammaincc(dof / 2.0, statistic / 2.0))


_LN10 = math.log(10.0)


def log10_t_tail(score: float, dof: float) -> float:
    """Compute log10 P(t_dof > score), one-sided and finite."""
    if score > 0:
        # Far out one tail is half of both; where it is not small its logarithm loses nothing.
        return float(log10_t_tails(score, dof)) - math.log10(2.0)
    return math.log10(stats.t.sf(score, dof))


def log10_t_tails(score: ArrayLike, dof: ArrayLike) -> Floats:
    """log10 P(|t_dof| > |score|), in the shape of both; finite for every finite score, NaN for NaN.

    Where the probability nears the smallest float: I_x(dof/2, 1/2) at x = dof / (dof + score**2), by its series
    of positive terms x**a (1-x)**b / (a B(a, b)) * sum of (a+b)_n / (a+1)_n x**n.
    """
    size, degrees = np.broadcast_arrays(np.abs(np.asarray(score, np.float64)), np.asarray(dof, np.float64))
    tail = 2.0 * stats.t.sf(size, degrees)
    known = np.isfinite(size)
    far = known & ~(tail > 1e-290)
    with np.errstate(divide="ignore"):
        out = np.where(known, np.log10(tail), np.where(np.isnan(size), np.nan, -np.inf))
    if far.any():
        square = size[far] ** 2
        a, b, whole = degrees[far] / 2.0, 0.5, degrees[far] + square
        x, rest = degrees[far] / whole, square / whole
        term, total, n = np.ones_like(x), np.ones_like(x), 0
        while (term > 1e-16 * total).any():
            term = term * x * (a + b + n) / (a + 1.0 + n)
            total, n = total + term, n + 1
        # A score just past the seam may have x near one, where its distance from one has the digits.
        log_x = np.where(x < 0.5, np.log(x), np.log1p(-np.minimum(rest, 0.5)))
        head = a * log_x + b * np.log(rest) - np.log(a) - special.betaln(a, b)
        out[far] = (head + np.log(total)) / _LN10
    return np.asarray(out)
