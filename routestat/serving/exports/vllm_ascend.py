"""vLLM-Ascend's static placement: JSON with the experts of every device, by layer with experts counted from 0.

``layer_id`` is not the model's number: the first layer with experts is 0. The engine stacks the lists of all devices
and layers into one array, so that they have one length.
"""

import json
from collections.abc import Mapping

from routestat.serving.exports.exported import Exported
from routestat.serving.exports.json_rows import json_rows
from routestat.serving.exports.layer_rows import notes_on_layers, require_placement, rows_of_experts

ENGINE = "vLLM-Ascend"


def vllm_ascend(exported: Exported) -> Mapping[str, bytes]:
    """Return the JSON of ``eplb_config.expert_map_path``.

    Raises
    ------
    RoutestatError
        If there is no placement, several routers are in a layer, or they differ in their number of experts.
    """
    rows = rows_of_experts(exported, ENGINE)
    n_devices = require_placement(exported, ENGINE).devices.n_devices
    layers = [
        {
            "layer_id": place,
            "device_count": n_devices,
            "device_list": [
                {"device_id": device, "device_expert": experts}
                for device, experts in enumerate(row.reshape(n_devices, -1).tolist())
            ],
        }
        for place, row in enumerate(rows.values())
    ]
    content = f'{{"moe_layer_count": {json.dumps(len(layers))}, "layer_list": {json_rows(layers)}}}\n'
    return {"vllm-ascend-expert-map.json": content.encode()}


def notes(exported: Exported) -> tuple[str, ...]:
    """Return words on layers that the trace lacks."""
    return notes_on_layers(
        exported,
        "they are counted, in the default order",
        "they are not counted, so that layer_id is wrong if one of them has experts",
    )
