"""vLLM: a list of rows, the expert of each slot of every layer with experts, in JSON. No release reads it yet.

An open proposal (vllm-project/vllm, pull request 49572) adds ``eplb_config.initial_expert_map_path`` for this form. It
checks the dimensions, the range of ids, and that each expert is there.
"""

from collections.abc import Mapping

from routestat.serving.exports.exported import Exported
from routestat.serving.exports.json_rows import json_rows
from routestat.serving.exports.layer_rows import notes_on_layers, rows_of_experts

ENGINE = "vLLM"


def vllm(exported: Exported) -> Mapping[str, bytes]:
    """Return the JSON of the proposed option.

    Raises
    ------
    RoutestatError
        If there is no placement, several routers are in a layer, or they differ in their number of experts.
    """
    rows = [row.tolist() for row in rows_of_experts(exported, ENGINE).values()]
    return {"vllm-expert-map.json": (json_rows(rows) + "\n").encode()}


def notes(exported: Exported) -> tuple[str, ...]:
    """Return words on layers that the trace lacks."""
    return notes_on_layers(
        exported,
        "they are listed in the default order",
        "they are not listed, so that the file has too few rows if one of them has experts",
    )
