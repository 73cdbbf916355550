"""What `place` finds: frozen, with everything that the report prints."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.serving.placement.placement import Devices, Placement
from routestat.traces.metadata import Router, TraceMeta


@dataclass(frozen=True, slots=True)
class Gain:
    """One figure of a placement beside that of the engines' default order.

    Attributes
    ----------
    before, after : Estimate
        Of the default order and of the placement, on documents that the placement was not made from.
    gain : Estimate
        How much better the placement is; above 0 if it is better. NaN with a reason where it is undefined.
    fitted_before, fitted_after : float
        The same on the documents that it was made from.
    """

    before: Estimate
    after: Estimate
    gain: Estimate
    fitted_before: float
    fitted_after: float


@dataclass(frozen=True, eq=False)
class PlacementResult:
    """A placement for one objective, measured by both.

    Attributes
    ----------
    objective : str
        "balance" or "affinity".
    placement : Placement
    balance : Gain
        Load of the busiest device over the mean of all, averaged over the layers; less is better.
    worst_layer : Gain
        The same in the layer where it is largest.
    device_affinity, node_affinity : Gain
        Of the pairs of choices of a token in consecutive layers, the share on one device, or node.
    device_loads_before, device_loads_after : tuple of float array ``[device]``
        Of each router, over the mean of its devices; held-out documents.
    affinity_before, affinity_after : float array ``[transition, 2]``
        By transition: on one device, on one node; held-out documents.
    optimality_gap : float
        The distance of the objective from the optimum, as a share of the optimum; NaN where it is not known.
    gap_reason : str
        Why it is not, or empty.
    """

    objective: str
    placement: Placement
    balance: Gain
    worst_layer: Gain
    device_affinity: Gain
    node_affinity: Gain
    device_loads_before: tuple[NDArray, ...]
    device_loads_after: tuple[NDArray, ...]
    affinity_before: NDArray
    affinity_after: NDArray
    optimality_gap: float
    gap_reason: str


@dataclass(frozen=True, eq=False)
class PinnedLayer:
    """The experts of a layer that are worth pinning.

    Attributes
    ----------
    router : Router
    experts : int array ``[expert]``
        Most used first.
    hit_rate, lru_hit_rate : Estimate
        On held-out documents, of the pins and of LRU at the same capacity.
    """

    router: Router
    experts: NDArray
    hit_rate: Estimate
    lru_hit_rate: Estimate


@dataclass(frozen=True, eq=False)
class PlacementFindings:
    """All findings of `place` on one trace.

    Attributes
    ----------
    meta : TraceMeta
    routers : tuple of Router
    folder : str
        The trace.
    devices : Devices
    results : tuple of PlacementResult
    loads : tuple of int array ``[expert]``
        Of each router, all documents.
    pins : tuple of PinnedLayer
    n_tokens, n_fitted, n_held_out, n_held_out_units : int
        Tokens, documents that placements were made from, others, and independent units of these.
    notes : tuple of str
    options : mapping
    """

    meta: TraceMeta
    routers: tuple[Router, ...]
    folder: str
    devices: Devices
    results: tuple[PlacementResult, ...]
    loads: tuple[NDArray, ...]
    pins: tuple[PinnedLayer, ...]
    n_tokens: int
    n_fitted: int
    n_held_out: int
    n_held_out_units: int
    notes: tuple[str, ...]
    options: Mapping[str, object] = field(default_factory=dict)
