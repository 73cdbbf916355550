"""Tests of the order of a chain against slow code, other packages and each other."""

import dataclasses
import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import chi2, chi2_contingency

from routestat.errors import RoutestatError
from routestat.inference.association.independence import independence
from routestat.inference.association.stratified import stratified_independence
from routestat.inference.information.mutual_information import conditional_mutual_information
from routestat.inference.markov.order_score_test import clustered_order
from routestat.inference.markov.order_tests import order_tests
from routestat.traces import synthetic
from tests.inference.markov.order_cases import clustered_p, rng
from tests.oracle import order_oracle as oracle


def test_by_hand():
    # y = 0: x and z in step, 4 + 4 tokens, G2 = 2 * 8 ln 2 on 1 df. y = 1: 2 in every cell, G2 0 on 1 df. y = 2: one
    # target only, nothing to test.
    cube = np.array([[[4, 0], [0, 4]], [[2, 2], [2, 2]], [[3, 0], [5, 0]]])[None]
    found = order_tests(oracle.strata_of(cube), 8, rng(), resamples=9999)
    assert (found.n_tokens, found.n_strata, found.dof) == (24, 2, 2)
    assert found.g == pytest.approx(16 * math.log(2))
    assert found.chi2 == pytest.approx(8)
    assert found.bic_tokens == pytest.approx(16 * math.log(2) - 2 * math.log(24))
    assert found.bic_documents == pytest.approx(16 * math.log(2) - 2 * math.log(8))
    assert found.log10_p_g_iid == pytest.approx(-8 * math.log(2) / math.log(10))
    # Both strata have margins 4, 4 and 4, 4. Two of the 70 ways to fill one put it in step, with G2 = 16 ln 2 = 11.1;
    # two strata that are not have at most 2 * 2 (6 ln 1.5 + 2 ln .5) = 4.2. So one or both must be.
    distribution = oracle.exact_distribution(cube[0])
    exact = sum(p for g, p in distribution.items() if g >= 16 * math.log(2) - 1e-6)
    assert exact == pytest.approx(1 - (68 / 70) ** 2, abs=1e-9)
    assert abs(found.p_resampled_iid - exact) < 4 * math.sqrt(exact * (1 - exact) / 9999) + 1e-4


def test_by_definition(cube):
    found = order_tests(oracle.strata_of(cube), 9, rng(), resamples=5)
    g, x2, dof = oracle.likelihood_ratio(cube.sum(axis=0))
    assert found.dof == dof
    assert found.g == pytest.approx(g, rel=1e-12)
    assert found.chi2 == pytest.approx(x2, rel=1e-12)
    assert found.log10_p_g_iid == pytest.approx(math.log10(chi2.sf(g, dof)), rel=1e-9)
    assert found.log10_p_chi2_iid == pytest.approx(math.log10(chi2.sf(x2, dof)), rel=1e-9)
    # G2 is the plug-in information in other units.
    bits = conditional_mutual_information(cube.sum(axis=0).transpose(1, 0, 2))
    assert found.g == pytest.approx(2 * cube.sum() * math.log(2) * bits, rel=1e-12)


def test_scipy_stratum_by_stratum(cube):
    found = order_tests(oracle.strata_of(cube), 9, rng(), resamples=0)
    tables = [t[t.any(axis=1)][:, t.any(axis=0)] for t in cube.sum(axis=0)]
    for name, power in (("g", "log-likelihood"), ("chi2", "pearson")):
        parts = [chi2_contingency(t, correction=False, lambda_=power) for t in tables]
        assert getattr(found, name) == pytest.approx(sum(part.statistic for part in parts), rel=1e-12)
        assert found.dof == sum(part.dof for part in parts)


