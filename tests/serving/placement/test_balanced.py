"""Placements for balance: against the optimum, the default order and by hand."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.placement.balanced import balanced_placement, copies_of
from routestat.serving.placement.default_order import default_placement
from routestat.serving.placement.measures import device_loads, imbalance, node_loads
from routestat.serving.placement.optimum import placements_of_layer
from routestat.serving.placement.placement import Devices
from routestat.traces.metadata import Router, routers_like
from tests.oracle import placement_oracle as oracle


def of(load, placement, measure=device_loads, place=0):
    return float(imbalance(measure(np.array(load), placement, place)))


def test_copies_go_to_the_highest_load_per_copy():
    # 12 becomes 6 + 6, then 8 becomes 4 + 4, then 12 becomes 4 + 4 + 4.
    assert copies_of(np.array([12.0, 8.0, 3.0]), 6, 4).tolist() == [3, 2, 1]
    assert copies_of(np.array([100.0, 1.0]), 4, 2).tolist() == [2, 2]


def test_a_pair_of_busy_experts_is_divided():
    load = [5, 5, 1, 1]
    found = balanced_placement([np.array(load)], routers_like([0], 4, 2), Devices(2))
    assert of(load, found) == 1.0


def test_one_busy_expert_is_copied_to_every_device():
    load = [40, 1, 1, 1, 1]
    found = balanced_placement([np.array(load)], routers_like([0], 5, 2), Devices(4, 1, 3))
    assert found.on_device(0)[0].all()
    assert of(load, found) == pytest.approx(1.0)


def test_nodes_are_balanced_first():
    rng = np.random.default_rng(0)
    loads = [rng.gamma(1.0, 100, 16).astype(int) for _ in range(4)]
    routers = routers_like(range(4), 16, 2)
    flat, nodes = (balanced_placement(loads, routers, Devices(8, n)) for n in (1, 2))
    default = default_placement(routers, Devices(8, 2))
    for place, load in enumerate(loads):
        assert of(load, nodes, node_loads, place) <= of(load, default, node_loads, place)
        assert of(load, nodes, node_loads, place) < 1.05
        assert of(load, flat, device_loads, place) <= of(load, nodes, device_loads, place) * 1.1


@pytest.mark.parametrize(("n_experts", "n_devices"), [(8, 2), (8, 4), (9, 3)])
def test_few_experts_are_placed_nearly_as_well_as_possible(n_experts, n_devices):
    rng = np.random.default_rng(n_experts + n_devices)
    routers, gaps = routers_like([0], n_experts, 2), []
    for _ in range(30):
        load = rng.gamma(1.0, 1000, n_experts).astype(int)
        found = balanced_placement([load], routers, Devices(n_devices))
        gaps.append(of(load, found) / oracle.least_imbalance(load.tolist(), n_devices) - 1)
    assert min(gaps) > -1e-9
    assert np.mean(np.array(gaps) < 1e-9) >= 0.3
    assert max(gaps) < 0.04


def test_copies_of_few_experts_are_divided_nearly_as_well_as_possible():
    rng = np.random.default_rng(3)
    routers, devices, gaps = routers_like([0], 6, 2), Devices(2, 1, 2), []
    every = placements_of_layer(6, devices, 3000)
    shares = every / every.sum(axis=2, keepdims=True)
    for _ in range(30):
        load = rng.gamma(1.0, 1000, 6).astype(int)
        best = imbalance(np.einsum("e,ped->pd", load.astype(float), shares)).min()
        gaps.append(of(load, balanced_placement([load], routers, devices)) / best - 1)
    assert min(gaps) > -1e-9
    # Without moving copies it is .03.
    assert np.mean(gaps) < 0.015


@pytest.mark.parametrize("redundant", [0, 8])
@pytest.mark.parametrize("n_nodes", [1, 2])
def test_the_default_order_is_never_better_on_the_same_documents(redundant, n_nodes):
    rng = np.random.default_rng(7)
    routers = (Router(1, 16, 2), Router(2, 8, 2), Router(5, 24, 4))
    for _ in range(5):
        loads = [rng.gamma(0.5, 100, router.n_experts).astype(int) for router in routers]
        devices = Devices(4, n_nodes, redundant)
        found, default = balanced_placement(loads, routers, devices), default_placement(routers, devices)
        for place, load in enumerate(loads):
            assert of(load, found, place=place) <= of(load, default, place=place)


def test_a_layer_without_tokens_keeps_the_default_order():
    found = balanced_placement([np.zeros(4, int)], routers_like([0], 4, 2), Devices(2, 1, 2))
    assert found.experts[0].tolist() == [0, 1, 2, 3, 0, 1]
    assert found.objective == "balance"


def test_many_experts_are_balanced_to_a_percent():
    rng = np.random.default_rng(1)
    load = rng.gamma(1.0, 1000, 256).astype(int)
    found = balanced_placement([load], routers_like([0], 256, 8), Devices(32, 4, 32))
    assert of(load, found) < 1.01


def test_slots_that_the_devices_do_not_divide_are_refused():
    with pytest.raises(RoutestatError, match="divide the 8 slots"):
        balanced_placement([np.ones(8, int)], routers_like([0], 8, 2), Devices(3))
