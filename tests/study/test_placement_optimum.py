"""A heuristic's placement against the optimum, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from routestat.serving.placement.default_order import default_placement
from routestat.serving.placement.placement import Devices
from routestat.study.placement_optimum import against_optimum, mean_imbalance
from routestat.traces.metadata import routers_like

ROUTERS, TWO = routers_like([0, 1], 4, 2), Devices(2)
#: In the default order device 0 has 14 of 20 choices; the best is 10.
LOADS = [np.array([9, 5, 5, 1]), np.array([5, 5, 5, 5])]
#: Experts 0 and 2 go together, and 1 and 3.
TABLES = [np.array([[6, 0, 6, 0], [0, 6, 0, 6], [6, 0, 6, 0], [0, 6, 0, 2]])]


def of(objective, devices=TWO):
    return replace(default_placement(ROUTERS, devices), objective=objective)


def test_a_worse_balance_is_replaced_by_the_best():
    placement, found = against_optimum(of("balance"), LOADS, TABLES)
    assert (found.found, found.optimum) == pytest.approx((1.2, 1.0))
    assert found.gap == pytest.approx(0.2)
    assert found.used
    assert mean_imbalance(LOADS, placement) == pytest.approx(1.0)
    assert against_optimum(placement, LOADS, TABLES)[1].used is False


def test_a_worse_affinity_is_replaced_by_the_best():
    placement, found = against_optimum(of("affinity"), LOADS, TABLES)
    assert found.optimum == 1.0
    # Of 44 transitions 6 + 6 + 6 + 2 stay.
    assert found.found == pytest.approx(20 / 44)
    assert found.gap == pytest.approx(24 / 44)
    assert found.used
    assert placement.experts[0].tolist() in ([0, 2, 1, 3], [1, 3, 0, 2])


def test_with_nodes_the_gap_is_stated_but_the_placement_stays():
    start = of("balance", Devices(2, 2))
    placement, found = against_optimum(start, LOADS, TABLES)
    assert placement is start
    assert found.gap == pytest.approx(0.2)
    assert not found.used


@pytest.mark.parametrize(
    ("objective", "n_experts", "devices", "words"),
    [
        ("balance", 128, Devices(2), "only searched for layers of up to 128 variables"),
        ("balance", 8, Devices(8, 1, 8), "only searched for layers of up to 128 variables"),
        ("affinity", 32, Devices(2), "a layer has more than 3,000 different placements"),
        ("affinity", 16, Devices(2, 1, 2), "a layer has more than 600 different placements"),
        ("affinity", 4, Devices(2, 2), "only searched for one node"),
    ],
)
def test_where_no_optimum_is_known_it_is_said_why(objective, n_experts, devices, words):
    placement = replace(default_placement(routers_like([0, 1], n_experts, 2), devices), objective=objective)
    loads, tables = [np.ones(n_experts, int)] * 2, [np.ones((n_experts, n_experts), int)]
    same, found = against_optimum(placement, loads, tables)
    assert same is placement
    assert found.reason == words
    assert np.isnan([found.found, found.optimum, found.gap]).all()


def test_a_layer_without_tokens_does_not_count_in_the_mean():
    assert mean_imbalance([LOADS[0], np.zeros(4, int)], of("balance")) == pytest.approx(1.4)
    assert np.isnan(mean_imbalance([np.zeros(4, int)] * 2, of("balance")))
