"""vLLM-Ascend's JSON counts layers with experts from 0."""

import json

import numpy as np

from routestat.serving.exports.registry import export_of
from routestat.serving.placement.placement import Devices, Placement
from routestat.traces.metadata import routers_like
from tests.serving.exports.cases import with_routers


def test_the_file_is_this():
    routers = routers_like((3,), 4, 2)
    placement = Placement(routers, Devices(2), (np.array([3, 0, 1, 2]),), "balance")
    (content,) = export_of("vllm-ascend").files(with_routers(routers, 5, placement=placement)).values()
    assert json.loads(content) == {
        "moe_layer_count": 1,
        "layer_list": [
            {
                "layer_id": 0,
                "device_count": 2,
                "device_list": [
                    {"device_id": 0, "device_expert": [3, 0]},
                    {"device_id": 1, "device_expert": [1, 2]},
                ],
            }
        ],
    }
