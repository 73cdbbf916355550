"""The best placement of few experts, which shows how far the heuristics are from it."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from routestat.serving.placement.placement import Devices, Placement, placed
from routestat.traces.metadata import Router

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Most variables of a layer whose balance is optimised by integer programming (experts times devices times numbers of
#: copies), the nodes of its search tree, and how near to the optimum the largest load is to be. A limit of time would
#: make results depend on the machine.
MOST_VARIABLES, MOST_NODES, NEAR = 128, 500, 1e-4
#: Most placements of a layer that are compared with all those of the next layer; with copies this costs more.
MOST_PLACEMENTS, MOST_WITH_COPIES = 3000, 600


def optimal_balance(
    loads: Sequence[NDArray[np.integer]], routers: Sequence[Router], devices: Devices
) -> Placement | None:
    """Return the placement with the least load on the most loaded device, layer by layer, by integer programming.

    The load is within `NEAR` of the least one.

    Parameters
    ----------
    loads : sequence of int array ``[expert]``
    routers : sequence of Router
    devices : Devices
        Nodes do not matter.

    Returns
    -------
    Placement, or None where a layer has too many experts or its optimum was not proved.
    """
    if any(variables(router.n_experts, devices) > MOST_VARIABLES for router in routers):
        return None
    found = []
    for load, router in zip(loads, routers, strict=True):
        own = _least_load(np.asarray(load, np.float64), devices, devices.slots(router.n_experts))
        if own is None:
            return None
        found.append(own)
    return placed(routers, devices, found, "balance")


def variables(n_experts: int, devices: Devices) -> int:
    """Return the number of variables that say where the experts of a layer are."""
    return n_experts * devices.n_devices * min(devices.n_devices, 1 + devices.redundant)


def optimal_affinity(
    transitions: Sequence[NDArray[np.integer]], routers: Sequence[Router], devices: Devices
) -> Placement | None:
    """Return the placement with which most transitions stay on their device, by dynamic programming over the layers.

    All placements of a layer are compared with all those of the next one. Which device is which does not matter, so
    that the best value of the layers so far is the same for placements that differ only in that.

    Parameters
    ----------
    transitions : sequence of int array ``[source expert, target expert]``
    routers : sequence of Router
    devices : Devices
        In one node.

    Returns
    -------
    Placement, or None where a layer has too many placements.
    """
    most = MOST_WITH_COPIES if devices.redundant else MOST_PLACEMENTS
    possible: dict[int, Flags | None] = {}
    for router in routers:
        if router.n_experts not in possible:
            possible[router.n_experts] = placements_of_layer(router.n_experts, devices, most)
    every = [possible[router.n_experts] for router in routers]
    layers = [one for one in every if one is not None]
    if len(layers) < len(every) or devices.n_nodes > 1:
        return None
    value = [np.zeros(len(layers[0]))]
    for place, table in enumerate(transitions):
        alike, which = _up_to_devices(layers[place + 1])
        stays = _staying(layers[place], layers[place + 1][alike], np.asarray(table, np.float64))
        value.append((value[place][:, None] + stays).max(axis=0)[which])
    chosen = [int(np.argmax(value[-1]))]
    for place in range(len(transitions) - 1, -1, -1):
        after = layers[place + 1][chosen[-1]][None]
        stays = _staying(layers[place], after, np.asarray(transitions[place], np.float64))[:, 0]
        chosen.append(int(np.argmax(value[place] + stays)))
    best = [layer[at] for layer, at in zip(layers, reversed(chosen), strict=True)]
    return placed(routers, devices, best, "affinity")


def placements_of_layer(n_experts: int, devices: Devices, most: int) -> Flags | None:
    """Return all placements of a layer ``[placement, expert, device]``, or None if there are more than `most`."""
    places = devices.slots(n_experts) // devices.n_devices
    # Without a copy of anything the number is known before it is counted.
    if math.comb(n_experts, places) > most:
        return None
    rows = []
    for number, row in enumerate(_fillings(n_experts, places, devices.n_devices, ())):
        if number >= most:
            return None
        rows.append(row)
    found = np.zeros((len(rows), n_experts, devices.n_devices), bool)
    for number, row in enumerate(rows):
        for device, experts in enumerate(row):
            found[number, list(experts), device] = True
    return found


def _fillings(
    n_experts: int, places: int, left: int, before: tuple[tuple[int, ...], ...]
) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Yield the experts of each device, for all ways in which every expert is somewhere."""
    missing = set(range(n_experts)).difference(*before)
    if len(missing) > left * places:
        return
    if not left:
        yield before
        return
    # Without a place to spare only experts that are nowhere yet are chosen.
    free = sorted(missing) if len(missing) == left * places else range(n_experts)
    for experts in combinations(free, places):
        yield from _fillings(n_experts, places, left - 1, (*before, experts))


