"""How strongly things go together: correlations of profiles, association of labels, and p-values adjusted."""

import math
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.information.mutual_information import plugin_information

_METHODS = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


def _numbers(values: ArrayLike, name: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RoutestatError(f"{name}: wanted an array of numbers, got something else; convert it") from error


def correlate(a: ArrayLike, b: ArrayLike, method: str = "pearson") -> float:
    """The correlation of two profiles: Pearson's r, Spearman's rho or Kendall's tau-b.

    For measurements such as loads, rows of probabilities or layers; ids of experts or states are labels and
    have no correlation.

    Parameters
    ----------
    a, b
        Numbers `[n]` of equal length, two or more.
    method
        "pearson", "spearman" or "kendall" (tau-b, corrected for ties).

    Returns
    -------
    The coefficient; NaN where one side is constant.

    Raises
    ------
    RoutestatError
        For NaN or infinity, unequal lengths, fewer than two values or an unknown method.
    """
    if method not in _METHODS:
        raise RoutestatError(f"method: wanted 'pearson', 'spearman' or 'kendall', got {method!r}; pick one")
    left, right = _numbers(a, "a"), _numbers(b, "b")
    if left.ndim != 1 or left.shape != right.shape or left.size < 2:
        raise RoutestatError(
            f"a and b: wanted two equally long lists of two or more, got shapes {left.shape} and {right.shape}; "
            "flatten or align them"
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise RoutestatError("a and b: wanted finite numbers, got NaN or infinity; drop those places in both")
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return math.nan
    with warnings.catch_warnings():
        # A nearly constant side has a coefficient all the same; scipy's warning is not for our caller to catch.
        warnings.simplefilter("ignore")
        return float(_METHODS[method](left, right).statistic)


def cramers_v(chi2: float, n: float, shape: tuple[int, int]) -> float:
    """Cramer's V = sqrt(chi2 / n / min(rows - 1, columns - 1)); NaN with one row or column in use or no token."""
    smaller = min(shape) - 1
    return math.sqrt(max(0.0, chi2) / n / smaller) if smaller > 0 and n > 0 else math.nan


def cramers_v_corrected(chi2: float, n: float, shape: tuple[int, int], design_effect: float = 1.0) -> float:
    """Bergsma's bias-corrected V, its bias that of n / design_effect independent tokens.

    phi2 = max(0, chi2/n - (r-1)(c-1)/(m-1)), r' = r - (r-1)**2/(m-1), c' likewise, m = n / design_effect, and
    V = sqrt(phi2 / min(r'-1, c'-1)). NaN where one row or column is in use, or the table is so large beside m
    that nothing is left to divide by.

    References
    ----------
    Bergsma (2013), A bias-correction for Cramer's V and Tschuprow's T. J. Korean Stat. Soc. 42.
    """
    rows, columns = shape
    if min(shape) < 2 or not design_effect > 0 or n / design_effect <= 1:
        return math.nan
    m = n / design_effect
    phi2 = max(0.0, chi2 / n - (rows - 1) * (columns - 1) / (m - 1))
    smaller = min(size - (size - 1) ** 2 / (m - 1) for size in shape) - 1
    return math.sqrt(phi2 / smaller) if smaller > 0 else math.nan


def theils_u(total: Floats) -> float:
    """The share of the target's entropy that the source tells: I / H(target), for a checked `[source, target]`.

    NaN where the target has one column in use, or there is no token.
    """
    if min(total.shape) < 1 or total.shape[1] < 2:
        return math.nan
    share = total.sum(axis=0) / total.sum()
    return min(1.0, plugin_information(total) / float(-(share * np.log(share)).sum()))


def gk_tau(total: Floats) -> float:
    """Goodman and Kruskal's tau, predicting the target (columns) from the source, for a checked `[source, target]`.

    The share of the target's Gini impurity that the source removes. NaN where one column is in use, or no token.
    """
    if min(total.shape) < 1 or total.shape[1] < 2:
        return math.nan
    n, rows, columns = total.sum(), total.sum(axis=1), total.sum(axis=0)
    # Sums of products instead of differences from one: exact zero where rows are proportional to the margin.
    gain = (((total / rows[:, None] - columns / n) ** 2).sum(axis=1) * rows).sum() / n
    impurity = (columns / n * ((n - columns) / n)).sum()
    return float(gain / impurity)


def gk_lambda(total: Floats) -> float:
    """Goodman and Kruskal's lambda, predicting the target (columns) from the source, for a checked `[source, target]`.

    The share of errors that knowing the source saves when always guessing the likeliest column. NaN where one
    column is in use, or no token.
    """
    if min(total.shape) < 1 or total.shape[1] < 2:
        return math.nan
    n, likeliest = total.sum(), total.sum(axis=0).max()
    return float((total.max(axis=1).sum() - likeliest) / (n - likeliest))


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


def adjust(p_values: ArrayLike, method: str = "bh") -> Floats:
    """P-values adjusted for the false discovery rate, in the shape they came.

    Parameters
    ----------
    p_values
        Between 0 and 1, any shape, one family. NaN stays NaN and does not count as a test.
    method
        "bh" (Benjamini-Hochberg: independent or positively dependent tests) or "by" (Benjamini-Yekutieli: any
        dependence).

    Raises
    ------
    RoutestatError
        For a value outside [0, 1] or an unknown method.

    References
    ----------
    Benjamini & Hochberg (1995), JRSS B 57; Benjamini & Yekutieli (2001), Ann. Stat. 29.
    """
    _check_method(method)
    p = _numbers(p_values, "p_values")
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise RoutestatError("p_values: wanted values from 0 to 1, got one outside; pass p, not its log")
    q = np.full(p.shape, np.nan)
    if known.any():
        q[known] = stats.false_discovery_control(p[known], method=method)
    return read_only(q)


def adjust_log10(log10_p: ArrayLike, method: str = "bh") -> Floats:
    """The same as `adjust` for log10 p-values, whose q-values stay finite and in order where p itself is 0.

    Parameters
    ----------
    log10_p
        Zero or less, any shape, one family. NaN stays NaN and does not count as a test.
    method
        "bh" or "by".

    Returns
    -------
    log10 of the adjusted p-values, in the shape they came.

    Raises
    ------
    RoutestatError
        For a value above 0 or an unknown method.
    """
    _check_method(method)
    logs = _numbers(log10_p, "log10_p")
    known: NDArray[np.bool_] = ~np.isnan(logs)
    if (logs[known] > 0).any():
        raise RoutestatError("log10_p: wanted values of 0 or less, got one above; pass log10 of p, not p")
    q = np.full(logs.shape, np.nan)
    p, m = logs[known], int(known.sum())
    if m:
        order = np.argsort(p, kind="stable")[::-1]
        ranks = np.arange(m, 0, -1)
        factor = m * (1.0 / np.arange(1, m + 1)).sum() if method == "by" else float(m)
        stepped = np.minimum.accumulate(p[order] + math.log10(factor) - np.log10(ranks))
        back = np.empty(m)
        back[order] = np.minimum(stepped, 0.0)
        q[known] = back
    return read_only(q)


def adjust_families(log10_p: Mapping[str, ArrayLike], method: str = "by") -> dict[str, Floats]:
    """`adjust_log10` over all families of tests together, given back family by family.

    Families share their data, in ways that nobody knows: hence Benjamini and Yekutieli unless told otherwise.
    """
    parts = {name: np.asarray(values, np.float64).ravel() for name, values in log10_p.items()}
    adjusted = adjust_log10(np.concatenate([*parts.values(), np.empty(0)]), method)
    ends = np.cumsum([part.size for part in parts.values()])[:-1]
    return dict(zip(parts, np.split(adjusted, ends), strict=True)) if parts else {}


def _check_method(method: str) -> None:
    if method not in ("bh", "by"):
        raise RoutestatError(f"method: wanted 'bh' or 'by', got {method!r}; pick one")
