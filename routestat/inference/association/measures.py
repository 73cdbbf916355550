"""Measures of association of two nominal variables: Cramer's V, Theil's U, Goodman and Kruskal's tau and lambda."""

import math

from routestat.inference.base.special import x_log_x
from routestat.inference.base.tables import Floats
from routestat.inference.information.mutual_information import plugin_information


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


def theils_u(total: Floats, information: float | None = None) -> float:
    """Compute the share of the target's entropy that the source removes: I / H(target), of a checked table.

    NaN where the target has one column in use, or there is no token. `information` is I in nats where it is known.
    """
    if min(total.shape) < 1 or total.shape[1] < 2:
        return math.nan
    share = total.sum(axis=0) / total.sum()
    nats = plugin_information(total) if information is None else information
    return min(1.0, nats / float(-x_log_x(share).sum()))


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
