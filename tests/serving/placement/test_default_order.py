"""The order in which engines place experts."""

import pytest

from routestat.errors import RoutestatError
from routestat.serving.placement.default_order import default_placement
from routestat.serving.placement.placement import Devices
from routestat.traces.metadata import Router, routers_like


def test_experts_are_in_the_order_of_their_ids_and_the_first_ones_again():
    found = default_placement(routers_like([1, 2], 6, 2), Devices(4, 1, 2))
    assert [experts.tolist() for experts in found.experts] == [[0, 1, 2, 3, 4, 5, 0, 1]] * 2
    assert found.objective == "default"


@pytest.mark.parametrize("redundant", [0, 8, 24, 56])
def test_no_expert_is_twice_on_a_device_however_many_slots_there_are(redundant):
    default_placement(routers_like([0], 8, 2), Devices(8, 2, redundant))


def test_routers_of_different_sizes_have_slots_of_their_own():
    found = default_placement((Router(0, 4, 2), Router(1, 8, 2)), Devices(4))
    assert [len(experts) for experts in found.experts] == [4, 8]


def test_a_router_that_the_devices_do_not_divide_is_refused():
    with pytest.raises(RoutestatError, match="divide the 6 slots"):
        default_placement((Router(0, 4, 2), Router(1, 6, 2)), Devices(4))
