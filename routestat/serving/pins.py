"""Which experts to pin: those that other documents use most.

In a simulation every third unit has the same pins, from the units of the other two thirds. Pins of all units but one
would be a little better, but where several experts are used about as much, each unit would decide against itself
which of them are pinned: in simulations the 95 % interval of the hit rate then holds the true one of these pins in 84
to 89 % of the cases, with thirds in 91 to 96 %.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.serving.settings import SCOPES
from routestat.serving.steps import Steps

#: Parts that units are divided into; each has pins from the other parts.
FOLDS = 3


def uses_of_experts(steps: Steps) -> NDArray[np.int64]:
    """Count how many tokens of each unit choose each expert ``[unit, expert of all layers]``.

    Parameters
    ----------
    steps : Steps
    """
    unit = np.repeat(steps.unit, np.diff(steps.start)).astype(np.int64)
    found = []
    for place, router in enumerate(steps.routers):
        experts = steps.choices[:, place, : router.top_k].astype(np.int64)
        cell = unit[:, None] * router.n_experts + experts
        counts = np.bincount(cell[experts >= 0], minlength=steps.n_units * router.n_experts)
        found.append(counts.reshape(steps.n_units, router.n_experts))
    return np.concatenate(found, axis=1)


def pinned_experts(steps: Steps, scope: str, capacity: float) -> NDArray[np.bool_]:
    """Choose for each unit the experts that units of other parts use most, by tokens; of equal ones the smaller ids.

    Units are in parts by their number modulo `FOLDS`, so that each of up to three units has a part of its own.

    Parameters
    ----------
    steps : Steps
    scope : str
        "layer": as many in each layer; "pool": the most used of all layers, however many of each.
    capacity : float
        Experts per layer; a pool has this many times the number of layers, rounded down.

    Returns
    -------
    bool array ``[unit, expert of all layers]``

    Raises
    ------
    RoutestatError
        If there is one unit only, or no such scope.
    """
    if scope not in SCOPES:
        raise RoutestatError(f"scope: expected {' or '.join(SCOPES)}, got {scope!r}")
    if steps.n_units < 2:
        raise RoutestatError(
            "expected two or more independent units of documents, got one: there are no other documents that "
            "could say what to pin"
        )
    uses = uses_of_experts(steps)
    fold = np.arange(steps.n_units) % FOLDS
    of_fold = np.stack([uses[fold == one].sum(axis=0) for one in range(FOLDS)])
    others = (of_fold.sum(axis=0) - of_fold)[fold]
    pinned = np.zeros(others.shape, bool)
    if scope == "pool":
        np.put_along_axis(pinned, _most_used(others, int(capacity * len(steps.routers))), True, axis=1)
        return pinned
    for low, high in zip(steps.offsets[:-1], steps.offsets[1:], strict=True):
        np.put_along_axis(pinned, low + _most_used(others[:, low:high], int(capacity)), True, axis=1)
    return pinned


def pinned_lists(loads: Sequence[NDArray[np.integer]], capacity: int) -> tuple[NDArray[np.int64], ...]:
    """Return the experts of each layer that tokens choose most, the most used first; ties by id.

    Parameters
    ----------
    loads : sequence of int array ``[expert]``
        For each router how often each expert was chosen.
    capacity : int
        Experts per layer; a layer with fewer has all of them pinned.

    Raises
    ------
    RoutestatError
        If the capacity is below 1, or above the experts of every layer.
    """
    most = max(len(load) for load in loads)
    if not 1 <= capacity <= most:
        raise RoutestatError(f"expected 1 to {most} experts per layer to pin, got {capacity}")
    return tuple(_most_used(np.asarray(load, np.int64), capacity) for load in loads)


def pinned_hits(
    loads: Sequence[NDArray[np.integer]], pinned: Sequence[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Count the choices whose expert is pinned, over all layers ``[...]``.

    Parameters
    ----------
    loads : sequence of int array ``[..., expert]``
        For each router how often each expert was chosen, such as per unit of documents.
    pinned : sequence of int array ``[place]``
    """
    pairs = zip(loads, pinned, strict=True)
    return np.sum([load[..., own].sum(axis=-1, dtype=np.int64) for load, own in pairs], axis=0)


def _most_used(uses: NDArray[np.int64], slots: int) -> NDArray[np.int64]:
    """Return the most used experts ``[..., place]`` of ``[..., expert]``, the most used first; ties by id."""
    return np.argsort(-uses, axis=-1, kind="stable")[..., :slots]
