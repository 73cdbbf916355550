"""What few units can show: the least number of them, the floor of p-values, and all patterns of signs as an oracle."""

import math

import numpy as np
import pytest

from routestat.counting.strata import Strata
from routestat.inference.association.cell_tests import cell_tests
from routestat.inference.association.expert_independence import independence_experts
from routestat.inference.association.independence import independence
from routestat.inference.association.minimum_effect import minimum_effect
from routestat.inference.association.stratified import stratified_independence
from routestat.inference.association.within_documents import within_documents
from routestat.inference.base.estimate import ratio
from routestat.inference.base.units import (
    LEAST_UNITS,
    effective_units,
    log10_relabelling_floor,
    log10_sign_floor,
    shown_power,
    too_few,
)
from routestat.inference.information.mutual_information import mutual_information_interval
from routestat.inference.information.stratified import conditional_information_interval
from routestat.inference.markov.order_score_test import clustered_order
from routestat.inference.two_sample.cells import cell_differences
from routestat.inference.two_sample.distributions import compare_distributions, compare_transitions
from tests.oracle.order_oracle import strata_of


def agreeing(groups: int, k: int = 6, tokens: int = 500) -> np.ndarray:
    """Groups that all copy the source: counts `[group, source, target]`."""
    return np.stack([np.eye(k, dtype=int) * tokens] * groups)


