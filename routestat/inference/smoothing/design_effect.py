"""The design effect of transition probabilities, and the weight of rows in independent tokens."""

import numpy as np
from numpy.typing import ArrayLike

from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import group_correction
from routestat.inference.base.tables import Floats, whole_counts

#: Rules whose prior is learned from the step's own tokens.
LEARNED = ("empirical-bayes", "hierarchical")
#: The note of limits without a design effect.
TOO_NARROW = "Intervals take tokens as independent; tokens of one document are not, so they are too narrow."


def row_weight(alpha: str | float, prior: ArrayLike, learned_from: ArrayLike, own: ArrayLike) -> Floats:
    """Compute the weight of a row of transition probabilities in independent tokens: its own, and its prior.

    A learned prior has at most the weight of the tokens of the other rows that it was learned from, and at least one:
    where rows hardly differ its strength may be millions, which means that they are alike and not that their common
    distribution is known that well. A prior given as a number has its own weight.

    Parameters
    ----------
    alpha : str or float
        The rule of the prior.
    prior, learned_from, own : arrays that broadcast
        Prior weight; tokens of the whole step, and of the row, each divided by the design effect.
    """
    mine, weight = np.asarray(own, np.float64), np.asarray(prior, np.float64)
    if alpha in LEARNED:
        weight = np.minimum(weight, np.maximum(1.0 + np.asarray(learned_from) - mine, 1.0))
    return np.asarray(weight + mine)


def transition_design_effect(tables: ArrayLike) -> float:
    """Estimate the mean variance of the transition probabilities relative to that of independent tokens.

    The mean over cells, weighted as in Pearson's X2, of the sandwich variance of p(j | i) over groups of documents:
    psi_g = T_g(ij) - p(j | i) T_g(i.). Values below 1 are set to 1. 1 where it is not defined (one group, or rows
    with one target).

    Parameters
    ----------
    tables : counts ``[group, source, target]``
        Groups are taken as independent; tokens within a group need not be.

    References
    ----------
    Rao & Scott (1984), On chi-squared tests for multiway contingency tables. Ann. Stat. 12.
    """
    counts = whole_counts(tables, "tables")
    used = counts.any(axis=(1, 2))
    groups, total = int(used.sum()), counts.sum(axis=0, dtype=np.float64)
    rows = total.sum(axis=1, keepdims=True)
    freedom = int(((total > 0).sum(axis=1) - 1)[rows[:, 0] > 0].sum())
    if groups < 2 or freedom < 1:
        return 1.0
    distribution = total / np.maximum(rows, 1.0)
    squares = np.zeros(total.shape)
    for at in chunks(len(counts), total.size):
        part = counts[at].astype(np.float64)
        squares += ((part - distribution * part.sum(axis=2, keepdims=True)) ** 2).sum(axis=0)
    spread = float((squares[total > 0] / total[total > 0]).sum())
    return max(1.0, group_correction(groups) * spread / freedom)