def test_log_linear_models_of_statsmodels_and_r():
    """Model [XY][YZ]; R 4.2: loglin(array(v, c(3, 3, 3)), list(c(1, 3), c(2, 3)))[c("lrt", "pearson", "df")]."""
    v = [5, 0, 3, 2, 7, 1, 4, 4, 6, 2, 9, 1, 3, 3, 3, 8, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 10]
    cube = np.array(v).reshape(3, 3, 3).transpose(0, 2, 1)
    found = order_tests(oracle.strata_of(cube[None]), 2, rng(), resamples=0)
    assert found.g == pytest.approx(33.3137498930123, rel=1e-13)
    assert found.chi2 == pytest.approx(27.3594644328531, rel=1e-13)
    assert found.dof == 12
    y, x, z = np.indices(cube.shape).reshape(3, -1)
    design = np.hstack([np.eye(9)[3 * y + x], np.eye(9)[3 * y + z][:, [1, 2, 4, 5, 7, 8]]])
    fit = sm.GLM(cube.ravel(), design, family=sm.families.Poisson()).fit()
    assert found.g == pytest.approx(fit.deviance, rel=1e-8)
    assert found.chi2 == pytest.approx(fit.pearson_chi2, rel=1e-6)
    assert found.dof == cube.size - design.shape[1]


@pytest.mark.parametrize("seed", range(4))
def test_redrawn_tables_have_the_exact_distribution(seed):
    cube = rng(seed).poisson(1.3, (3, 2, 3)) + np.eye(2, 3, dtype=int)
    distribution, resamples = oracle.exact_distribution(cube), 4999
    assert sum(distribution.values()) == pytest.approx(1, abs=1e-9)
    found = order_tests(oracle.strata_of(cube[None]), 5, rng(seed), resamples=resamples)
    g = oracle.likelihood_ratio(cube)[0]
    exact = sum(p for value, p in distribution.items() if value >= g - 1e-6)
    assert 1 / (resamples + 1) <= found.p_resampled_iid <= 1
    error = math.sqrt(exact * (1 - exact) / resamples)
    assert abs(found.p_resampled_iid - exact) < 4 * error + 1 / resamples
    mean = sum(value * p for value, p in distribution.items())
    sd = math.sqrt(sum((value - mean) ** 2 * p for value, p in distribution.items()))
    assert abs(found.resampled_g_mean - mean) < 4 * sd / math.sqrt(resamples)
    assert found.resampled_g_sd == pytest.approx(sd, rel=0.1)


def test_blocks_of_redrawn_tables_are_the_same_draws(cube, monkeypatch):
    strata = oracle.strata_of(cube)
    whole = order_tests(strata, 9, rng(), resamples=50)
    monkeypatch.setattr("routestat.inference.base.chunks.CELLS", 40)
    assert order_tests(strata, 9, rng(), resamples=50) == whole
    assert clustered_order(strata).p_clustered == pytest.approx(clustered_p(cube), rel=1e-7)


def test_relabelling_and_absent_groups_change_nothing(cube):
    other = cube[:, rng(2).permutation(4)][:, :, rng(3).permutation(3)][..., rng(4).permutation(5)]
    wider = np.zeros((12, 6, 5, 6), int)
    wider[1:10, 1:5, :3, 1:] = other
    # An absent group after the last is no group; strata are renumbered, groups are not.
    one, two = clustered_order(oracle.strata_of(cube)), clustered_order(oracle.strata_of(wider))
    assert dataclasses.astuple(two)[:6] == pytest.approx(dataclasses.astuple(one)[:6], rel=1e-9)
    one, two = (order_tests(oracle.strata_of(c), 9, rng(), resamples=0) for c in (cube, wider))
    for name in ("n_tokens", "n_strata", "dof", "g", "chi2", "bic_tokens"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-12)


def test_billions_of_tokens_stay_finite(cube):
    strata = oracle.strata_of(cube)
    many = dataclasses.replace(strata, count=strata.count * 10_000_000, n_tokens=strata.n_tokens * 10_000_000)
    found = order_tests(many, 9, rng(), resamples=19)
    assert -1e10 < found.log10_p_g_iid < -1e7
    assert found.p_resampled_iid == 1 / 20
    # The more tokens, the nearer G2 comes to its degrees of freedom.
    assert found.note is None
    assert clustered_order(many).p_clustered == pytest.approx(clustered_order(strata).p_clustered, rel=1e-6)