def noisy(groups: int, seed: int, k: int = 5, tokens: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array(
        [rng.multinomial(tokens, rng.dirichlet(np.full(k * k, 2.0))) for _ in range(groups)]
    ).reshape(groups, k, k)


def test_floors_are_counts_of_patterns() -> None:
    assert 10 ** log10_sign_floor(15) == pytest.approx(0.5**14)
    assert 10 ** log10_relabelling_floor(8, 23) == pytest.approx(1 / math.comb(31, 8))
    assert log10_relabelling_floor(8, 23) == log10_relabelling_floor(23, 8)
    assert (log10_sign_floor(1), log10_relabelling_floor(0, 9)) == (0.0, 0.0)
    assert shown_power(log10_sign_floor(15)) == "6.1e-05"
    # 2**-2000 is no float.
    assert shown_power(log10_sign_floor(2001)) == "8.7e-603"


def test_units_are_counted_and_weighed() -> None:
    assert effective_units([30, 30, 0, 30]) == pytest.approx(3.0)
    assert effective_units([0, 0]) == 0.0
    assert too_few([10] * LEAST_UNITS) is None
    assert too_few([10] * 5 + [0]) == "5 independent units: no test or interval below 6"
    assert too_few([10]) == "1 independent unit: no test or interval below 6"
    unequal = too_few([1000] + [1] * 40)
    assert unequal is not None
    assert "41 independent units, so unequal that they are worth 1.1 of one size" in unequal


def test_every_p_value_respects_its_floor() -> None:
    """Groups that agree in everything have p at the floor, or above it."""
    for groups in (6, 8, 15, 40):
        tables, floor = agreeing(groups), log10_sign_floor(groups)
        experts = independence_experts(tables, tables.sum(2), tables.sum(1), tables.sum((1, 2)))
        strata = strata_of(np.stack([tables, tables[:, ::-1]], axis=1))
        within = within_documents(tables, np.full(tables.shape, tables.sum() / groups / 36.0))
        states = independence(tables)
        for log10_p in (
            states.log10_p_clustered,
            states.log10_p_clustered_first_order,
            experts.log10_p_clustered,
            clustered_order(strata).log10_p_clustered,
            stratified_independence(strata_of(tables[:, None])).log10_p_clustered,
            within.log10_p_clustered,
        ):
            assert floor <= log10_p < -0.9 or math.isnan(log10_p)
        assert "p is at its floor" in str(states.note) or states.log10_p_clustered > floor
        # Cells and V where groups differ a little, so that there is an error to measure by.
        varied = tables + noisy(groups, groups, k=6, tokens=30)
        assert (cell_tests(varied).log10_p >= floor).all()
        assert minimum_effect(varied).log10_p >= floor


@pytest.mark.parametrize(("n_a", "n_b"), [(6, 6), (8, 23), (13, 33)])
def test_no_comparison_claims_more_than_relabelling_whole_units_can_show(n_a: int, n_b: int) -> None:
    rng = np.random.default_rng(n_a)
    weights = rng.permutation(np.linspace(0.2, 1.8, 200))
    a, b = (
        np.array([rng.multinomial(300, rng.dirichlet(np.full(200, 5.0) * w)) for _ in range(n)])
        for n, w in ((n_a, weights), (n_b, 2.0 - weights))
    )
    floor = -math.log10(math.comb(n_a + n_b, n_a))
    layer, step = (
        compare_distributions(a, b),
        compare_transitions(a.reshape(n_a, 10, 20), b.reshape(n_b, 10, 20)),
    )
    for found in (layer, step.joint, step.conditional):
        assert floor - 1e-9 <= found.log10_p_clustered < -1.0
        assert found.p_first_order >= 10**floor * (1 - 1e-9)
    assert (cell_differences(a, b).log10_p >= floor - 1e-9).all()
    assert f"p cannot be below {shown_power(floor)}" in str(layer.note)


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_below_the_least_number_of_units_there_is_no_test_and_no_interval(groups: int) -> None:
    tables = noisy(groups, 7)
    why = f"{groups} independent units: no test or interval below 6"
    states = independence(tables)
    experts = independence_experts(tables, tables.sum(2), tables.sum(1), tables.sum((1, 2)))
    strata = strata_of(tables[:, None])
    for found in (states, experts, clustered_order(strata), stratified_independence(strata)):
        assert math.isnan(found.p_clustered)
        assert math.isnan(found.log10_p_clustered)
        assert found.reason == why
        assert found.note is None
    assert math.isnan(states.p_clustered_first_order)
    information = conditional_information_interval(strata)
    assert np.isnan([information.low, information.high]).all()
    assert information.reason == why
    plain = mutual_information_interval(tables)
    assert np.isnan([plain.low, plain.high]).all()
    estimate = ratio(tables[:, 0, 0], tables.sum((1, 2)))
    assert np.isnan([estimate.low, estimate.high, estimate.standard_error]).all()
    assert estimate.value == pytest.approx(tables[:, 0, 0].sum() / tables.sum())
    assert estimate.reason == why
    for paired in (False, True):
        other = noisy(groups if paired else 20, 8)
        layer = compare_distributions(tables.sum(2), other.sum(2), paired=paired)
        assert np.isnan(
            [layer.p_clustered, layer.jsd_bits_low, layer.jsd_bits_high, layer.p_first_order]
        ).all()
        assert layer.reason == f"{groups} independent units in one of the two: no test or interval below 6"
        assert not cell_differences(tables.sum(2), other.sum(2), paired=paired).moved.any()


def test_units_of_which_one_has_nearly_everything_are_too_few() -> None:
    tables = noisy(30, 9)
    tables[0] *= 500
    found = independence(tables)
    assert math.isnan(found.p_clustered)
    assert "worth 1" in str(found.reason)


def test_order_of_groups_and_names_of_states_change_nothing() -> None:
    rng, tables = np.random.default_rng(4), noisy(7, 4) * np.arange(1, 8)[:, None, None]
    other = tables[rng.permutation(7)][:, rng.permutation(5)][:, :, rng.permutation(5)]
    for one, two in (
        (independence(tables), independence(other)),
        (clustered_order(strata_of(tables[:, None])), clustered_order(strata_of(other[:, None]))),
    ):
        assert one.log10_p_clustered == pytest.approx(two.log10_p_clustered, rel=1e-9)


def test_a_stratum_that_one_group_fills_leaves_the_order_test_finite() -> None:
    cube = np.stack([noisy(8, 5), noisy(8, 6)], axis=1)
    cube[1:, 1] = 0
    cube[1, 1, 0, 0] = 1
    strata: Strata = strata_of(cube)
    assert math.isfinite(clustered_order(strata).log10_p_clustered)
