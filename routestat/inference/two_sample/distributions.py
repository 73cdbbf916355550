"""Comparison of two samples of documents: distributions of states, and transitions.

A chi-square test of homogeneity takes every token as independent and rejects for two halves of one trace. Here
only groups of whole documents are taken as independent; where both traces hold the same documents, a group's
documents are compared with themselves.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.association.measures import cramers_v, cramers_v_corrected
from routestat.inference.base.clustered_score_test import ScoreTest, caution, score_test
from routestat.inference.base.estimate import Estimate, without_interval
from routestat.inference.base.special import chi2_tail, log10_chi2_tail
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.information.divergence import batch_divergence
from routestat.inference.two_sample.cells import share_differences
from routestat.inference.two_sample.jackknife import jackknife
from routestat.inference.two_sample.samples import (
    DifferenceScores,
    TwoSamples,
    difference_scores,
    two_samples,
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DistributionDifference:
    """How the distributions of two samples differ; see `compare_distributions` and `compare_transitions`.

    Attributes
    ----------
    n_a, n_b, n_groups_a, n_groups_b
        Tokens, and groups that held any.
    paired
        Whether a group holds the same documents in both.
    chi2, g, dof, log10_p_iid
        X2 and G2 of homogeneity as if tokens were independent, over the cells in use, and log10 p of G2. NaN (and
        0 dof) where a token counts more than once: nothing is independent then.
    design_effect
        How many times the variance of independent tokens the differences have; below 1 where pairing helps.
    p_clustered, log10_p_clustered, nu
        The second-order test with groups as the units, and its degrees of freedom.
    p_first_order
        P(chi2_dof > chi2 / design_effect), Rao and Scott's first order.
    jsd
        Jensen-Shannon divergence in bits: jackknife estimate with its 95 % interval, and plug-in.
    total_variation, total_variation_chance
        Half the sum of the absolute differences, and about how much chance alone would show: half the sum of
        sqrt(2/pi) standard errors.
    cramers_v, cramers_v_corrected
        Of the table sample x state; corrected after Bergsma with n / design_effect tokens.
    share_a, share_b
        The two distributions `[state]`, or `[source, target]`; of slots where a token counts k times.
    shared
        Share of the counts in rows that both samples have; 1 for distributions that are not conditional.
    reason, note
        Why something is NaN, and a caution; or None.
    """

    n_a: int
    n_b: int
    n_groups_a: int
    n_groups_b: int
    paired: bool
    chi2: float
    g: float
    dof: int
    log10_p_iid: float
    design_effect: float
    p_clustered: float
    log10_p_clustered: float
    nu: float
    p_first_order: float
    jsd: Estimate
    total_variation: float
    total_variation_chance: float
    cramers_v: float
    cramers_v_corrected: float
    share_a: Floats
    share_b: Floats
    shared: float = 1.0
    reason: str | None = None
    note: str | None = None

    @property
    def jsd_bits(self) -> float:
        """Jensen-Shannon divergence in bits."""
        return self.jsd.value

    @property
    def jsd_bits_plugin(self) -> float:
        """Its plug-in in bits."""
        return self.jsd.plugin

    @property
    def jsd_bits_low(self) -> float:
        """Its lower limit in bits."""
        return self.jsd.low

    @property
    def jsd_bits_high(self) -> float:
        """Its upper limit in bits."""
        return self.jsd.high


@dataclass(frozen=True, slots=True, eq=False)
class TransitionDifference:
    """How a transition differs, jointly and given the source; see `compare_transitions`."""

    joint: DistributionDifference
    conditional: DistributionDifference


def compare_distributions(
    a: ArrayLike, b: ArrayLike, *, paired: bool = False, per_token: int = 1
) -> DistributionDifference:
    """Test whether two samples have one distribution of states, with whole documents as the independent units.

    Parameters
    ----------
    a, b
        Whole counts `[group, state]`. Groups of whole documents are independent, tokens within one are not.
    paired
        Group g of `a` and group g of `b` are the same documents: each is compared with itself.
    per_token
        Counts per token: 1 for states, k where a token includes k experts. The distributions are then those of a
        slot, and no chi-square distribution of independent tokens applies.

    Returns
    -------
    DistributionDifference. The test is `score_test` on the scores of `difference_scores`; it tests zero difference,
    which at many tokens is nearly always rejected: read the size in `jsd_bits` and `total_variation`. At a true
    divergence of 0 the interval of `jsd_bits` is not the test: use `p_clustered`.

    Raises
    ------
    RoutestatError
        For counts that are not such tables, or paired samples with different groups.

    References
    ----------
    Rao & Scott (1984), Ann. Stat. 12; Lin (1991), IEEE Trans. Inf. Theory 37; Bergsma (2013).
    """
    samples = two_samples(a, b, paired, 2)
    columns = TwoSamples(samples.a[:, None, :], samples.b[:, None, :], paired)
    return _difference(columns, _checked(per_token), samples.a.shape[1:], conditional=False)


def compare_transitions(
    a: ArrayLike, b: ArrayLike, *, paired: bool = False, per_token: int = 1
) -> TransitionDifference:
    """Test whether a transition differs, and whether it does beyond what the source's own distribution explains.

    `joint` compares the distributions of whole cells. `conditional` compares the target's distribution in every
    row: a group's score is its row less its row's total times the pooled P(target | source), so that other loads at
    the source do not matter. Its divergence is the mean over sources, m(i) = (p_a(i) + p_b(i)) / 2, of the
    divergence of the two rows, each row weighted by its share in either sample: the joint divergence minus that of
    the sources, so the two parts add up. A source that only one sample has adds nothing to it.

    Parameters
    ----------
    a, b
        Whole counts `[group, source, target]`.
    paired, per_token
        As in `compare_distributions`; `per_token` is k * k where tokens include k experts at either end.

    Raises
    ------
    RoutestatError
        As `compare_distributions` does.
    """
    samples, cells = two_samples(a, b, paired, 3), _checked(per_token)
    shape = samples.a.shape[1:]
    flat_a, flat_b = (t.reshape(len(t), 1, math.prod(shape)) for t in (samples.a, samples.b))
    flat = TwoSamples(flat_a, flat_b, paired)
    return TransitionDifference(
        joint=_difference(flat, cells, shape, conditional=False),
        conditional=_difference(samples, cells, shape, conditional=True),
    )


def _difference(
    tables: TwoSamples, per_token: int, shape: tuple[int, ...], conditional: bool
) -> DistributionDifference:
    """Compare counts `[group, row, column]`, whose distributions have the `shape` that the caller gave."""
    a, b = tables.totals()
    n_a, n_b = (round(float(t.sum()) / per_token) for t in (a, b))
    groups, reason = tables.groups, tables.reason
    if not (n_a and n_b):
        scores, far, chance = _NOTHING, without_interval(math.nan, 0, reason or ""), math.nan
    else:
        scores = difference_scores(tables)
        far = jackknife(_conditional_jsd if conditional else divergence_bits, tables)
        chance = math.nan if conditional else _chance(tables)
    test = (
        _no_test(reason) if reason else score_test(scores.gram, scores.bias, log10_floor=tables.log10_floor)
    )
    # Counts that come k at a time are no draws at all: nothing that takes tokens as independent is left.
    chi2, dof = (scores.chi2, scores.dof) if per_token == 1 else (math.nan, 0)
    g = _likelihood_ratio(a, b) if per_token == 1 and n_a and n_b else math.nan
    effect = scores.spread / dof if dof else math.nan
    first = math.nan
    if effect > 0:
        first = max(chi2_tail(chi2 / effect, dof), 10.0**tables.log10_floor)
    shares = [read_only(t.reshape(shape) / t.sum() if t.any() else np.full(shape, np.nan)) for t in (a, b)]
    # A conditional distribution has no one table sample x state whose association could be measured.
    table = (2, 1 if conditional else dof + 1)
    return DistributionDifference(
        n_a=n_a, n_b=n_b, n_groups_a=groups[0], n_groups_b=groups[1], paired=tables.paired,
        chi2=chi2, g=g, dof=dof, log10_p_iid=log10_chi2_tail(g, dof),
        design_effect=effect, p_clustered=test.p, log10_p_clustered=test.log10_p, nu=test.nu,
        p_first_order=first,
        jsd=far,
        total_variation=math.nan if conditional else float(np.abs(shares[0] - shares[1]).sum() / 2.0),
        total_variation_chance=chance,
        cramers_v=cramers_v(chi2, n_a + n_b, table),
        cramers_v_corrected=cramers_v_corrected(chi2, n_a + n_b, table, effect),
        share_a=shares[0], share_b=shares[1], shared=scores.shared,
        reason=test.reason, note=_note(tables, test, scores.bias),
    )  # fmt: skip


def _note(tables: TwoSamples, test: ScoreTest, bias: float) -> str | None:
    """Cautions about the test: few units, p at its floor, and a bias that makes the test cautious."""
    few = caution(min(tables.groups), test)
    if not (test.nu > 0 and bias * math.sqrt(test.nu / 2.0) > test.trace):
        return few
    much = "few tokens for so many cells: the test has less power than it could"
    return f"{few}; {much}" if few else much


def _no_test(reason: str) -> ScoreTest:
    nan = math.nan
    return ScoreTest(nan, nan, nan, nan, nan, reason)


def _chance(tables: TwoSamples) -> float:
    if tables.reason:
        return math.nan
    return float(share_differences(tables).standard_error.sum() / math.sqrt(2.0 * math.pi))


def _likelihood_ratio(a: Floats, b: Floats) -> float:
    """G2 of homogeneity, row by row `[row, column]`."""
    total, rows = a + b, (a + b).sum(axis=1, keepdims=True)
    g = 0.0
    for t in (a, b):
        share = np.divide(t.sum(axis=1, keepdims=True), rows, out=np.zeros_like(rows), where=rows > 0)
        g += 2.0 * float(special.rel_entr(t, total * share).sum())
    return max(0.0, g)


def divergence_bits(a: Floats, b: Floats) -> Floats:
    """Compute the Jensen-Shannon divergence of totals `[batch, row, column]` over all cells, in bits `[batch]`."""
    first, second = (t.reshape(len(t), -1) for t in (a, b))
    p, q = first / first.sum(axis=1, keepdims=True), second / second.sum(axis=1, keepdims=True)
    return batch_divergence(p, q) / math.log(2.0)


def _conditional_jsd(a: Floats, b: Floats) -> Floats:
    return divergence_bits(a, b) - divergence_bits(*(t.sum(axis=2, keepdims=True) for t in (a, b)))


def _checked(per_token: int) -> int:
    if isinstance(per_token, bool) or not isinstance(per_token, int | np.integer) or per_token < 1:
        raise RoutestatError(
            f"per_token: expected a whole number of 1 or more, got {per_token!r}; pass k or k * k"
        )
    return int(per_token)


_NOTHING = DifferenceScores(np.zeros((0, 0)), 0.0, math.nan, 0, math.nan, math.nan)
