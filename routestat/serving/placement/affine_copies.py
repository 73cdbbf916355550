"""Copies of experts in redundant slots, so that more transitions stay on a device or in a node."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: What a transition that stays in its node counts, beside 1 if it also stays on its device: about the ratio of the
#: bandwidth within a node to that between nodes (NVLink 450 GB/s, InfiniBand 50 GB/s).
NODE_WEIGHT = 10.0


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The two layers beside one, with placed experts.

    Attributes
    ----------
    tables : tuple of float array ``[expert, neighbour's expert]``
        Transitions of the layer with each of its neighbours.
    on_device : tuple of float array ``[neighbour's expert, device]``
        Where these are.
    n_nodes : int
    """

    tables: tuple[Floats, ...]
    on_device: tuple[Floats, ...]
    n_nodes: int

    @property
    def levels(self) -> tuple[tuple[float, int], ...]:
        """The weight of each level, and the devices that are one there."""
        devices = self.on_device[0].shape[1]
        return ((1.0, 1), (NODE_WEIGHT, devices // self.n_nodes)) if self.n_nodes > 1 else ((1.0, 1),)

    def gain(self, on_device: Flags, expert: int | None = None) -> Floats:
        """Return what one more copy of each expert on each device would gain ``[expert, device]``.

        Parameters
        ----------
        on_device : bool array ``[expert, device]``
            Where copies of the layer are already.
        expert : int, optional
            Only its row.
        """
        rows = slice(None) if expert is None else slice(expert, expert + 1)
        own = on_device[rows].astype(np.float64)
        found = np.zeros(own.shape)
        for weight, size in self.levels:
            for table, beside in zip(self.tables, self.on_device, strict=True):
                there = _merged(beside, size)
                lost = np.where(_merged(own, size) @ there.T > 0, 0.0, table[rows])
                found += weight * np.repeat(lost @ there, size, axis=1)
        return found

    def staying(self, on_device: Flags) -> float:
        """Return the weighted number of transitions with the neighbours that stay."""
        own, total = on_device.astype(np.float64), 0.0
        for weight, size in self.levels:
            for table, beside in zip(self.tables, self.on_device, strict=True):
                total += weight * float(table[_merged(own, size) @ _merged(beside, size).T > 0].sum())
        return total


def neighbours(
    transitions: Sequence[Floats], on_device: Sequence[Flags], layer: int, n_nodes: int
) -> Neighbours:
    """Return the layers beside one of a chain."""
    tables, beside = [], []
    if layer > 0:
        tables.append(transitions[layer - 1].T)
        beside.append(on_device[layer - 1].astype(np.float64))
    if layer + 1 < len(on_device):
        tables.append(transitions[layer])
        beside.append(on_device[layer + 1].astype(np.float64))
    return Neighbours(tuple(tables), tuple(beside), n_nodes)


def with_copies(on_device: Flags, places: int, beside: Neighbours) -> Flags:
    """Fill the empty places of the devices, each time with the copy that gains most; among equals, the busiest expert.

    Parameters
    ----------
    on_device : bool array ``[expert, device]``
        At most `places` on each device.
    places : int
        Of a device.
    beside : Neighbours
    """
    found = on_device.copy()
    load = np.sum([table.sum(axis=1) for table in beside.tables], axis=0)
    # Loads only decide among equal gains, which are whole numbers.
    scale = 0.5 / max(float(load.sum()), 1.0)
    gain = beside.gain(found)
    while (free := found.sum(axis=0) < places).any():
        copies = np.maximum(found.sum(axis=1, keepdims=True), 1)
        score = np.where(found | ~free, -1.0, gain + scale * load[:, None] / copies)
        expert, device = np.unravel_index(np.argmax(score), score.shape)
        found[expert, device] = True
        gain[expert] = beside.gain(found, int(expert))[0]
    return found


def improved(
    transitions: Sequence[Floats],
    on_device: Sequence[Flags],
    places: Sequence[int],
    n_nodes: int,
    rounds: int = 4,
) -> list[Flags]:
    """Place each layer again, copies included, while its neighbours stay; keep what is better.

    Parameters
    ----------
    transitions : sequence of float array ``[source expert, target expert]``
    on_device : sequence of bool array ``[expert, device]``
        Every place filled.
    places : sequence of int
        Of a device, in each layer.
    n_nodes : int
    rounds : int
        At most; each goes through all layers.
    """
    found = list(on_device)
    for _ in range(rounds):
        better = False
        for layer, own in enumerate(places):
            beside = neighbours(transitions, found, layer, n_nodes)
            n_experts, n_devices = found[layer].shape
            gain = beside.gain(np.zeros((n_experts, n_devices), bool))
            _, place = linear_sum_assignment(np.repeat(gain, own, axis=1), maximize=True)
            single = np.zeros((n_experts, n_devices), bool)
            single[np.arange(n_experts), place // own] = True
            changed = with_copies(single, own, beside)
            if beside.staying(changed) > beside.staying(found[layer]):
                found[layer], better = changed, True
        if not better:
            break
    return found


def _merged(on_device: Floats, size: int) -> Floats:
    """Return whether an expert is on any of so many consecutive devices ``[expert, node]``."""
    return on_device if size == 1 else on_device.reshape(len(on_device), -1, size).max(axis=2)
