"""Placements that give every device of a layer the same load, as far as possible."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.serving.placement.default_order import default_placement
from routestat.serving.placement.measures import device_loads, imbalance, node_loads
from routestat.serving.placement.packing import Items, pack
from routestat.serving.placement.placement import Devices, Placement, placed
from routestat.traces.metadata import Router

#: Most slots of a layer whose copies are also moved from one expert to another: with more it gains nothing. And the
#: experts that may lose a copy, those with the least load per copy afterwards.
MOST_MOVED, GIVERS = 128, 4


def balanced_placement(
    loads: Sequence[NDArray[np.integer]], routers: Sequence[Router], devices: Devices
) -> Placement:
    """Place the experts of each layer so that the most loaded device has little load.

    Redundant slots go, one after the other, to the expert with the highest load per copy. The copies are packed to
    nodes, and those of each node to its devices, each time longest processing time first with exchanges until none
    helps. In small layers, copies are moved to other experts while that helps. Where all that is no better than the
    default order, the layer keeps the default order.

    Parameters
    ----------
    loads : sequence of int array ``[expert]``
        For each router how often each expert was chosen.
    routers : sequence of Router
    devices : Devices

    Raises
    ------
    RoutestatError
        If the devices do not divide the slots of a layer.

    References
    ----------
    DeepSeek-AI (2025), Expert Parallelism Load Balancer, https://github.com/deepseek-ai/EPLB (the copies).
    """
    start = default_placement(routers, devices)
    found = placed(
        routers,
        devices,
        [
            _of_layer(np.asarray(load, np.float64), devices, devices.slots(router.n_experts))
            for load, router in zip(loads, routers, strict=True)
        ],
        "balance",
    )
    kept = [
        found.experts[place]
        if _unevenness(load, found, place) < _unevenness(load, start, place)
        else start.experts[place]
        for place, load in enumerate(loads)
    ]
    return Placement(tuple(routers), devices, tuple(kept), "balance")


def copies_of(load: NDArray[np.float64], n_slots: int, most: int) -> NDArray[np.int64]:
    """Divide slots among experts: each has one, and each further one goes to the highest load per copy.

    Parameters
    ----------
    load : float array ``[expert]``
    n_slots : int
        Between the number of experts and `most` times as many.
    most : int
        Copies of one expert.

    Returns
    -------
    int array ``[expert]``
    """
    copies = np.ones(len(load), np.int64)
    for _ in range(n_slots - len(load)):
        copies[np.argmax(np.where(copies < most, load / copies, -1.0))] += 1
    return copies


def _of_layer(load: NDArray[np.float64], devices: Devices, n_slots: int) -> NDArray[np.bool_]:
    """Return whether an expert is on a device ``[expert, device]``."""
    copies = copies_of(load, n_slots, devices.n_devices)
    best = _packed(load, copies, devices)
    if devices.redundant and n_slots <= MOST_MOVED:
        for _ in range(n_slots):
            moved = _with_a_copy_moved(load, best, devices)
            if moved is None:
                break
            best = moved
    return best


def _packed(load: NDArray[np.float64], copies: NDArray[np.int64], devices: Devices) -> NDArray[np.bool_]:
    expert = np.repeat(np.arange(len(load)), copies)
    items = Items(expert, (load / copies)[expert])
    per_node = devices.n_devices // devices.n_nodes
    node = pack(items, devices.n_nodes, per_node)
    found = np.zeros((len(load), devices.n_devices), bool)
    for number in range(devices.n_nodes):
        inside = node == number
        device = pack(Items(expert[inside], items.load[inside]), per_node)
        found[expert[inside], number * per_node + device] = True
    return found


def _with_a_copy_moved(
    load: NDArray[np.float64], on_device: NDArray[np.bool_], devices: Devices
) -> NDArray[np.bool_] | None:
    """Give an expert of the most loaded device a copy more and another one less; None where that lowers no load."""
    copies = on_device.sum(axis=1)
    by_device = (load / copies) @ on_device
    most = by_device.max() * (1 - 1e-9)
    takers = np.flatnonzero(on_device[:, np.argmax(by_device)] & (copies < devices.n_devices))
    givers = np.flatnonzero(copies > 1)
    givers = givers[np.argsort((load / np.maximum(copies - 1, 1))[givers], kind="stable")][:GIVERS]
    found = None
    for taker in takers.tolist():
        for giver in givers[givers != taker].tolist():
            changed = copies.copy()
            changed[taker] += 1
            changed[giver] -= 1
            placed_so = _packed(load, changed, devices)
            largest = ((load / changed) @ placed_so).max()
            if largest < most:
                found, most = placed_so, largest
    return found


def _unevenness(load: NDArray[np.integer], placement: Placement, place: int) -> tuple[float, float]:
    """Return the imbalance of the devices, and that of the nodes, which decides among equals."""
    return (
        float(imbalance(device_loads(load, placement, place))),
        float(imbalance(node_loads(load, placement, place))),
    )
