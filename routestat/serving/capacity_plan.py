"""How much memory is worth having: slots of LRU caches, equal in all layers or divided by what each layer gains."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.serving.cache_estimates import NO_SECONDS, share_of_units
from routestat.serving.settings import Hardware
from routestat.serving.steps import Steps

#: Sizes of memory that are shown, about; of layers with no more experts, all.
SIZES = 12


@dataclass(frozen=True)
class PlannedCapacity:
    """Slots of an LRU cache per layer for one size of memory.

    Attributes
    ----------
    slots_in_all : int
    bytes : float
        NaN where the size of an expert is not known.
    equal_hit_rate, divided_hit_rate : Estimate
        With as many slots in every layer, and with the division that gives the most hits.
    slots : tuple of int
        That division, by layer.
    stall_per_token : float
        Seconds with that division; NaN where the machine is not known.
    """

    slots_in_all: int
    bytes: float
    equal_hit_rate: Estimate
    divided_hit_rate: Estimate
    slots: tuple[int, ...]
    stall_per_token: float


@dataclass(frozen=True)
class CapacityPlan:
    """How much memory is worth having.

    Attributes
    ----------
    sizes : tuple of PlannedCapacity
        From one token's experts to all.
    stall_budget : float, optional
        Seconds per token that were named.
    smallest : PlannedCapacity, optional
        The smallest of `sizes` within the budget; None without a budget, or where none is.
    reason : str
        Why there is none, or empty.
    held_out : bool
        Whether hit rates of divisions are of units of documents that the division was not chosen on: it is chosen on
        every second unit and measured on the others, both ways round. `slots` are chosen on all of them. With one
        unit it is measured on the tokens that it was chosen on, which flatters it.
    """

    sizes: tuple[PlannedCapacity, ...]
    stall_budget: float | None
    smallest: PlannedCapacity | None
    reason: str = ""
    held_out: bool = True


@dataclass(frozen=True, eq=False)
class Divisions:
    """The best division of every number of slots among layers.

    Attributes
    ----------
    hits : int array ``[slots]``
        The most hits with so many slots in all; −1 where no division is allowed.
    last : int32 array ``[layer, slots]``
        The slots of a layer in the best division of so many slots among it and the layers before.
    """

    hits: NDArray[np.int64]
    last: NDArray[np.int32]

    def of(self, slots: int) -> NDArray[np.int64]:
        """Return the best division ``[layer]`` of so many slots."""
        found = np.zeros(len(self.last), np.int64)
        for layer in range(len(self.last) - 1, -1, -1):
            found[layer] = self.last[layer, slots]
            slots -= int(found[layer])
        return found


def divide_slots(hits: NDArray[np.integer], least: Sequence[int], most: Sequence[int]) -> Divisions:
    """Find the division of slots among layers that has the most hits, for every number of slots.

    Exact, by dynamic programming over the layers: curves of LRU need not be concave, so that giving each slot to the
    layer that gains most by it could miss the best. Of equal divisions the one with fewer slots in the last layers.

    Parameters
    ----------
    hits : int array ``[layer, capacity]``
        From a capacity of 0 on.
    least, most : sequence of int
        Slots of each layer.
    """
    whole = sum(most)
    best = np.full(whole + 1, -1, np.int64)
    best[0] = 0
    last = np.zeros((len(hits), whole + 1), np.int32)
    for layer, curve in enumerate(np.asarray(hits, np.int64)):
        found = np.full(whole + 1, -1, np.int64)
        for slots in range(least[layer], most[layer] + 1):
            before = best[: whole + 1 - slots]
            more = np.where(before >= 0, before + curve[slots], -1)
            better = more > found[slots:]
            found[slots:][better] = more[better]
            last[layer, slots:][better] = slots
        best = found
    return Divisions(best, last)


def plan_capacity(
    hits: NDArray[np.integer],
    accesses: NDArray[np.integer],
    steps: Steps,
    hardware: Hardware,
    stall_budget: float | None = None,
) -> CapacityPlan:
    """Compare sizes of memory, and find the smallest within a stall budget.

    Parameters
    ----------
    hits : int array ``[capacity, unit, layer]``
        Of LRU caches of 0, 1, 2 … experts; those beyond a layer's experts change nothing.
    accesses : int array ``[unit, layer]``
    steps : Steps
    hardware : Hardware
    stall_budget : float, optional
        Seconds per token; without prefetching the stall is the time of the transfers that events wait for.
    """
    least = [router.top_k for router in steps.routers]
    most = [router.n_experts for router in steps.routers]
    held_out = steps.n_units > 1
    parts = [np.arange(steps.n_units) % 2 == parity for parity in (0, 1)] if held_out else [np.ones(1, bool)]
    chosen_on = [~part for part in parts] if held_out else parts
    by_part = [divide_slots(hits[:, units].sum(axis=1).T, least, most) for units in chosen_on]
    overall = divide_slots(hits.sum(axis=1).T, least, most) if held_out else by_part[0]
    layers, all_accesses = np.arange(len(most)), accesses.sum(axis=1)
    tokens, transfer = int(steps.tokens.sum()), hardware.transfer_seconds

    def hits_of(units: NDArray[np.bool_], slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the hits of some units with so many slots per layer ``[unit]``."""
        of_layers: NDArray[np.int64] = hits[slots, :, layers][:, units].sum(axis=0)
        return of_layers

    def planned(capacity: int) -> PlannedCapacity:
        equal = np.clip(capacity, least, most)
        slots = int(equal.sum())
        divided = np.zeros(steps.n_units, np.int64)
        for units, divisions in zip(parts, by_part, strict=True):
            divided[units] = hits_of(units, divisions.of(slots))
        misses = float(all_accesses.sum() - divided.sum())
        return PlannedCapacity(
            slots,
            slots * hardware.expert_bytes if hardware.expert_bytes is not None else math.nan,
            share_of_units(hits_of(np.ones(steps.n_units, bool), equal), all_accesses),
            share_of_units(divided, all_accesses),
            tuple(overall.of(slots).tolist()),
            misses * transfer / tokens if transfer is not None else math.nan,
        )

    sizes = [planned(capacity) for capacity in sizes_between(max(least), max(most))]
    if stall_budget is None or transfer is None:
        why = "no stall budget was given: give --stall-budget" if stall_budget is None else NO_SECONDS
        return CapacityPlan(tuple(sizes), stall_budget, None, why, held_out)
    smallest = next(
        (
            one
            for capacity in range(max(least), max(most) + 1)
            if (one := planned(capacity)).stall_per_token <= stall_budget
        ),
        None,
    )
    if smallest is None:
        left = 1e3 * sizes[-1].stall_per_token
        why = f"with all experts in memory the first loads alone still stall a token by {left:.3g} ms on average"
        return CapacityPlan(tuple(sizes), stall_budget, None, why, held_out)
    if smallest.slots_in_all not in {one.slots_in_all for one in sizes}:
        sizes = sorted([*sizes, smallest], key=lambda one: one.slots_in_all)
    return CapacityPlan(tuple(sizes), stall_budget, smallest, "", held_out)


def sizes_between(least: int, most: int, at_most: int = SIZES) -> tuple[int, ...]:
    """Return capacities from `least` to `most`, all or about so many at equal ratios."""
    if most - least < at_most:
        return tuple(range(least, most + 1))
    return tuple(np.unique(np.geomspace(least, most, at_most).round().astype(int)).tolist())
