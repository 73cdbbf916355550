"""Scores of groups of whole documents: the tests that need no model of what goes on inside a document.

Each group gives one score, and only the groups are taken as independent.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.inference import correlation
from routestat.inference.tables import Floats, read_only

CELLS_AT_ONCE = 4_000_000
FEW_GROUPS = 30


@dataclass(frozen=True, slots=True)
class SecondOrder:
    """The clustered test of second order on scores of independent groups; see `second_order`.

    Attributes
    ----------
    p, log10_p, nu
        The p-value, its log10 (finite) and the degrees of freedom of the matching chi-square.
    trace, cross
        tr, the sum of the scores' squares, and U_c, the centred sum of products of different groups' scores.
    reason
        Why there is no p-value, or None.
    """

    p: float
    log10_p: float
    nu: float
    trace: float
    cross: float
    reason: str | None = None


def second_order(gram: Floats, bias: float = 0.0) -> SecondOrder:
    """Test that scores of independent groups have mean zero: p = P(chi2_nu > nu (1 + U_c / tr)).

    With M the Gram matrix of the scores, tr = sum of M_gg, U = sum of M_gh over g != h, U_c = U - bias, and
    nu = tr**2 / sum of M_gh**2 over g != h. The products of different groups have mean zero under the null
    whatever goes on inside a group, so U needs no model of that.

    Parameters
    ----------
    gram
        M `[group, group]`, products of the groups' scores *under the null*, not centred on their own mean
        (centred scores sum to zero, and U would be -tr whatever the data).
    bias
        What estimated margins add to U under the null.

    Notes
    -----
    U cannot exceed (G - 1) tr. The p-value is therefore never much below exp(-G/2): G groups that agree
    perfectly are no more evidence than that.
    """
    nan, size = math.nan, gram.shape[0]
    if size < 2:
        why = f"a clustered test needs at least 2 groups of documents with tokens, got {size}"
        return SecondOrder(nan, nan, nan, nan, nan, why)
    trace = float(np.trace(gram))
    cross = float(gram.sum()) - trace - bias
    off = float((gram**2).sum() - (np.diag(gram) ** 2).sum())
    # Scores of exact independence are rounding left over from counts; their Gram matrix is that squared.
    if not trace > 1e-18:
        return SecondOrder(1.0, 0.0, nan, trace, cross, "every group's table equals its expectation exactly")
    if not off > 1e-24 * trace * trace:
        why = "no two groups have scores in common, so the spread of their products is unknown"
        return SecondOrder(nan, nan, nan, trace, cross, why)
    nu = trace * trace / off
    statistic = nu * (1.0 + cross / trace)
    p, log10_p = correlation.chi2_tail(statistic, nu), correlation.log10_chi2_tail(statistic, nu)
    return SecondOrder(p, log10_p, nu, trace, cross)


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredScores:
    """What the groups' scores under independence come to; see `clustered_scores`.

    Attributes
    ----------
    gram
        M_gh = W_g . W_h `[group, group]`; all its entries sum to Pearson's X2.
    bias
        kappa * tr_b, what the estimated margins add to the sum of M_gh over g != h under the null.
    spread
        tr of the scores centred on their mean, times G/(G-1): the linearised variance of the table in units of
        its expectation, from which the design effect. NaN with one group.
    """

    gram: Floats
    bias: float
    spread: float


def clustered_scores(
    tables: NDArray[np.integer], source: ArrayLike, target: ArrayLike, tokens: ArrayLike
) -> ClusteredScores:
    """Scores of the groups under independence of source and target, as their Gram matrix.

    Z_g = T_g - r C_g' - R_g c' + n_g r c', W_g = Z_g / sqrt(n r c'): the group's sum over its tokens of
    (1[source i] - r_i)(1[target j] - c_j). That is the same whether a token has one state or includes k
    experts, so both views of a layer come here. The scores under the null sum to T - n r c'; those centred on
    their mean, Z_g - n_g/n (T - n r c') = T_g - r C_g' - R_g c' + n_g (2 r c' - T/n), give the spread.

    Parameters
    ----------
    tables
        Counts `[group, source, target]`, without empty groups, rows or columns.
    source, target
        How many of the group's tokens had (or included) each, R `[group, source]` and C `[group, target]`.
    tokens
        n_g `[group]`, above zero.
    """
    rows, columns = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    size = np.asarray(tokens, dtype=np.float64)
    n = size.sum()
    r, c = rows.sum(axis=0) / n, columns.sum(axis=0) / n
    own_r, own_c = rows - size[:, None] * r, columns - size[:, None] * c
    gram = np.zeros((size.size, size.size))
    at_once = max(1, CELLS_AT_ONCE // max(1, size.size * c.size))
    for first in range(0, r.size, at_once):
        part = slice(first, first + at_once)
        # T - r C' - R c' + n r c' with one product fewer: R c' - n r c' = (R - n r) c'.
        z = tables[:, part, :] - r[part, None] * columns[:, None, :] - own_r[:, part, None] * c
        w = (z / np.sqrt(n * np.outer(r[part], c))).reshape(size.size, -1)
        gram += w @ w.T
    share = size / n
    balance = (share**2).sum()
    # Margins estimated with the group's own tokens in them tie every two groups' scores together a little.
    # Were all of the scores due to documents, U would be kappa * tr on average; tr_b is that part of tr.
    if size.size < 2:
        return ClusteredScores(read_only(gram), 0.0, math.nan)
    pairs = np.outer(size, size) * (balance - share[:, None] - share) ** 2
    kappa = (pairs.sum() - np.trace(pairs)) / ((size * (1.0 - 2.0 * share + balance)) ** 2).sum()
    between = ((own_r**2 / r).sum(axis=1) * (own_c**2 / c).sum(axis=1) / size**2).sum() / n
    spread = float(np.trace(gram) - 2.0 * share @ gram.sum(axis=1) + balance * gram.sum())
    # Groups in equal proportions have no spread; what the subtraction leaves then is rounding.
    spread = spread * size.size / (size.size - 1) if spread > 1e-12 * np.trace(gram) else 0.0
    return ClusteredScores(read_only(gram), float(kappa * between), spread)


def few_groups(groups: int) -> str | None:
    return (
        f"only {groups} groups of documents: the clustered figures are rough"
        if 2 <= groups < FEW_GROUPS
        else None
    )
