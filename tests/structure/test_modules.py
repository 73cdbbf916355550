"""Experts over the depth: by hand, with planted orders, and without any."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import ratio
from routestat.structure.modules import busiest_share, deployment
from tests.structure.module_tables import made


def test_busiest_experts_are_ranked_on_other_groups_by_hand():
    # Groups 0, 2, … rank expert 0 first, groups 1, 3, … expert 1: each is counted in the other half.
    counts = np.array([[8, 1, 1, 0], [1, 6, 2, 1]] * 4)
    found = busiest_share(counts)
    assert found.n_busiest == 1
    assert found.even == 0.25
    assert found.share.value == pytest.approx(8 * 1 / 80)


def test_busiest_share_has_the_interval_of_a_ratio():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(50, [0.6, 0.2, 0.1, 0.1], 20)
    found = busiest_share(counts)
    assert found.share == ratio(counts[:, 0], counts.sum(axis=1))
    assert found.share.low < 0.6 < found.share.high


def test_even_loads_do_not_look_uneven():
    rng, above = np.random.default_rng(1), 0
    for _ in range(200):
        found = busiest_share(rng.multinomial(30, np.full(16, 1 / 16), 40))
        above += found.share.low > found.even
    # One side of a 95 % interval: 2.5 %, and its Monte-Carlo error.
    assert above / 200 <= 0.07


@pytest.mark.parametrize("counts", [np.zeros((5, 4), int), np.zeros((0, 4), int), [[3, 0, 0, 1]]])
def test_without_groups_there_is_a_reason(counts):
    found = busiest_share(counts)
    assert math.isnan(found.share.value)
    assert found.share.reason


def test_mean_layer_by_hand():
    # Module 0 once at layer 2 and three times at layer 6, module 1 only at 2, module 2 never.
    early, late = np.array([[1, 2, 0]] * 6), np.array([[3, 0, 0]] * 6)
    found = deployment([early, late], [2, 6])
    assert found.mean_layer[0].value == pytest.approx((2 + 3 * 6) / 4)
    assert found.mean_layer[1].value == 2
    assert math.isnan(found.mean_layer[2].value)
    assert found.uses.tolist() == [24, 12, 0]
    assert found.peak.tolist() == [6, 2, -1]
    assert found.centre == pytest.approx((3 * 2 + 3 * 6) / 6)
    assert found.order == [1, 0, 2]
    # Groups in equal proportions have no variance to test by.
    assert np.isnan(found.log10_p).all()


def test_a_planted_order_is_found():
    tables = made(np.random.default_rng(2), drift=1.5, steps=6)
    found = deployment(tables.inclusions, range(6))
    assert found.order == [0, 1, 2, 3, 4, 5]
    assert (found.log10_q[[0, 1, 4, 5]] < math.log10(0.05)).all()


def test_without_an_order_few_modules_seem_to_have_one():
    rng, rejected = np.random.default_rng(3), []
    for _ in range(60):
        # Weights without a mean of their own at any step, so that all modules have the same expected depth.
        tables = made(rng, drift=1e-12)
        rejected.append(deployment(tables.inclusions, range(4)).log10_p < math.log10(0.05))
    assert 0.02 <= np.mean(rejected) <= 0.09


@given(st.permutations(range(6)))
def test_other_labels_of_the_modules_change_nothing(order):
    tables = made(np.random.default_rng(4), groups=8, tokens=20)
    found = deployment(tables.inclusions, range(4))
    other = deployment([table[:, order] for table in tables.inclusions], range(4))
    np.testing.assert_allclose(other.log10_p, found.log10_p[list(order)], rtol=1e-9)
    assert other.peak.tolist() == found.peak[list(order)].tolist()
    before, after = busiest_share(tables.inclusions[0]), busiest_share(tables.inclusions[0][:, order])
    assert after.even == before.even
    assert after.n_busiest == before.n_busiest


def test_steps_with_different_modules_are_refused():
    with pytest.raises(
        RoutestatError, match=r"expected one table \[group, module\] per step, all of one shape"
    ):
        deployment([np.ones((3, 4), int), np.ones((3, 5), int)], [0, 1])
    with pytest.raises(RoutestatError, match="expected \\[group, expert\\]"):
        busiest_share(np.ones(3, int))
