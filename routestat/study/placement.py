"""Placements of experts on devices, made from two thirds of the documents and measured on the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counting_pass import MEMORY, cell_type, table_bytes
from routestat.counting.counts import Counts, count
from routestat.counting.further_tables import count_further_tables
from routestat.errors import RoutestatError
from routestat.progress import Tick, silent
from routestat.serving.pins import pinned_lists
from routestat.serving.placement.affine import affine_placement
from routestat.serving.placement.balanced import balanced_placement
from routestat.serving.placement.default_order import default_placement
from routestat.serving.placement.placement import OBJECTIVES, Devices
from routestat.study.placement_findings import (
    Optimality,
    PlacementFindings,
)
from routestat.study.placement_gains import HeldOutUnits, measured, staying_sums
from routestat.study.placement_optimum import against_optimum
from routestat.study.placement_pins import find_pins
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: Every one of so many units of documents is held out.
HELD_OUT = 3

#: The tables ``[group, source expert, target expert]`` of all pairs of consecutive routers, again at each call.
Tables = Callable[[], Iterator[NDArray[np.unsignedinteger]]]


@dataclass(frozen=True)
class PlacementPlan:
    """What is to be placed, and for what.

    Attributes
    ----------
    devices : Devices
    objectives : tuple of str
        Of `OBJECTIVES`.
    layers : tuple of int, optional
        All by default.
    pin : int, optional
        Experts per layer to keep in fast memory; none are listed by default.
    groups : int
        Most groups of documents.
    memory : int
        Bytes for tables of transitions; what does not fit is counted in several passes, and again for measuring.
    threads : int, optional
    options : mapping
        Of the command line, for the record.
    """

    devices: Devices
    objectives: tuple[str, ...] = OBJECTIVES
    layers: tuple[int, ...] | None = None
    pin: int | None = None
    groups: int = 256
    memory: int = MEMORY
    threads: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)


def place_experts(
    trace: Trace, plan: PlacementPlan, rng: np.random.Generator, tick: Tick = silent
) -> PlacementFindings:
    """Place experts for each objective, and measure what that gains on documents that were held out.

    Every third unit of documents is held out. Without a second unit there is no gain to measure.

    Parameters
    ----------
    trace : Trace
    plan : PlacementPlan
    rng : numpy.random.Generator
        For the starts of the search for affinity.
    tick : callable(what, done, total)

    Raises
    ------
    RoutestatError
        If the trace has no tokens, the devices do not divide the slots of a layer, an objective is unknown, or more
        experts than there are would be pinned.
    """
    routers = trace.routers(plan.layers)
    _require(plan, routers)
    counts = count(
        trace, plan.layers, (Context(),), plan.groups, states="expert", memory=plan.memory, threads=plan.threads,
        progress=partial(tick, "counting experts"),
    )  # fmt: skip
    if not counts.n_tokens:
        raise RoutestatError("the trace holds no tokens: there is nothing to place")
    made_from, held_out = _divided_units(counts.tokens)
    loads = [counts.table(Context(), router).astype(np.int64) for router in routers]
    own_loads = [load[made_from].sum(axis=0) for load in loads]
    tables = _tables(trace, counts, plan, tick)
    own_tables = [table[made_from].sum(axis=0, dtype=np.int64) for table in tables()]
    placements = {"default": default_placement(routers, plan.devices)}
    optimality: dict[str, Optimality] = {}
    for objective in plan.objectives:
        if objective == "balance":
            tick("placing experts", 0, 1)
            found = balanced_placement(own_loads, routers, plan.devices)
        else:
            found = affine_placement(own_tables, routers, plan.devices, rng, tick)
        placements[objective], optimality[objective] = against_optimum(found, own_loads, own_tables)
    every = tuple(placements.values())
    stays = staying_sums((table[held_out] for table in tables()), every, len(held_out))
    units = HeldOutUnits([load[held_out] for load in loads], counts.tokens[held_out], *stays)
    own_stays = staying_sums((table[None] for table in own_tables), every, 1)
    own = HeldOutUnits(
        [load[None] for load in own_loads], counts.tokens[made_from].sum(keepdims=True), *own_stays
    )
    default = placements.pop("default")
    results = tuple(
        measured(default, placement, number, units, own, optimality[placement.objective])
        for number, placement in enumerate(placements.values(), start=1)
    )
    pins = None
    if plan.pin is not None:
        pins = find_pins(trace, counts, own_loads, held_out, plan.pin, tick)
    documents = counts.documents
    return PlacementFindings(
        meta=trace.meta,
        routers=routers,
        devices=plan.devices,
        default=default,
        results=results,
        pins=pins,
        loads=tuple(load.sum(axis=0) for load in loads),
        n_tokens=counts.n_tokens,
        n_documents=counts.n_documents,
        n_made_from=int(documents[made_from].sum()),
        n_held_out=int(documents[held_out].sum()),
        n_units_made_from=len(made_from),
        n_units_held_out=len(held_out),
        notes=_notes(routers, counts, len(held_out)),
        options=plan.options,
    )


def _require(plan: PlacementPlan, routers: Sequence[Router]) -> None:
    """Check what can be checked before anything is counted."""
    unknown = [name for name in plan.objectives if name not in OBJECTIVES]
    if unknown or not plan.objectives:
        raise RoutestatError(
            f"objective: expected {' or '.join(OBJECTIVES)}, got {', '.join(unknown) or 'none'}"
        )
    for router in routers:
        plan.devices.slots(router.n_experts)
    if plan.pin is not None:
        pinned_lists([np.zeros(router.n_experts, np.int64) for router in routers], plan.pin)


def _divided_units(tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the groups that placements are made from and those that are held out; all the former if it is one."""
    used = np.flatnonzero(tokens)
    if len(used) < 2:
        return used, used[:0]
    held_out = np.arange(len(used)) % HELD_OUT == 0
    return used[~held_out], used[held_out]


def _tables(trace: Trace, counts: Counts, plan: PlacementPlan, tick: Tick) -> Tables:
    """Return how to get the tables of transitions: from memory where they fit, else by counting them each time."""
    back = Context.layer(1)
    pairs = list(pairwise(counts.routers))
    dtype = cell_type(trace)
    size = sum(table_bytes((back, (a,), b), "expert", counts.groups, dtype) for a, b in pairs)

    def counted() -> Iterator[NDArray[np.unsignedinteger]]:
        return count_further_tables(
            trace, counts, [(back, target) for _, target in pairs], memory=plan.memory, threads=plan.threads,
            progress=partial(tick, "counting transitions"),
        )  # fmt: skip

    if not pairs:
        return lambda: iter(())
    if size > plan.memory:
        return counted
    kept = list(counted())
    return lambda: iter(kept)


def _notes(routers: Sequence[Router], counts: Counts, n_held_out: int) -> tuple[str, ...]:
    notes = [counts.note] if counts.note else []
    if not n_held_out:
        notes.append(
            "All documents are one independent unit: none could be held out, and what a placement gains on other "
            "documents is not known."
        )
    same = [f"{a.name} and {b.name}" for a, b in pairwise(routers) if a.layer == b.layer]
    if same:
        notes.append(f"Of one layer, and taken as consecutive: {', '.join(same)}.")
    apart = [f"{a.layer} and {b.layer}" for a, b in pairwise(routers) if b.layer > a.layer + 1]
    if apart:
        notes.append(
            f"No router was recorded between layers {', '.join(apart)}: these are taken as consecutive, which is right "
            "where the layers between are dense."
        )
    return tuple(notes)