def test_a_function_of_both_layers_is_order_two_though_no_pair_depends():
    """Every stratum has its own direction, so tests that add strata up see nothing: they reject as by chance."""
    p, added, pairs, bits = [], [], [], []
    for seed in range(40):
        trace = synthetic.second_order(
            noise=0.5, rng=rng(seed), n_experts=7, top_k=1, layers=3, documents=60, mean_length=80
        )
        x, y, z = trace.states.astype(int).T
        strata = oracle.strata_of_tokens(x, y, z, trace.document, (7, 7, 7))
        iid = order_tests(strata, 60, rng(seed), resamples=99)
        p.append(
            (iid.log10_p_g_iid, math.log10(iid.p_resampled_iid), clustered_order(strata).log10_p_clustered)
        )
        bits.append((iid.g - iid.resampled_g_mean) / (2 * len(x) * math.log(2)))
        assert iid.bic_tokens > 0
        assert iid.bic_documents > iid.bic_tokens
        added.append(stratified_independence(strata).p_clustered)
        cells = (trace.document * 7 + np.array([x, y])) * 7 + np.array([y, z])
        pairs += [
            independence(np.bincount(c, minlength=60 * 49).reshape(60, 7, 7)).p_clustered for c in cells
        ]
    assert np.max(p) <= -2 + 1e-9
    assert np.mean(bits) == pytest.approx(trace.truth.cmi_bits[0], rel=0.02)
    assert 0.0 <= np.mean(np.array(pairs) < 0.05) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 80)
    assert np.mean(np.array(added) < 0.05) < 0.2


def test_independent_tokens_of_order_one_are_left_alone():
    trace = synthetic.chain(
        coupling=0.9, rng=rng(5), n_experts=6, top_k=1, layers=3, documents=100, mean_length=200
    )
    strata = oracle.strata_of_tokens(*trace.states.astype(int).T, trace.document, (6, 6, 6))
    found = order_tests(strata, 100, rng(), resamples=199)
    assert found.p_resampled_iid > 0.01
    assert clustered_order(strata).p_clustered > 0.01
    assert found.bic_tokens < found.bic_documents < 0


def test_a_caution_where_g_is_no_chi_square():
    cube = rng().poisson(0.15, (1, 8, 12, 12))
    found = order_tests(oracle.strata_of(cube), 9, rng())
    assert abs(found.resampled_g_mean - found.dof) > found.resampled_g_sd
    assert f"not {found.dof}" in found.note


def test_what_cannot_be_said_has_a_reason(cube):
    nothing = oracle.strata_of(np.zeros((2, 1, 2, 2), int))
    one_target = oracle.strata_of(cube[:, :, :, :1])
    for strata, reason in ((nothing, "no tokens"), (one_target, "two sources and two targets")):
        found = order_tests(strata, 3, rng())
        assert reason in found.reason
        assert math.isnan(found.g)
        assert math.isnan(found.p_resampled_iid)
        assert found.dof == 0
        assert clustered_order(strata).reason
        assert math.isnan(clustered_order(strata).p_clustered)
    assert "two groups" in clustered_order(oracle.strata_of(cube[:1])).reason
    assert "5 independent units" in clustered_order(oracle.strata_of(cube[4:])).reason
    alike = clustered_order(oracle.strata_of(np.tile(np.array([[2, 4], [3, 6]]), (6, 3, 1, 1))))
    assert (alike.p_clustered, alike.reason) == (1.0, "every group's table equals its expectation exactly")
    single = order_tests(oracle.strata_of(cube), 1, rng(), resamples=0)
    assert math.isnan(single.bic_documents)
    assert math.isnan(single.p_resampled_iid)
    assert single.note is None


def test_refusals(cube):
    strata = oracle.strata_of(cube)
    with pytest.raises(RoutestatError, match="n_documents"):
        order_tests(strata, 0, rng())
    with pytest.raises(RoutestatError, match="resamples"):
        order_tests(strata, 9, rng(), resamples=-1)
    experts = dataclasses.replace(strata, slots=(2, 2))
    with pytest.raises(RoutestatError, match="state view"):
        order_tests(experts, 9, rng())
    with pytest.raises(RoutestatError, match="state view"):
        clustered_order(experts)
