"""Hits of LRU at every capacity, from one pass over the trace."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.stack_distances import count_places, count_places_by_layer
from routestat.errors import RoutestatError
from routestat.serving.passes import cut_into_blocks, passes
from routestat.serving.settings import SCOPES, STARTS
from routestat.serving.steps import Steps
from routestat.traces.validation import PHASES


@dataclass(frozen=True, eq=False)
class LruCurve:
    """What a cache of the experts used last hits, for all numbers of slots.

    The figures are those of `routestat.serving.replay.replay` with the policy ``lru``, also where an event needs more
    experts than the cache has slots.

    Attributes
    ----------
    scope : str
        One of `SCOPES`: slots are those of every layer, or of the pool.
    start : str
        One of `STARTS`.
    places : unsigned int array ``[unit, phase, layer, place]``
        Accesses to the expert that was used last but `place`, before the event, among those of the layer or of all.
        Accesses to experts that were not used before are not among them.
    accesses : int array ``[unit, phase, layer]``
    """

    scope: str
    start: str
    places: NDArray[np.unsignedinteger]
    accesses: NDArray[np.int64]

    @property
    def most_slots(self) -> int:
        """Slots with which nothing is ever removed."""
        return self.places.shape[-1]

    def hits(self, slots: int) -> NDArray[np.int64]:
        """Return the hits with so many slots ``[unit, phase, layer]``."""
        return self.places[..., :slots].sum(-1, dtype=np.int64)

    def hits_of_layer(self, layer: int) -> NDArray[np.int64]:
        """Return the hits of one layer, by its place among the routers ``[slots, unit, phase]``, from 0 slots on."""
        return _up_to(self.places[:, :, layer])

    @property
    def hits_of_layers(self) -> NDArray[np.int64]:
        """Hits of every layer in both phases together ``[slots, unit, layer]``, from 0 slots on."""
        return _up_to(self.places.sum(1, dtype=np.int64))

    @property
    def hits_of_all(self) -> NDArray[np.int64]:
        """Hits over all layers ``[slots, unit, phase]``, from 0 slots on; slots of every layer or of the pool."""
        return _up_to(self.places.sum(2, dtype=np.int64))


def lru_curve(steps: Steps, scope: str = "layer", start: str = "cold") -> LruCurve:
    """Count at which capacities LRU has the experts of every event.

    Parameters
    ----------
    steps : Steps
    scope : str
        One of `SCOPES`.
    start : str
        One of `STARTS`.

    Returns
    -------
    LruCurve

    Raises
    ------
    RoutestatError
        If the scope or the start is unknown.

    References
    ----------
    Mattson, Gecsei, Slutz & Traiger (1970), Evaluation techniques for storage hierarchies, IBM Systems Journal 9.
    """
    for what, name, known in (("scope", scope, SCOPES), ("start", start, STARTS)):
        if name not in known:
            raise RoutestatError(f"{what}: expected one of {', '.join(known)}, got {name!r}")
    layers, pool = len(steps.routers), scope == "pool"
    slots = int(steps.offsets[-1]) if pool else max(router.n_experts for router in steps.routers)
    # No cell has more than the choices of a unit.
    most = int(steps.tokens.sum(1).max()) * steps.choices.shape[2]
    kind = np.uint16 if most < 2**16 else np.uint32
    places = np.zeros((steps.n_units, len(PHASES), layers, slots), kind)
    unseen = np.zeros((steps.n_units, len(PHASES), layers), np.int64)
    for order, counted in passes(steps, start):
        count = _count_pool if pool else _count_layers
        count(steps, order, counted, start == "document", places, unseen)
    return LruCurve(scope, start, places, unseen + places.sum(-1, dtype=np.int64))


def _count_layers(
    steps: Steps,
    order: NDArray[np.int64],
    counted: int,
    emptied: bool,
    places: NDArray[np.unsignedinteger],
    unseen: NDArray[np.int64],
) -> None:
    """Add the places of one pass among the experts of each layer."""
    n = int(steps.offsets[-1])
    seen, union, recent = np.zeros((3, n), np.int64)
    size, event = np.zeros(len(steps.routers), np.int64), 0
    cuts, _ = cut_into_blocks(steps, order)
    for low, high in pairwise(cuts):
        event = count_places_by_layer(
            steps.choices, steps.start, steps.phase, steps.unit, steps.first, steps.offsets, order, low, high,
            counted, emptied, seen, union, recent, size, event, places, unseen,
        )  # fmt: skip


def _count_pool(
    steps: Steps,
    order: NDArray[np.int64],
    counted: int,
    emptied: bool,
    places: NDArray[np.unsignedinteger],
    unseen: NDArray[np.int64],
) -> None:
    """Add the places of one pass among the experts of all layers."""
    n = int(steps.offsets[-1])
    seen, union, time = np.zeros((3, n), np.int64)
    # Long enough that times are rarely numbered anew, short enough for the processor's cache.
    owner, later = np.full(4 * n + 1, -1), np.zeros(4 * n + 1, np.int32)
    clock = event = 0
    cuts, _ = cut_into_blocks(steps, order)
    for low, high in pairwise(cuts):
        clock, event = count_places(
            steps.choices, steps.start, steps.phase, steps.unit, steps.first, steps.offsets, order, low, high,
            counted, emptied, seen, union, time, owner, later, clock, event, places, unseen,
        )  # fmt: skip


def _up_to(places: NDArray[np.integer]) -> NDArray[np.int64]:
    """Sum ``[..., place]`` over the places below each number of slots ``[slots, ...]``."""
    hits = np.zeros((places.shape[-1] + 1, *places.shape[:-1]), np.int64)
    np.cumsum(np.moveaxis(places, -1, 0), axis=0, out=hits[1:])
    return hits
