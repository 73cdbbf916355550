"""Placements that keep tokens on their device, or in their node, from layer to layer."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.progress import Tick, silent
from routestat.serving.placement.affine_combination import recombined
from routestat.serving.placement.affine_copies import NODE_WEIGHT, improved, neighbours, with_copies
from routestat.serving.placement.affine_starts import LayerChain, first_divisions, one_hot
from routestat.serving.placement.default_order import default_placement
from routestat.serving.placement.measures import together
from routestat.serving.placement.placement import Devices, Placement, placed
from routestat.traces.metadata import Router

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Divisions from which the search begins, beside the order of the ids; of random ones the fewest and the most.
SPECTRAL_STARTS, RANDOM_STARTS = 3, (2, 24)
#: Cells of the tables times bins times random starts that are worth their time.
WORK = 1 << 25
#: Divisions whose layers are combined.
MOST_COMBINED = 8
#: Most rounds through all layers; the search mostly ends by itself after a few.
ROUNDS = 100


def affine_placement(
    transitions: Sequence[NDArray[np.integer]],
    routers: Sequence[Router],
    devices: Devices,
    rng: np.random.Generator,
    tick: Tick = silent,
) -> Placement:
    """Place experts so that many transitions stay on their device; with several nodes, in their node first.

    With the neighbours of a layer placed, its best placement is an assignment of experts to slots, which is solved
    exactly. Layers are assigned again, one after the other, until no more transitions stay. That begins from several
    divisions of the experts, and what is found is combined layer by layer in the best way. Nodes are searched as if
    they were devices; then the experts of each node are divided among its devices alone, so that no transition leaves
    its node for that. Redundant slots hold the copies with which most further transitions stay. Where the default
    order is no worse, the placement is the default order.

    Parameters
    ----------
    transitions : sequence of int array ``[source expert, target expert]``
        For each two consecutive routers how often a token chose both experts.
    routers : sequence of Router
        In order of depth.
    devices : Devices
    rng : numpy.random.Generator
    tick : callable(what, done, total)

    Raises
    ------
    RoutestatError
        If the devices do not divide the slots of a layer, or there are not as many tables as pairs of routers.
    """
    start = default_placement(routers, devices)
    shapes = [(a.n_experts, b.n_experts) for a, b in pairwise(routers)]
    if (found := [table.shape for table in transitions]) != shapes:
        raise RoutestatError(
            f"transitions: expected tables of {shapes}, got {found}; name the routers in order"
        )
    if not shapes:
        return Placement(start.routers, devices, start.experts, "affinity")
    tables = tuple(np.asarray(table, np.float64) for table in transitions)
    sizes = tuple(router.n_experts for router in routers)
    places = tuple(devices.slots(n) // devices.n_devices for n in sizes)
    bins = _devices_of(tables, sizes, places, devices, rng, tick)
    on_device = [one_hot(own, devices.n_devices).astype(bool) for own in bins]
    if devices.redundant:
        for layer, own in enumerate(places):
            beside = neighbours(tables, on_device, layer, devices.n_nodes)
            on_device[layer] = with_copies(on_device[layer], own, beside)
        on_device = improved(tables, on_device, places, devices.n_nodes)
    made = placed(routers, devices, on_device, "affinity")
    if staying(tables, made) > staying(tables, start):
        return made
    return Placement(start.routers, devices, start.experts, "affinity")


def staying(transitions: Sequence[NDArray[np.number]], placement: Placement) -> float:
    """Return how many transitions stay on their device; with several nodes plus `NODE_WEIGHT` for each in its node."""
    total = 0.0
    for place, table in enumerate(transitions):
        total += float(table[together(placement, place)].sum())
        if placement.devices.n_nodes > 1:
            total += NODE_WEIGHT * float(table[together(placement, place, nodes=True)].sum())
    return total


def divided(chain: LayerChain, rng: np.random.Generator, tick: Tick = silent) -> list[Integers]:
    """Divide the experts of all layers into bins so that many transitions stay in theirs ``[layer][expert]``.

    Parameters
    ----------
    chain : LayerChain
    rng : numpy.random.Generator
    tick : callable(what, done, total)
    """
    if chain.n_bins == 1:
        return [np.zeros(n, np.int64) for n in chain.sizes]
    starts = first_divisions(chain, rng, SPECTRAL_STARTS, _random_starts(chain))
    found = []
    for number, start in enumerate(starts, start=1):
        found.append(_searched(chain, start()))
        tick("placing experts", number, len(starts))
    found.sort(key=chain.staying, reverse=True)
    found = found[:MOST_COMBINED]
    while True:
        best = _searched(chain, recombined(chain, found))
        if not chain.staying(best) > chain.staying(found[0]):
            return found[0]
        found = [best, *found[: MOST_COMBINED - 1]]


def _random_starts(chain: LayerChain) -> int:
    """Return how many random starts are worth their time: many where a search takes milliseconds."""
    work = sum(table.size for table in chain.transitions) * chain.n_bins
    return int(np.clip(WORK // max(work, 1), *RANDOM_STARTS))


def _devices_of(
    tables: tuple[Floats, ...],
    sizes: tuple[int, ...],
    places: tuple[int, ...],
    devices: Devices,
    rng: np.random.Generator,
    tick: Tick,
) -> list[Integers]:
    """Return the device of one copy of each expert, for every layer: nodes first, then the devices of each."""
    per_node = devices.n_devices // devices.n_nodes
    in_node = tuple(own * per_node for own in places)
    node = divided(LayerChain(tables, sizes, in_node, devices.n_nodes), rng, tick)
    found = [own * per_node for own in node]
    if per_node == 1:
        return found
    for number in range(devices.n_nodes):
        inside = [np.flatnonzero(own == number) for own in node]
        if not all(map(len, inside)):
            # Copies leave space enough for all experts of a layer in the other nodes, and then fill this one.
            for layer, own in enumerate(inside):
                found[layer][own] += np.arange(len(own)) % per_node
            continue
        parts = tuple(
            table[np.ix_(source, target)]
            for table, source, target in zip(tables, inside[:-1], inside[1:], strict=True)
        )
        chain = LayerChain(parts, tuple(map(len, inside)), places, per_node)
        for layer, own in enumerate(divided(chain, rng, tick)):
            found[layer][inside[layer]] += own
    return found


def _searched(chain: LayerChain, bins: list[Integers]) -> list[Integers]:
    """Assign layers again until no more transitions stay."""
    bins = list(bins)
    open_ = np.ones(len(bins), bool)
    order = [*range(len(bins)), *range(len(bins) - 2, 0, -1)]
    for _ in range(ROUNDS):
        for layer in order:
            if not open_[layer]:
                continue
            open_[layer] = False
            gain = chain.gain(layer, bins)
            own = chain.assign(layer, gain)
            expert = np.arange(len(own))
            if gain[expert, own].sum() > gain[expert, bins[layer]].sum():
                bins[layer] = own
                open_[[at for at in (layer - 1, layer + 1) if 0 <= at < len(bins)]] = True
        if not open_.any():
            aligned = recombined(chain, [bins])
            if not chain.staying(aligned) > chain.staying(bins):
                break
            bins, open_[:] = aligned, True
    return bins
