"""SGLang's JSON: its only key, and a row for each hidden layer."""

import json

import numpy as np

from routestat.serving.exports.registry import export_of
from routestat.serving.placement.placement import Devices, Placement
from routestat.traces.metadata import routers_like
from tests.serving.exports.cases import with_routers


def test_the_file_is_this():
    routers = routers_like((1,), 4, 2)
    placement = Placement(routers, Devices(2, 1, 2), (np.array([3, 0, 1, 2, 3, 1]),), "balance")
    (content,) = export_of("sglang").files(with_routers(routers, 3, placement=placement)).values()
    assert json.loads(content) == {
        "physical_to_logical_map": [[0, 1, 2, 3, 0, 1], [3, 0, 1, 2, 3, 1], [0, 1, 2, 3, 0, 1]]
    }
    assert content.count(b"\n") == 5
