"""Which experts of each layer are worth keeping in fast memory for good."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError

Integers = NDArray[np.int64]


def pinned_lists(loads: Sequence[NDArray[np.integer]], capacity: int) -> tuple[Integers, ...]:
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
    return tuple(np.argsort(-np.asarray(load, np.int64), kind="stable")[:capacity] for load in loads)


def pinned_hits(loads: Sequence[NDArray[np.integer]], pinned: Sequence[Integers]) -> NDArray[np.int64]:
    """Count the choices whose expert is pinned, over all layers ``[...]``.

    Parameters
    ----------
    loads : sequence of int array ``[..., expert]``
        For each router how often each expert was chosen, such as per unit of documents.
    pinned : sequence of int array ``[place]``
    """
    pairs = zip(loads, pinned, strict=True)
    return np.sum([load[..., own].sum(axis=-1, dtype=np.int64) for load, own in pairs], axis=0)