def _up_to_devices(layer: Flags) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return one of each kind of placement that differ in the devices' numbers only, and the kind of each."""
    weight = 2.0 ** np.arange(layer.shape[1])
    kind = np.sort(np.einsum("ped,e->pd", layer, weight), axis=1)
    _, first, which = np.unique(kind, axis=0, return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def _staying(source: Flags, target: Flags, table: Floats) -> Floats:
    """Return the transitions that stay ``[placement of the source, placement of the target]``."""
    if (source.sum(axis=2) == 1).all() and (target.sum(axis=2) == 1).all():
        reached = np.einsum("psd,st->ptd", source, table, optimize=True)
        return np.asarray(reached.reshape(len(source), -1) @ target.reshape(len(target), -1).T)
    wide, found = target.astype(np.float32), np.zeros((len(source), len(target)))
    for number, own in enumerate(source.astype(np.float32)):
        # A transition counts once, however many devices have both experts.
        found[number] = np.tensordot(np.einsum("sd,ptd->pst", own, wide, optimize=True) > 0, table, axes=2)
    return found


def _least_load(load: Floats, devices: Devices, n_slots: int) -> Flags | None:
    """Place one layer by integer programming; None unless the optimum is proved.

    A variable says that an expert with r copies has one on a device, and adds 1/r of its load there. Others say that
    an expert has r copies. The last variable is the largest load.
    """
    n_experts, n_devices = len(load), devices.n_devices
    numbers = range(1, min(n_devices, 1 + n_slots - n_experts) + 1)
    shape = (n_experts, len(numbers), n_devices)
    on = np.arange(math.prod(shape)).reshape(shape)
    has = on.size + np.arange(n_experts * len(numbers)).reshape(n_experts, -1)
    top = on.size + has.size
    rows: list[tuple[NDArray[np.int64], Floats, float, float]] = []
    scale = max(float(load.sum()), 1.0)
    for expert in range(n_experts):
        rows.append((has[expert], np.ones(len(numbers)), 1.0, 1.0))
        for which, number in enumerate(numbers):
            own = np.append(on[expert, which], has[expert, which])
            rows.append((own, np.append(np.ones(n_devices), -number), 0.0, 0.0))
        for device in range(n_devices):
            rows.append((on[expert, :, device], np.ones(len(numbers)), 0.0, 1.0))
    share = (load[:, None] / np.array(numbers)).reshape(-1) / scale
    for device in range(n_devices):
        own = on[:, :, device].reshape(-1)
        rows.append((own, np.ones(len(own)), n_slots // n_devices, n_slots // n_devices))
        rows.append((np.append(own, top), np.append(share, -1.0), -np.inf, 0.0))
    bounds = Bounds(np.zeros(top + 1), np.append(np.ones(top), np.inf))
    bounds.lb[top] = 1.0 / n_devices
    column = np.concatenate([own for own, *_ in rows])
    row = np.repeat(np.arange(len(rows)), [len(own) for own, *_ in rows])
    matrix = coo_array((np.concatenate([values for _, values, *_ in rows]), (row, column)))
    low, high = (np.array([one[at] for one in rows], np.float64) for at in (2, 3))
    solved = milp(
        np.append(np.zeros(top), 1.0),
        constraints=LinearConstraint(matrix.tocsr(), low, high),
        integrality=np.append(np.ones(top), 0),
        bounds=bounds,
        options={"node_limit": MOST_NODES, "mip_rel_gap": NEAR},
    )
    if solved.status != 0:
        return None
    return np.asarray(solved.x[: on.size].reshape(shape).sum(axis=1) > 0.5)
