"""Dependence of target on source inside strata: given the token id, the previous choice, or a layer between.

Strata are many and their tables sparse, so everything here works on the cells that were seen.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import sparse

from routestat.counting.strata import Margin, Strata, places_of
from routestat.inference.base.clustered_score_test import caution, score_test
from routestat.inference.base.tables import Floats, Integers


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
    meetings = _Meetings.of(strata)
    rows = _Side(meetings, strata.sources, strata.n_source, k_target)
    columns = _Side(meetings, strata.targets, strata.n_target, k_source)
    by_group = np.bincount(meetings.group, meetings.tokens, strata.n_groups)
    groups = np.flatnonzero(by_group)
    # Cells are weighed by what overall independence expects: any weights are valid, these fall into factors.
    weight = 1.0 / np.sqrt(n * np.outer(rows.overall, columns.overall))
    scores = strata.pooled() - rows.times(columns.distribution) - columns.times(rows.distribution).mT
    scores += _expected(meetings, rows.distribution, columns.distribution)
    flat = (scores * weight)[groups].reshape(len(groups), -1)
    test = score_test(flat @ flat.T, _bias(meetings, rows, columns, n), size=by_group[groups])
    return StratifiedIndependence(
        test.p,
        test.log10_p,
        test.nu,
        strata.n_tokens,
        len(groups),
        int(np.count_nonzero(meetings.in_stratum > 1)),
        test.reason,
        caution(len(groups), test),
    )


@dataclass(frozen=True, slots=True)
class _Meetings:
    """Groups and strata that meet, `[meeting]` by stratum: their tokens, and those of the stratum `[stratum]`."""

    stratum: Integers
    group: Integers
    tokens: Floats
    in_stratum: Floats
    n_groups: int

    @classmethod
    def of(cls, strata: Strata) -> "_Meetings":
        counted, slots = strata.tokens, strata.slots[0] * strata.slots[1]
        tokens = counted.count / slots
        in_stratum = np.bincount(counted.stratum, tokens, strata.n_strata)
        return cls(counted.stratum, counted.group, tokens, in_stratum, strata.n_groups)

    def places(self, stratum: Integers, group: Integers) -> Integers:
        """Which meeting each of some pairs of stratum and group is."""
        known, wanted = (
            at[0] * self.n_groups + at[1] for at in ((self.stratum, self.group), (stratum, group))
        )
        return places_of(known, wanted, len(self.in_stratum) * self.n_groups)


class _Side:
    """One side: its counts, their distribution inside each stratum `[stratum, state]`, overall shares `[state]`."""

    def __init__(self, meetings: _Meetings, margin: Margin, n_states: int, slots: int) -> None:
        self.meetings, self.margin, self.n_states = meetings, margin, n_states
        self.count = margin.count / slots
        self.cell = margin.stratum * n_states + margin.state
        tokens = meetings.in_stratum
        total = np.bincount(self.cell, self.count, tokens.size * n_states).reshape(-1, n_states)
        self.distribution = np.divide(total, tokens[:, None], out=np.zeros_like(total), where=total > 0)
        shares = total.sum(axis=0) / tokens.sum()
        # A state that never occurs has no cells; any weight but zero will do.
        self.overall = np.where(shares > 0, shares, 1.0)

    def times(self, other: Floats) -> Floats:
        """Sum over strata of this side's counts times `other` `[stratum, state]`: `[group, state, state]`."""
        shape = self.meetings.n_groups * self.n_states, len(other)
        row = self.margin.group * self.n_states + self.margin.state
        if shape[1] <= self.n_states:
            counts = np.bincount(row * shape[1] + self.margin.stratum, self.count, shape[0] * shape[1])
            found = counts.reshape(shape) @ other
        else:
            found = sparse.csr_array((self.count, (row, self.margin.stratum)), shape=shape) @ other
        return np.asarray(found).reshape(self.meetings.n_groups, self.n_states, -1)

    def distances(self) -> Floats:
        """Compute |counts - tokens * distribution|^2 / overall share of each meeting."""
        meetings, margin = self.meetings, self.margin
        tokens, spread = meetings.tokens, (self.distribution**2 / self.overall).sum(axis=1)
        mixed = self.count - 2.0 * tokens[self.met] * self.distribution.ravel()[self.cell]
        own = np.bincount(self.met, self.count * mixed / self.overall[margin.state], len(tokens))
        return np.asarray(own + tokens**2 * spread[meetings.stratum])

    @cached_property
    def met(self) -> Integers:
        """The meeting of each cell."""
        return self.meetings.places(self.margin.stratum, self.margin.group)


def _expected(meetings: _Meetings, rows: Floats, columns: Floats) -> Floats:
    """Compute what independence inside the strata expects of every group, `[group, source, target]`."""
    order = np.argsort(meetings.group, kind="stable")
    ends = np.cumsum(np.bincount(meetings.group, minlength=meetings.n_groups)).tolist()
    found = np.zeros((meetings.n_groups, rows.shape[1], columns.shape[1]))
    for group, (first, last) in enumerate(pairwise([0, *ends])):
        if first < last:
            own = order[first:last]
            stratum = meetings.stratum[own]
            found[group] = (rows[stratum] * meetings.tokens[own, None]).T @ columns[stratum]
    return found


def _bias(meetings: _Meetings, rows: _Side, columns: _Side, n: float) -> float:
    """Sum over strata what estimated margins add to U: kappa times tr_b (see `clustered_scores`)."""
    stratum, tokens, n_strata = meetings.stratum, meetings.tokens, len(meetings.in_stratum)
    share = tokens / meetings.in_stratum[stratum]
    squares, cubes = (np.bincount(stratum, share**power, n_strata) for power in (2, 3))
    own = squares[stratum]
    # The sum over all g, h of w_g w_h (s - w_g - w_h)^2 is 2 s_3 - s_2^2; kappa wants g other than h.
    above = 2.0 * cubes - squares**2 - np.bincount(stratum, (share * (own - 2.0 * share)) ** 2, n_strata)
    below = np.bincount(stratum, (share * (1.0 - 2.0 * share + own)) ** 2, n_strata)
    # A stratum met by one group alone ties no two groups together.
    kappa = np.divide(above, below, out=np.zeros_like(above), where=(below > 0) & (squares < 1.0))
    found = rows.distances() * columns.distances() / tokens**2
    return float((kappa[stratum] * found).sum() / n)
