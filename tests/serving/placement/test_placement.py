"""Devices, slots and placements."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.placement.placement import Devices, Placement, placed
from routestat.traces.metadata import routers_like

ROUTERS = routers_like([3], 4, 2)


def test_slots_are_experts_and_redundant_ones():
    assert Devices(4, 2, 8).slots(64) == 72


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (Devices(3), "divide the 4 slots of a layer .4 experts and 0 redundant., got 3.*--redundant 2"),
        (Devices(4, 3), "nodes that divide the 4 devices, got 3"),
        (Devices(2, 1, 6), "at most 4 redundant slots .every expert on every device., got 6"),
        (Devices(0), "1 or more devices"),
        (Devices(2, 1, -2), "no negative number"),
    ],
)
def test_devices_that_no_engine_could_use_are_refused(devices, words):
    with pytest.raises(RoutestatError, match=words):
        devices.slots(4)


@pytest.mark.parametrize(
    ("experts", "words"),
    [
        ([0, 1, 2, 2], "every expert"),
        ([0, 1, 2], "every expert in 4 slots, got 3"),
    ],
)
def test_a_placement_without_an_expert_is_refused(experts, words):
    with pytest.raises(RoutestatError, match=f"L03: expected {words}"):
        Placement(ROUTERS, Devices(2), (np.array(experts),), "balance")


def test_an_expert_twice_on_a_device_is_refused():
    with pytest.raises(RoutestatError, match="L03: expected an expert once on a device"):
        Placement(ROUTERS, Devices(2, 1, 2), (np.array([0, 0, 1, 1, 2, 3]),), "balance")


def test_where_experts_are_and_what_they_serve():
    placement = Placement(ROUTERS, Devices(4, 2, 4), (np.array([0, 1, 0, 2, 3, 2, 3, 2]),), "balance")
    assert placement.on_device(0).astype(int).tolist() == [
        [1, 1, 0, 0],
        [1, 0, 0, 0],
        [0, 1, 1, 1],
        [0, 0, 1, 1],
    ]
    assert placement.in_node(0).astype(int).tolist() == [[1, 0], [1, 0], [1, 1], [0, 1]]
    assert placement.shares(0)[2] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])


def test_a_placement_comes_back_from_where_its_experts_are():
    placement = Placement(ROUTERS, Devices(2, 1, 2), (np.array([0, 1, 3, 0, 2, 3]),), "balance")
    again = placed(ROUTERS, placement.devices, [placement.on_device(0)], "balance")
    assert again.experts[0].tolist() == placement.experts[0].tolist()
    assert not again.experts[0].flags.writeable
