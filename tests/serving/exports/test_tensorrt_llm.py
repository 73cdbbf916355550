"""TensorRT-LLM's YAML, as text."""

import numpy as np

from routestat.serving.exports.registry import export_of
from routestat.serving.placement.placement import Devices, Placement
from routestat.traces.metadata import routers_like
from tests.serving.exports.cases import with_routers


def test_the_file_is_this():
    routers = routers_like((3, 10), 4, 2)
    rows = (np.array([3, 0, 1, 2]), np.array([0, 2, 1, 3]))
    exported = with_routers(routers, 11, placement=Placement(routers, Devices(2), rows, "balance"))
    assert export_of("tensorrt-llm").files(exported)["tensorrt-llm-load-balancer.yaml"].decode() == (
        "num_slots: 4\n"
        "initial_global_assignments:\n"
        "  3: [3, 0, 1, 2]\n"
        "  10: [0, 2, 1, 3]\n"
        "layer_updates_per_iter: 0\n"
    )
