"""Models, placements and tokens for the tests of exports."""

import numpy as np

from routestat.counting.document_sample import take_sample
from routestat.serving.exports.exported import Exported
from routestat.serving.placement.placement import Devices, Placement
from routestat.serving.steps import make_steps
from routestat.traces.metadata import Router, TraceMeta, routers_like
from routestat.traces.store import Trace
from tests.serving.exports.readers import Model


def random_row(rng, n_experts, devices):
    """Fill the slots of a layer with experts in random order, none twice on a device."""
    slots = np.arange(devices.slots(n_experts)) % n_experts
    row = rng.permutation(n_experts)[slots].reshape(devices.n_devices, -1)
    return rng.permuted(row, axis=1)[rng.permutation(devices.n_devices)].ravel()


def random_placement(rng, routers, devices):
    """Place the experts of each router at random."""
    rows = tuple(random_row(rng, router.n_experts, devices) for router in routers)
    return Placement(routers, devices, rows, "balance")


def case(n_experts=8, n_devices=2, redundant=0, layers=(1, 2, 3), hidden=4, seed=0, **more):
    """Return an export with random loads and placement, and the model as its engine knows it."""
    rng = np.random.default_rng(seed)
    routers = routers_like(layers, n_experts, 2)
    devices = Devices(n_devices, 1, redundant)
    loads = tuple(rng.integers(0, 10**6, n_experts) for _ in routers)
    exported = Exported(routers, hidden, loads, random_placement(rng, routers, devices), **more)
    moe_layers = tuple(sorted({*layers, *(more.get("moe_layers") or ())}))
    return exported, Model(hidden, n_experts, moe_layers, n_devices, redundant)


def placed(placement):
    """Return the experts on each device, by layer, read from a placement one slot at a time."""
    n_devices = placement.devices.n_devices
    found = {}
    for router, row in zip(placement.routers, placement.experts, strict=True):
        size = len(row) // n_devices
        found[router.layer] = [[int(row[d * size + s]) for s in range(size)] for d in range(n_devices)]
    return found


def with_routers(routers, hidden, **more):
    """Return an export of these routers with loads alone."""
    return Exported(
        tuple(routers), hidden, tuple(np.arange(r.n_experts, dtype=np.int64) for r in routers), **more
    )


TWO_IN_ONE = (Router(1, 8, 2, "L01a"), Router(1, 8, 2, "L01b"))
TWO_WIDTHS = (Router(1, 8, 2), Router(2, 16, 2), Router(3, 8, 2))


def steps_of(lengths, phases=None, layers=(1, 2), n_experts=8, missing=(), batch=1, chunk=1, seed=0):
    """Return tokens of documents of these lengths in order; `missing` are pairs of row and layer without a choice."""
    rng = np.random.default_rng(seed)
    document = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(n) for n in lengths])
    routers = routers_like(layers, n_experts, 2)
    alphabet = routers[0].alphabet
    states = {router.name: rng.integers(0, alphabet.size, len(document)) for router in routers}
    for row, layer in missing:
        states[f"L{layer:02}"][row] = alphabet.missing
    more = {} if phases is None else {"phase": np.array(phases)}
    trace = Trace.from_arrays(
        TraceMeta(routers), document, position, states, token=np.arange(len(document)), **more
    )
    sample = take_sample(trace)
    return make_steps(sample, sample.routers, batch=batch, chunk=chunk)
