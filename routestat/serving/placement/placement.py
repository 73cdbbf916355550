"""A placement of the experts of every layer on devices and nodes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.traces.metadata import Router

#: What placements are made for.
OBJECTIVES = ("balance", "affinity")


@dataclass(frozen=True)
class Devices:
    """Devices, in nodes of equal size.

    Attributes
    ----------
    n_devices : int
        In all.
    n_nodes : int
        Device d is in node d // (n_devices // n_nodes).
    redundant : int
        Slots of a layer, in all devices together, beyond one for each expert.
    """

    n_devices: int
    n_nodes: int = 1
    redundant: int = 0

    def slots(self, n_experts: int) -> int:
        """Return the slots of a layer in all devices together.

        Raises
        ------
        RoutestatError
            If the devices do not divide them, or the nodes do not divide the devices.
        """
        if min(self.n_devices, self.n_nodes) < 1 or self.redundant < 0:
            raise RoutestatError(
                f"expected 1 or more devices and nodes and no negative number of redundant slots, got "
                f"{self.n_devices}, {self.n_nodes} and {self.redundant}"
            )
        if self.n_devices % self.n_nodes:
            raise RoutestatError(
                f"expected nodes that divide the {self.n_devices} devices, got {self.n_nodes}; name another number"
            )
        slots = n_experts + self.redundant
        if slots % self.n_devices:
            more = -n_experts % self.n_devices
            raise RoutestatError(
                f"expected devices that divide the {slots} slots of a layer ({n_experts} experts and "
                f"{self.redundant} redundant), got {self.n_devices}; name another number, or --redundant {more}"
            )
        if self.redundant > n_experts * (self.n_devices - 1):
            raise RoutestatError(
                f"expected at most {n_experts * (self.n_devices - 1)} redundant slots (every expert on every "
                f"device), got {self.redundant}"
            )
        return slots


@dataclass(frozen=True, eq=False)
class Placement:
    """Which expert is in which slot.

    Attributes
    ----------
    routers : tuple of Router
        In order of depth.
    devices : Devices
    experts : tuple of int array ``[slot]``
        For each router the expert of each slot; slot s is on device s // (slots // devices). No expert is twice on one
        device, and all are somewhere.
    objective : str
        One of `OBJECTIVES`, or "default": as engines place experts by themselves, in the order of their ids, with
        redundant slots for the first ones.
    """

    routers: tuple[Router, ...]
    devices: Devices
    experts: tuple[NDArray[np.int64], ...]
    objective: str

    def __post_init__(self) -> None:
        """Freeze the arrays, and refuse what no engine could serve.

        Raises
        ------
        RoutestatError
            If a layer lacks an expert, or has one twice on a device.
        """
        for router, experts in zip(self.routers, self.experts, strict=True):
            slots = self.devices.slots(router.n_experts)
            if len(experts) != slots or set(experts.tolist()) != set(range(router.n_experts)):
                raise RoutestatError(
                    f"{router.name}: expected every expert in {slots} slots, got {len(experts)}"
                )
            by_device = np.sort(experts.reshape(self.devices.n_devices, -1), axis=1)
            if (by_device[:, 1:] == by_device[:, :-1]).any():
                raise RoutestatError(f"{router.name}: expected an expert once on a device, found one twice")
            experts.flags.writeable = False

    def device_of_slot(self, place: int) -> NDArray[np.int64]:
        """Return the device of each slot ``[slot]`` of the router at a place."""
        slots = len(self.experts[place])
        return np.arange(slots) // (slots // self.devices.n_devices)

    def on_device(self, place: int) -> NDArray[np.bool_]:
        """Return whether an expert is on a device ``[expert, device]``."""
        found = np.zeros((self.routers[place].n_experts, self.devices.n_devices), bool)
        found[self.experts[place], self.device_of_slot(place)] = True
        return found

    def in_node(self, place: int) -> NDArray[np.bool_]:
        """Return whether an expert is in a node ``[expert, node]``."""
        on_device = self.on_device(place)
        return np.asarray(on_device.reshape(len(on_device), self.devices.n_nodes, -1).any(axis=2))

    def shares(self, place: int) -> NDArray[np.float64]:
        """Return the share of an expert's load that a device serves ``[expert, device]``: equal for all its copies."""
        found = self.on_device(place).astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)


def placed(
    routers: Sequence[Router], devices: Devices, on_device: Sequence[NDArray[np.bool_]], objective: str
) -> Placement:
    """Return the placement of experts on given devices; in the slots of a device they are in ascending order.

    Parameters
    ----------
    routers : sequence of Router
    devices : Devices
    on_device : sequence of bool array ``[expert, device]``
        For each router.
    objective : str

    Raises
    ------
    RoutestatError
        As `Placement`.
    """
    experts = tuple(np.nonzero(of_router.T)[1].astype(np.int64) for of_router in on_device)
    return Placement(tuple(routers), devices, experts, objective)
