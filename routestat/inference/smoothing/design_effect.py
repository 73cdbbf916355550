"""By how much dependent tokens widen what is known of transition probabilities."""

import numpy as np
from numpy.typing import ArrayLike

from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import group_correction
from routestat.inference.base.tables import Floats, whole_counts

#: Rules whose prior is learned from the step's own tokens.
LEARNED = ("empirical-bayes", "hierarchical")
#: Of limits that know nothing of documents.
TOO_NARROW = "Intervals take tokens as independent; tokens of one document are not, so they are too narrow."


def row_weight(alpha: str | float, prior: ArrayLike, learned_from: ArrayLike, own: ArrayLike) -> Floats:
    """What a row of transition probabilities is known with, in independent tokens: its own, and its prior.

    A prior that was learned is worth no more than the tokens it was learned from beside the row's own, one at least:
    where rows hardly differ its strength may be millions, which says that they are alike and not that their common
    law is known so well. A prior that was given as a number is worth what it says.

    Parameters
    ----------
    alpha : str or float
        The rule of the prior.
    prior, learned_from, own : arrays that broadcast
        Prior weight; tokens of the whole step, and of the row, each the design effect fewer.
    """
    mine, weight = np.asarray(own, np.float64), np.asarray(prior, np.float64)
    if alpha in LEARNED:
        weight = np.minimum(weight, np.maximum(1.0 + np.asarray(learned_from) - mine, 1.0))
    return np.asarray(weight + mine)


def transition_design_effect(tables: ArrayLike) -> float:
    """Mean variance of the transition probabilities over groups of documents, over that of independent tokens.

    The mean over cells, weighed as in Pearson's X2, of the sandwich variance of p(j | i): psi_g = T_g(ij) -
    p(j | i) T_g(i.). At least 1: fewer than independent tokens' errors are not believed. 1 where it cannot be had
    (one group, or rows with one target).

    Parameters
    ----------
    tables : counts ``[group, source, target]``
        Groups are independent, tokens within one need not be.

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
