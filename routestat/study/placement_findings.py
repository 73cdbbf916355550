"""What `place` finds: frozen, with everything that the report prints."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from routestat.inference.base.estimate import Estimate
from routestat.inference.base.tables import Floats, Integers
from routestat.serving.placement.placement import Devices, Placement
from routestat.traces.metadata import Router, TraceMeta


@dataclass(frozen=True, eq=False)
class PlacementGain:
    """One figure of a placement beside that of the engines' default order, on documents it was not made from.

    Attributes
    ----------
    before, after : Estimate
        Of the default order, and of the placement. NaN with a reason where it is not defined, such as affinity with
        one layer, or where no documents were held out.
    gain : Estimate
        How much better the placement is, from the same documents: before − after for balance, where less is better,
        and after − before for affinity. For balance it is estimated by itself: `before` and `after` are limited to 1
        or more, their difference is not.
    before_made_from, after_made_from : float
        The same two figures on the documents that the placement was made from.
    before_by_loads, after_by_loads : float
        Of affinity: the share that would stay if a token's choices in consecutive layers were independent, with the
        loads that experts have on the held-out documents. Where loads are uneven, busy experts on one device keep many
        pairs there, whatever the dependence is. NaN of other figures.
    by_layer_before, by_layer_after : float array ``[layer]``, or ``[pair of layers]`` for affinity
        On the held-out documents; NaN where these have no token.
    """

    before: Estimate
    after: Estimate
    gain: Estimate
    before_made_from: float
    after_made_from: float
    by_layer_before: Floats
    by_layer_after: Floats
    before_by_loads: float = math.nan
    after_by_loads: float = math.nan


@dataclass(frozen=True)
class Optimality:
    """How far the heuristic is from the best possible placement, on the documents that it was made from.

    Attributes
    ----------
    found, optimum : float
        Of the objective: the mean over layers of the load of the most loaded device over the mean, or the share of
        transitions that stay on their device. NaN where the optimum is not known.
    gap : float
        |found − optimum| / optimum.
    used : bool
        Whether the placement is the optimal one, since that was found.
    method : str
        How the optimum was found.
    reason : str
        Why it is not known, or empty.
    """

    found: float = math.nan
    optimum: float = math.nan
    gap: float = math.nan
    used: bool = False
    method: str = ""
    reason: str = ""


@dataclass(frozen=True, eq=False)
class PlacementResult:
    """A placement for one objective, and what it gains against the default order.

    Both figures are given for either objective: what is gained in one is often lost in the other.

    Attributes
    ----------
    objective : str
        "balance" or "affinity".
    placement : Placement
    balance : PlacementGain
        Load of the most loaded device over the mean of the devices, mean over layers; 1 is the best.
    worst_balance : PlacementGain
        The same in the layer where it is largest, as it is on these documents; without intervals.
    node_balance : PlacementGain
        The same as `balance` with nodes instead of devices.
    device_affinity, node_affinity : PlacementGain
        Share of the pairs (choice of a token at one router, choice at the next) whose two experts have a copy on one
        device, or in one node.
    loads_before, loads_after : float array ``[layer, device]``
        Share of the layer's choices that each device serves, on the held-out documents, or on all where none are held
        out; NaN in a layer without a token.
    optimality : Optimality
    """

    objective: str
    placement: Placement
    balance: PlacementGain
    worst_balance: PlacementGain
    node_balance: PlacementGain
    device_affinity: PlacementGain
    node_affinity: PlacementGain
    loads_before: Floats
    loads_after: Floats
    optimality: Optimality

    @property
    def main(self) -> PlacementGain:
        """The gain in the placement's own objective."""
        return self.balance if self.objective == "balance" else self.device_affinity


@dataclass(frozen=True, eq=False)
class PinFinding:
    """Experts to keep in fast memory for good, and what that is worth beside a cache of the same size.

    Attributes
    ----------
    capacity : int
        Experts per layer; a layer with fewer has all of them pinned.
    experts : tuple of int array ``[place]``
        For each router the experts to pin, the most used first; from all documents but the held-out ones.
    static : Estimate
        Share of the held-out choices whose expert is pinned.
    lru : Estimate
        Hit rate of an LRU cache of this capacity per layer on the held-out documents, one after the other; the cache is
        empty before the first one.
    difference : Estimate
        `static` minus `lru`, paired by units of documents: below zero, a cache is better than pins.
    uniform : float
        Share of the choices that as many experts pinned at random would serve.
    note : str
        The part of the held-out documents that was replayed; empty if all of them.
    """

    capacity: int
    experts: tuple[Integers, ...]
    static: Estimate
    lru: Estimate
    difference: Estimate
    uniform: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class PlacementFindings:
    """All findings of `place` on one trace.

    Attributes
    ----------
    meta : TraceMeta
    routers : tuple of Router
        In order of depth.
    devices : Devices
    default : Placement
        The engines' own order.
    results : tuple of PlacementResult
        One for each objective.
    pins : PinFinding, optional
    loads : tuple of int array ``[expert]``
        For each router how often each expert was chosen, over all documents.
    n_tokens, n_documents : int
        In all.
    n_made_from, n_held_out : int
        Documents that placements were made from, and the others, on which they are measured.
    n_units_made_from, n_units_held_out : int
        Independent units of these.
    notes : tuple of str
        What a reader has to know.
    options : mapping
        Of the command line, for the record.
    """

    meta: TraceMeta
    routers: tuple[Router, ...]
    devices: Devices
    default: Placement
    results: tuple[PlacementResult, ...]
    pins: PinFinding | None
    loads: tuple[Integers, ...]
    n_tokens: int
    n_documents: int
    n_made_from: int
    n_held_out: int
    n_units_made_from: int
    n_units_held_out: int
    notes: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)

    def result(self, objective: str) -> PlacementResult | None:
        """Return the result of one objective; None if it was not an objective."""
        return next((one for one in self.results if one.objective == objective), None)
