"""What has not been seen yet: experts or states that more documents would show."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.inference.base.tables import whole_counts


@dataclass(frozen=True, slots=True)
class Unseen:
    """How complete what was seen is; see `unseen`.

    Attributes
    ----------
    n_groups : int
        Groups that held tokens.
    n_kinds, seen : int
        Experts (or states) there are, and those that occurred.
    once, twice : int
        Those that occurred in one group only, and in two.
    at_least : float
        Chao's lower bound on how many would occur in endless documents, at most `n_kinds`.
    coverage : float
        Share of all occurrences (an expert in a group) that are of those seen, after Good and Turing.
    reason : str or None
        Why figures are NaN.
    """

    n_groups: int
    n_kinds: int
    seen: int
    once: int
    twice: int
    at_least: float
    coverage: float
    reason: str | None = None


def unseen(counts: ArrayLike) -> Unseen:
    """Estimate how many experts or states were missed for want of documents.

    A group is a sampling unit and an expert occurs in it or not: tokens of one document repeat each other, so
    that counts of tokens would make everything seen look common. With Q1 in one of m groups and Q2 in two,
    at least (m-1)/m * Q1 (Q1 - 1) / (2 (Q2 + 1)) were missed (Chao2, bias-corrected), and the share of
    occurrences that is covered is 1 - Q1/U * (m-1) Q1 / ((m-1) Q1 + 2 Q2), U all occurrences.

    Parameters
    ----------
    counts : array_like ``[group, kind]``
        Of tokens, by expert or state. Groups are taken as alike and independent; groups without tokens are
        dropped. Where a group bundles several documents, less occurs just once and the bound is lower.

    Raises
    ------
    RoutestatError
        For anything but such counts.

    References
    ----------
    Chao (1987), Biometrics 43; Chao & Jost (2012), Ecology 93; Good (1953), Biometrika 40.
    """
    table = whole_counts(counts, "counts")
    if table.ndim != 2:
        raise RoutestatError(
            f"counts: expected [group, kind], got {table.ndim} axes; count per group of documents"
        )
    occurs = table > 0
    m = int(occurs.any(axis=1).sum())
    times = occurs.sum(axis=0)
    seen, once, twice = (int(np.count_nonzero(of)) for of in (times > 0, times == 1, times == 2))
    if m < 2:
        why = f"unseen experts are estimated from the differences of at least 2 groups of documents, got {m}"
        return Unseen(m, table.shape[1], seen, once, twice, math.nan, math.nan, why)
    missed = (m - 1) / m * once * (once - 1) / (2.0 * (twice + 1))
    # Without any seen twice the same with one fewer seen once, so that it does not jump.
    top, bottom = (once, 2 * twice) if twice else (max(once - 1, 0), 2)
    missing_share = once / times.sum() * (m - 1) * top / ((m - 1) * top + bottom)
    return Unseen(
        m,
        table.shape[1],
        seen,
        once,
        twice,
        min(float(table.shape[1]), seen + missed),
        1.0 - float(missing_share),
    )
