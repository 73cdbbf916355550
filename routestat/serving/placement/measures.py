"""What placements are measured by: the balance of the load of devices, and the transitions that stay on a device.

Both take counts with any leading axes, such as units of documents.

Balance: a choice of a token is one unit of load. An expert with r copies divides its load evenly over them.
Affinity: a pair of a token's choices at two consecutive routers stays where a copy of the one expert and a copy of the
other are together on a device (or in a node). With copies that takes the best of them for every pair, whatever the load
then is: it is an upper limit of what a dispatcher of tokens can reach. Without copies it is exact, and the objective of
ExFlow.

References
----------
Yao et al. (2024), Exploiting inter-layer expert affinity for accelerating mixture-of-experts model inference, IPDPS.
"""

import math

import numpy as np
from numpy.typing import NDArray

from routestat.serving.placement.placement import Placement

Floats = NDArray[np.float64]


def device_loads(loads: NDArray[np.integer], placement: Placement, place: int) -> Floats:
    """Return the load of each device ``[..., device]``.

    Parameters
    ----------
    loads : int array ``[..., expert]``
        How often tokens chose each expert of a router.
    placement : Placement
    place : int
        Of the router among those of the placement.
    """
    return np.asarray(loads @ placement.shares(place))


def node_loads(loads: NDArray[np.integer], placement: Placement, place: int) -> Floats:
    """Return the load of each node ``[..., node]``, as `device_loads`."""
    by_device, devices = device_loads(loads, placement, place), placement.devices
    in_nodes = (devices.n_nodes, devices.n_devices // devices.n_nodes)
    return by_device.reshape(*by_device.shape[:-1], *in_nodes).sum(axis=-1)


def imbalance(loads: Floats) -> Floats:
    """Return the largest load over the mean one ``[...]``, 1 or more; NaN without load.

    Parameters
    ----------
    loads : float array ``[..., device]``
    """
    mean = loads.mean(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(mean > 0, loads.max(axis=-1) / np.where(mean > 0, mean, 1.0), math.nan))


def together(placement: Placement, place: int, *, nodes: bool = False) -> NDArray[np.bool_]:
    """Return whether a transition stays ``[source expert, target expert]``: some copies of both are together.

    Parameters
    ----------
    placement : Placement
    place : int
        Of the source router; the target is the next one.
    nodes : bool
        In a node instead of on a device.
    """
    of_router = placement.in_node if nodes else placement.on_device
    source, target = (of_router(at).astype(np.float32) for at in (place, place + 1))
    return np.asarray(source @ target.T > 0)
