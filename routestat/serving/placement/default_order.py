"""Where engines place experts by themselves: in the order of their ids."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.serving.placement.placement import Devices, Placement
from routestat.traces.metadata import Router


def default_row(n_experts: int, n_slots: int) -> NDArray[np.int64]:
    """Return the order in which engines fill slots by themselves ``[slot]``: by id, then the first ones again."""
    return np.arange(n_slots, dtype=np.int64) % n_experts


def default_placement(routers: Sequence[Router], devices: Devices) -> Placement:
    """Return the placement of engines that were given none.

    Slot s holds expert s modulo the number of experts, so that redundant slots hold the experts 0, 1, 2, … again. A
    device has no more slots than there are experts, and so none of them twice.

    Parameters
    ----------
    routers : sequence of Router
        In order of depth.
    devices : Devices

    Raises
    ------
    RoutestatError
        If the devices do not divide the slots of a layer; see `Devices.slots`.
    """
    experts = tuple(default_row(router.n_experts, devices.slots(router.n_experts)) for router in routers)
    return Placement(tuple(routers), devices, experts, "default")
