"""SGLang's initial placement: JSON whose only key is ``physical_to_logical_map``, one row for each hidden layer.

The engine passes all keys of the file to one function, so any other key ends the start. A row has one expert for each
slot, and all rows are of one length, those of dense layers too: these are not read, and hold the default order. The
device of a slot is slot // (slots // size of expert parallelism).
"""

from collections.abc import Mapping

from routestat.serving.exports.exported import Exported
from routestat.serving.exports.json_rows import json_rows
from routestat.serving.exports.layer_rows import (
    notes_on_layers,
    require_one_width,
    require_placement,
    rows_of_experts,
)
from routestat.serving.placement.default_order import default_row

ENGINE = "SGLang"


def sglang(exported: Exported) -> Mapping[str, bytes]:
    """Return the JSON of ``--init-expert-location``.

    Raises
    ------
    RoutestatError
        If there is no placement, several routers are in a layer, or they differ in their number of experts.
    """
    rows = rows_of_experts(exported, ENGINE)
    n_experts = require_one_width(exported, ENGINE)
    dense = default_row(n_experts, require_placement(exported, ENGINE).devices.slots(n_experts))
    every = [rows.get(layer, dense).tolist() for layer in range(exported.n_hidden_layers)]
    content = f'{{"physical_to_logical_map": {json_rows(every)}}}\n'
    return {"sglang-expert-location.json": content.encode()}


def notes(exported: Exported) -> tuple[str, ...]:
    """Return words on rows of layers that the trace lacks."""
    return notes_on_layers(
        exported,
        "their rows are the default order",
        "their rows are the default order, which SGLang does not read at dense layers",
    )
