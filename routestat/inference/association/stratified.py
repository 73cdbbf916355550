"""Dependence of target on source inside strata: given the token id, the previous choice, or a layer between.

Strata are many and their tables sparse, so everything here works on the cells that were seen.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from routestat.counting.strata import Strata
from routestat.inference.base.chunks import chunks
from routestat.inference.base.clustered_score_test import caution, score_test
from routestat.inference.base.tables import Floats


@dataclass(frozen=True, slots=True)
class StratifiedIndependence:
    """The clustered test of independence inside strata; see `stratified_independence`.

    Attributes
    ----------
    p_clustered, log10_p_clustered, nu
        The second-order test with groups as the independent units, and its degrees of freedom.
    n_tokens, n_groups, n_strata
        Tokens, groups that held any, and strata with more than one token.
    reason, note
        Why there is no p-value, and a caution about it; or None.
    """

    p_clustered: float
    log10_p_clustered: float
    nu: float
    n_tokens: int
    n_groups: int
    n_strata: int
    reason: str | None = None
    note: str | None = None


def stratified_independence(strata: Strata) -> StratifiedIndependence:
    """Test that source and target are independent inside every stratum; tokens of a group may depend on each other.

    A token adds (1[source i] - p(i|z)) (1[target j] - p(j|z)) to the score of its group, added up over the
    strata z: the general association of Cochran, Mantel and Haenszel, whose variance comes from the groups. A
    dependence that points in opposite directions in different strata can cancel; one that the strata share
    cannot. The scores go through `score_test`, with the bias that estimated margins leave in each stratum
    taken out.

    Parameters
    ----------
    strata
        Groups are independent, tokens within one need not be.

    References
    ----------
    Landis, Heyman & Koch (1978), Average partial association in three-way contingency tables. Int. Stat. Rev. 46.
    """
    nan, (k_source, k_target) = math.nan, strata.slots
    if not strata.n_tokens:
        return StratifiedIndependence(nan, nan, nan, 0, 0, 0, f"no tokens with a known {strata.by}")
    n = float(strata.n_tokens)
    rows = _Margin(strata, strata.source, strata.n_source, k_target)
    columns = _Margin(strata, strata.target, strata.n_target, k_source)
    size = rows.size
    by_group, tokens = (np.asarray(size.sum(axis=axis)).ravel() for axis in (1, 0))
    groups = np.flatnonzero(by_group)
    # Cells are weighed by what overall independence expects: any weights are valid, these fall into factors.
    weight = 1.0 / np.sqrt(n * np.outer(rows.overall, columns.overall))
    cells = strata.pooled()
    scores = cells - rows.times(columns.distribution) - columns.centred_times(rows).transpose(0, 2, 1)
    flat = (scores * weight)[groups].reshape(len(groups), -1)
    test = score_test(flat @ flat.T, _bias(rows, columns, n), size=by_group[groups])
    return StratifiedIndependence(
        test.p,
        test.log10_p,
        test.nu,
        strata.n_tokens,
        len(groups),
        int(np.count_nonzero(tokens > 1)),
        test.reason,
        caution(len(groups), test),
    )


class _Margin:
    """One side: counts `[group * state, stratum]` (sparse), distribution inside each stratum, overall shares."""

    def __init__(self, strata: Strata, state: NDArray[np.int64], n_states: int, slots: int) -> None:
        self.groups, self.states, self.strata = strata.n_groups, n_states, strata.n_strata
        count = strata.count / slots
        tall = (strata.group * n_states + state, strata.stratum)
        self.counts = sparse.csr_array((count, tall), shape=(self.groups * n_states, self.strata))
        both = strata.slots[0] * strata.slots[1]
        wide = (strata.group, strata.stratum)
        self.size = sparse.csr_array((strata.count / both, wide), shape=(self.groups, self.strata))
        self.tokens = np.bincount(strata.stratum, strata.count / both, self.strata)
        total = np.bincount(strata.stratum * n_states + state, count, self.strata * n_states)
        self.total = total.reshape(self.strata, n_states)
        self.distribution = self.total / self.tokens[:, None]
        shares = self.total.sum(axis=0) / self.tokens.sum()
        # A state that never occurs has no cells; any weight but zero will do.
        self.overall = np.where(shares > 0, shares, 1.0)

    def times(self, other: Floats) -> Floats:
        """Sum over strata of this side's counts times `other` `[stratum, state]`: `[group, state, state]`."""
        return np.asarray(self.counts @ other).reshape(self.groups, self.states, -1)

    def centred_times(self, other: "_Margin") -> Floats:
        """Multiply this side's counts, less what its distribution expects of the group, by the other's distribution."""
        expected = np.zeros((self.groups, self.states * other.states))
        columns = self.size.tocsc()
        for part in chunks(self.strata, self.states * other.states):
            products = self.distribution[part, :, None] * other.distribution[part, None, :]
            expected += columns[:, part] @ products.reshape(products.shape[0], -1)
        return self.times(other.distribution) - expected.reshape(self.groups, self.states, other.states)

    def distance(self) -> sparse.coo_array:
        """Compute |counts - size * distribution|^2 / overall share for every group and stratum that meet."""
        counts = self.counts.tocoo()
        group, state = np.divmod(counts.coords[0], self.states)
        stratum, value = counts.coords[1], counts.data
        own = sparse.csr_array((value**2 / self.overall[state], (group, stratum)), shape=self.size.shape)
        mixed = value * self.distribution[stratum, state] / self.overall[state]
        cross = sparse.csr_array((mixed, (group, stratum)), shape=self.size.shape)
        spread = (self.distribution**2 / self.overall).sum(axis=1)
        return (own - 2.0 * cross * self.size + self.size * self.size * spread[None, :]).tocoo()


def _bias(rows: _Margin, columns: _Margin, n: float) -> float:
    """Sum over strata what estimated margins add to U: kappa times tr_b (see `clustered_scores`)."""
    size = rows.size.tocoo()
    stratum, tokens = size.coords[1], size.data
    share = tokens / rows.tokens[stratum]
    squares, cubes = (np.bincount(stratum, share**power, rows.strata) for power in (2, 3))
    own = squares[stratum]
    # The sum over all g, h of w_g w_h (s - w_g - w_h)^2 is 2 s_3 - s_2^2; kappa wants g other than h.
    above = 2.0 * cubes - squares**2 - np.bincount(stratum, (share * (own - 2.0 * share)) ** 2, rows.strata)
    below = np.bincount(stratum, (share * (1.0 - 2.0 * share + own)) ** 2, rows.strata)
    # A stratum met by one group alone ties no two groups together.
    kappa = np.divide(above, below, out=np.zeros_like(above), where=(below > 0) & (squares < 1.0))
    between = rows.distance().tocsr() * columns.distance().tocsr() * _inverse_square(rows.size)
    found = between.tocoo()
    return float((kappa[found.coords[1]] * found.data).sum() / n)


def _inverse_square(size: sparse.csr_array) -> sparse.csr_array:
    inverse = size.copy()
    inverse.data = 1.0 / inverse.data**2
    return inverse
