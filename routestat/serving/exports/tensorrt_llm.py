"""TensorRT-LLM's static load balancer: YAML with ``num_slots`` and the expert of each slot of every layer with experts.

The engine accepts these three keys and no other. It looks layers up by the model's own number and ends where a layer
with experts is missing; ``layer_updates_per_iter: 0`` keeps the placement as it is.
"""

from collections.abc import Mapping

from routestat.serving.exports.exported import Exported
from routestat.serving.exports.layer_rows import (
    notes_on_layers,
    require_one_width,
    require_placement,
    rows_of_experts,
)

ENGINE = "TensorRT-LLM"


def tensorrt_llm(exported: Exported) -> Mapping[str, bytes]:
    """Return the YAML of ``moe_config.load_balancer``.

    Raises
    ------
    RoutestatError
        If there is no placement, several routers are in a layer, or they differ in their number of experts.
    """
    rows = rows_of_experts(exported, ENGINE)
    slots = require_placement(exported, ENGINE).devices.slots(require_one_width(exported, ENGINE))
    lines = [f"num_slots: {slots}", "initial_global_assignments:"]
    lines += [f"  {layer}: [{', '.join(map(str, row.tolist()))}]" for layer, row in rows.items()]
    lines.append("layer_updates_per_iter: 0")
    return {"tensorrt-llm-load-balancer.yaml": ("\n".join(lines) + "\n").encode()}


def notes(exported: Exported) -> tuple[str, ...]:
    """Return words on layers that the trace lacks."""
    return notes_on_layers(
        exported,
        "they are listed in the default order",
        "they are not listed, and TensorRT-LLM ends with an error if one of them has experts",
    )
