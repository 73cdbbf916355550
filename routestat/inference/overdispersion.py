"""By how much dependent tokens widen what is known of transition probabilities."""

import numpy as np
from numpy.typing import ArrayLike

from routestat.inference.tables import whole_counts

CELLS_AT_ONCE = 1 << 22


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
    law = total / np.maximum(rows, 1.0)
    squares = np.zeros(total.shape)
    step = max(1, CELLS_AT_ONCE // total.size)
    for first in range(0, len(counts), step):
        part = counts[first : first + step].astype(np.float64)
        squares += ((part - law * part.sum(axis=2, keepdims=True)) ** 2).sum(axis=0)
    spread = float((squares[total > 0] / total[total > 0]).sum())
    return max(1.0, groups / (groups - 1) * spread / freedom)
