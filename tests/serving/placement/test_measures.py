"""Balance and affinity, counted by hand and against tokens one by one."""

import numpy as np
import pytest

from routestat.serving.placement.measures import device_loads, imbalance, node_loads, together
from routestat.serving.placement.placement import Devices, Placement
from routestat.traces.metadata import routers_like
from tests.oracle import placement_oracle as oracle

ROUTERS = routers_like([0, 1], 4, 2)
#: Device 0 has experts 0, 1, 2 and device 1 has 0, 3, 2; in layer 1 it is 0, 1, 3 and 1, 2, 3.
COPIED = Placement(
    ROUTERS, Devices(2, 1, 2), (np.array([0, 1, 2, 0, 3, 2]), np.array([0, 1, 3, 1, 2, 3])), "x"
)


def test_copies_divide_the_load_evenly():
    assert device_loads(np.array([10, 4, 2, 8]), COPIED, 0).tolist() == [10.0, 14.0]
    assert float(imbalance(device_loads(np.array([10, 4, 2, 8]), COPIED, 0))) == pytest.approx(14 / 12)


def test_loads_of_units_keep_their_axis():
    loads = np.array([[10, 4, 2, 8], [0, 0, 0, 1]])
    assert device_loads(loads, COPIED, 0).tolist() == [[10.0, 14.0], [0.0, 1.0]]


def test_nodes_have_the_load_of_their_devices():
    placement = Placement(ROUTERS, Devices(4, 2), (np.array([2, 0, 3, 1]), np.arange(4)), "x")
    assert node_loads(np.array([1, 2, 4, 8]), placement, 0).tolist() == [5.0, 10.0]


def test_nothing_has_no_balance():
    assert np.isnan(imbalance(np.zeros(3)))


def test_a_transition_stays_where_any_copies_are_together():
    found = together(COPIED, 0).astype(int).tolist()
    # Expert 1 is on device 0 only, where layer 1 lacks expert 2; expert 3 on device 1, which lacks expert 0.
    assert found == [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]]


@pytest.mark.parametrize("nodes", [False, True])
def test_sums_are_those_of_the_tokens(nodes):
    rng = np.random.default_rng(3)
    routers = routers_like(range(3), 6, 2)
    placement = Placement(
        routers,
        Devices(4, 2, 2),
        (
            np.array([0, 1, 2, 3, 4, 5, 0, 2]),
            np.array([5, 4, 3, 2, 1, 0, 5, 3]),
            np.array([1, 3, 5, 1, 0, 2, 4, 5]),
        ),
        "x",
    )
    choices = [[rng.choice(6, 2, replace=False).tolist() for _ in range(50)] for _ in range(3)]
    loads = [np.bincount(np.ravel(layer), minlength=6) for layer in choices]
    found = np.mean([imbalance(device_loads(load, placement, place)) for place, load in enumerate(loads)])
    assert found == pytest.approx(oracle.imbalance_of_tokens(placement, choices))
    stay = total = 0
    for place in range(2):
        table = np.zeros((6, 6), int)
        for source, target in zip(choices[place], choices[place + 1], strict=True):
            table[np.ix_(source, target)] += 1
        stay, total = stay + table[together(placement, place, nodes=nodes)].sum(), total + table.sum()
    where = oracle.nodes_with if nodes else oracle.devices_with
    assert stay / total == pytest.approx(oracle.affinity_of_tokens(placement, choices, where))
