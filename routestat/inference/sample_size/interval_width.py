"""How the width of an interval falls with the number of groups, and how many groups a width needs."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from routestat.inference.base.estimate import student_quantile
from routestat.inference.base.tables import Floats, Integers, read_only

LEVEL = 0.95


@dataclass(frozen=True, eq=False, kw_only=True)
class Width:
    """Half-width of a 95 % interval against the number of groups.

    Attributes
    ----------
    measured : ndarray [size]
        Mean over random subsets of that many groups; the last is that of all.
    ahead : ndarray [size]
        Expected at twice and four times the groups: in proportion to 1/sqrt(groups), with Student's quantile.
    exponent : float
        Slope of log width (its quantile divided out) over log groups, from a quarter of the groups on: -0.5 if
        it does so.
    target : float
    groups_needed, documents_needed : float
        The least that bring it below `target`; documents at the present number per group.
    """

    measured: Floats
    ahead: Floats
    exponent: float
    target: float
    groups_needed: float
    documents_needed: float


def quantile(groups: float, worth: float = 1.0) -> float:
    """Student's two-sided 95 % quantile for that many groups, each worth so many of one size (see `effective_dof`)."""
    return student_quantile(max(1.0, worth * groups - 1.0), LEVEL)


def fit_width(
    measured: Floats, sizes: list[int], ahead: Integers, target: float, each: float, worth: float = 1.0
) -> Width:
    """Fit widths in proportion to Student's quantile over the root of the number of groups, through the last.

    Parameters
    ----------
    measured, sizes
        Half-widths of intervals of so many groups, `[size]`.
    ahead
        Numbers of groups to predict the width for, `[size]`.
    target
        Half-width that is narrow enough.
    each
        Documents per group.
    worth
        How many groups of one size a group is worth.
    """
    groups = sizes[-1]
    spread = measured[-1] * math.sqrt(groups) / quantile(groups, worth)
    fitted = np.array(
        [
            (m, w / quantile(m, worth))
            for m, w in zip(sizes, measured, strict=True)
            if 4 * m >= groups and w > 0
        ]
    )
    exponent = math.nan
    if len(fitted) > 1:
        exponent = float(np.polyfit(np.log(fitted[:, 0]), np.log(fitted[:, 1]), 1)[0])

    def short_of(log_groups: float) -> float:
        m = math.exp(log_groups)
        return spread * quantile(m, worth) / math.sqrt(m) - target

    needed = 2.0
    if short_of(math.log(2.0)) > 0:
        needed = math.ceil(math.exp(optimize.brentq(short_of, math.log(2.0), 80.0)) - 1e-9)
    expected = np.array([spread * quantile(m, worth) / math.sqrt(m) for m in ahead])
    return Width(
        measured=read_only(measured),
        ahead=read_only(expected),
        exponent=exponent,
        target=target,
        groups_needed=float(needed),
        documents_needed=float(math.ceil(needed * each)),
    )


def width_caution(width: Width, what: str) -> str | None:
    """Return a caution where widths do not fall with the root of the number of groups."""
    if math.isnan(width.exponent) or abs(width.exponent + 0.5) <= 0.15:
        return None
    return (
        f"the error of {what} scales with groups to the power {width.exponent:.2f}, not -0.5: "
        "the extrapolation is approximate"
    )
