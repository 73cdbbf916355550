"""What formats with one row for each layer of the model have in common: their checks, and the rows of other layers.

Such a file holds rows of one width, by the model's own numbers of layers. The trace may lack layers of the model: dense
ones, and layers with experts that were not recorded. The latter are known only from the model's configuration.
"""

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.serving.exports.exported import Exported
from routestat.serving.placement.default_order import default_row
from routestat.serving.placement.placement import Placement
from routestat.traces.number_ranges import span


def require_one_router(exported: Exported, engine: str) -> None:
    """Refuse layers with several routers.

    Raises
    ------
    RoutestatError
        If the format has one entry for a layer, and a layer has two routers.
    """
    layers = [router.layer for router in exported.routers]
    if several := sorted({layer for layer in layers if layers.count(layer) > 1}):
        raise RoutestatError(
            f"{engine}: expected one router in a layer, found several in {layers_of(several)}; the format has one "
            "entry for each layer"
        )


def require_one_width(exported: Exported, engine: str) -> int:
    """Return the number of experts that all routers have.

    Raises
    ------
    RoutestatError
        If a layer has several routers, or routers differ in their number of experts.
    """
    require_one_router(exported, engine)
    by_width: dict[int, list[int]] = {}
    for router in exported.routers:
        by_width.setdefault(router.n_experts, []).append(router.layer)
    if len(by_width) > 1:
        found = "; ".join(f"{width} in {layers_of(layers)}" for width, layers in by_width.items())
        raise RoutestatError(
            f"{engine}: expected the same number of experts in all layers, found {found}; the format has rows of "
            "one length, so export layers of one size by --layers"
        )
    return exported.routers[0].n_experts


def require_placement(exported: Exported, engine: str) -> Placement:
    """Return the placement.

    Raises
    ------
    RoutestatError
        If there is none.
    """
    if exported.placement is None:
        raise RoutestatError(
            f"{engine}: expected a placement of experts on devices, got none; name --devices"
        )
    return exported.placement


def rows_of_experts(exported: Exported, engine: str) -> dict[int, NDArray[np.int64]]:
    """Return the expert of each slot, by layer.

    Layers with experts that were not traced are in the default order.

    Raises
    ------
    RoutestatError
        If there is no placement, several routers are in a layer, or they differ in their number of experts.
    """
    placement = require_placement(exported, engine)
    n_experts = require_one_width(exported, engine)
    slots = placement.devices.slots(n_experts)
    traced = {router.layer: row for router, row in zip(exported.routers, placement.experts, strict=True)}
    layers = sorted({*traced, *(exported.moe_layers or ())})
    return {layer: traced.get(layer, default_row(n_experts, slots)) for layer in layers}


def untraced_layers(exported: Exported) -> tuple[int, ...]:
    """Return the layers that have experts, as far as this is known, but no router in the trace."""
    return tuple(sorted(set(exported.moe_layers or ()) - {router.layer for router in exported.routers}))


def notes_on_layers(exported: Exported, untraced: str, dense: str) -> tuple[str, ...]:
    """Return words on layers of the model that the trace lacks.

    Parameters
    ----------
    exported : Exported
    untraced : str
        What the file holds for layers with experts that were not traced.
    dense : str
        What it holds for layers that were taken as dense.
    """
    if missing := untraced_layers(exported):
        return (f"no router in the trace at {layers_of(missing)}, where the model has experts: {untraced}",)
    traced = {router.layer for router in exported.routers}
    absent = [layer for layer in range(exported.n_hidden_layers) if layer not in traced]
    if exported.moe_layers is None and absent:
        return (
            f"no router in the trace at {layers_of(absent)}, taken as dense: {dense}; --model-config says which "
            "layers have experts",
        )
    return ()


def layers_of(layers: tuple[int, ...] | list[int]) -> str:
    """Return ``layer 3`` or ``layers 0-2, 7``."""
    return f"layer{'s' if len(layers) > 1 else ''} {span(layers)}"
