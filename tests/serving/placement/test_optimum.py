"""Optima of few experts, against all placements and against integer programming of another form."""

from itertools import product

import numpy as np
import pytest

from routestat.serving.placement.measures import device_loads, imbalance, together
from routestat.serving.placement.optimum import NEAR, optimal_affinity, optimal_balance, placements_of_layer
from routestat.serving.placement.placement import Devices, placed
from routestat.traces.metadata import Router, routers_like
from tests.oracle import placement_oracle as oracle


@pytest.mark.parametrize(
    ("n_experts", "devices", "expected"),
    [
        (4, Devices(2), 6),
        (6, Devices(3), 90),
        (8, Devices(4), 2520),
        (2, Devices(2), 2),
        # Either device may lack one of the experts, but not both the same one.
        (3, Devices(2, 1, 1), 6),
        (3, Devices(2, 1, 3), 1),
    ],
)
def test_all_placements_of_a_layer_are_counted(n_experts, devices, expected):
    found = placements_of_layer(n_experts, devices, 3000)
    assert len(np.unique(found, axis=0)) == len(found) == expected
    assert found.any(axis=2).all()
    assert (found.sum(axis=1) == devices.slots(n_experts) // devices.n_devices).all()


def test_too_many_placements_are_not_listed():
    assert placements_of_layer(8, Devices(4), 2519) is None
    assert placements_of_layer(64, Devices(8), 3000) is None


@pytest.mark.parametrize(("n_experts", "n_devices"), [(4, 2), (6, 3), (8, 2)])
def test_balance_is_that_of_the_best_division(n_experts, n_devices):
    rng = np.random.default_rng(n_experts)
    loads = [rng.gamma(1.0, 1000, n_experts).astype(int) for _ in range(3)]
    found = optimal_balance(loads, routers_like(range(3), n_experts, 2), Devices(n_devices))
    for place, load in enumerate(loads):
        own = float(imbalance(device_loads(load, found, place)))
        assert own == pytest.approx(oracle.least_imbalance(load.tolist(), n_devices), rel=NEAR)


@pytest.mark.parametrize("devices", [Devices(2, 1, 2), Devices(2, 1, 4), Devices(3, 1, 2)])
def test_balance_with_copies_is_the_best_of_all_placements(devices):
    rng = np.random.default_rng(devices.redundant)
    routers = routers_like([0], 4, 2)
    every = placements_of_layer(4, devices, 3000)
    for _ in range(3):
        load = rng.gamma(0.7, 1000, 4).astype(int)
        shares = every / every.sum(axis=2, keepdims=True)
        best = imbalance(np.einsum("e,ped->pd", load.astype(float), shares)).min()
        found = optimal_balance([load], routers, devices)
        assert float(imbalance(device_loads(load, found, 0))) == pytest.approx(best, rel=NEAR)


def staying(tables, placement):
    return sum(float(table[together(placement, place)].sum()) for place, table in enumerate(tables))


@pytest.mark.parametrize(("n_experts", "n_devices", "n_layers"), [(4, 2, 4), (6, 3, 2)])
def test_affinity_is_that_of_integer_programming(n_experts, n_devices, n_layers):
    rng = np.random.default_rng(n_devices)
    tables = [rng.integers(0, 100, (n_experts, n_experts)) for _ in range(n_layers - 1)]
    found = optimal_affinity(tables, routers_like(range(n_layers), n_experts, 2), Devices(n_devices))
    assert staying(tables, found) == pytest.approx(oracle.most_staying(tables, n_devices))


@pytest.mark.parametrize("devices", [Devices(2), Devices(2, 1, 2)])
def test_affinity_is_the_best_of_all_placements_of_all_layers(devices):
    rng = np.random.default_rng(1)
    routers = (Router(0, 4, 2), Router(1, 4, 2), Router(2, 2, 1))
    tables = [rng.integers(0, 100, (4, 4)), rng.integers(0, 100, (4, 2))]
    every = [placements_of_layer(router.n_experts, devices, 3000) for router in routers]
    best = max(staying(tables, placed(routers, devices, one, "affinity")) for one in product(*every))
    assert staying(tables, optimal_affinity(tables, routers, devices)) == best


def test_what_is_too_large_has_no_known_optimum():
    routers = routers_like([0, 1], 64, 6)
    assert optimal_balance([np.ones(64, int)] * 2, routers, Devices(8)) is None
    assert optimal_affinity([np.ones((64, 64), int)], routers, Devices(8)) is None
    assert optimal_affinity([np.ones((4, 4), int)], routers_like([0, 1], 4, 2), Devices(4, 2)) is None
