"""What `simulate` finds: frozen, with everything that the report prints."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from routestat.inference.base.estimate import Estimate
from routestat.serving.cache_estimates import SimulatedCache
from routestat.serving.capacity_plan import CapacityPlan, PlannedCapacity
from routestat.serving.hot_sets import HotSet
from routestat.serving.settings import Hardware
from routestat.serving.working_sets import WorkingSet
from routestat.structure.model_facts import ModelFacts
from routestat.traces.metadata import Router, TraceMeta

__all__ = [
    "CapacityPlan",
    "CurvePoint",
    "HotSet",
    "PlannedCapacity",
    "RecoverableGap",
    "SimulatedCache",
    "Simulation",
    "WorkingSet",
]


@dataclass(frozen=True)
class CurvePoint:
    """The hit rate of LRU at one capacity, in one scope, over all layers together or in one layer.

    Attributes
    ----------
    scope : str
    layer : int, optional
        The model's number; None over all layers.
    capacity : int
        Experts per layer; of a pool, slots of the pool in all.
    hit_rate : Estimate
    """

    scope: str
    layer: int | None
    capacity: int
    hit_rate: Estimate


@dataclass(frozen=True)
class RecoverableGap:
    """How many loads of the best policy that knows nothing of the future the optimum would save, at one capacity.

    Attributes
    ----------
    scope, start : str
    capacity : float
    best : str
        The causal policy with the fewest loads, prefetching aside.
    best_loads, optimal_loads : int
    gap : Estimate
        (loads of the best − loads of belady) / loads of the best.
    """

    scope: str
    start: str
    capacity: float
    best: str
    best_loads: int
    optimal_loads: int
    gap: Estimate


@dataclass(frozen=True)
class Simulation:
    """All findings of `simulate` on one trace.

    Attributes
    ----------
    meta : TraceMeta
    routers : tuple of Router
    folder : str
        The trace.
    n_tokens, n_documents, n_units : int
        That were replayed, and independent units of them.
    notes : tuple of str
        What a reader has to know of the trace: what was sampled, gaps, prefill taken token by token.
    batch, chunk : int
    hardware : Hardware
    facts : ModelFacts, optional
    caches : tuple of SimulatedCache
        All phases together first for each setting; single phases only where the trace has both.
    curve : tuple of CurvePoint
    gaps : tuple of RecoverableGap
    hot_sets : tuple of HotSet
    working_sets : tuple of WorkingSet
    plan : CapacityPlan
    recalls : mapping of (predictor, lookahead) to float
        Recall over all accesses of what the predictors found, whether in the cache or not; for comparison.
    options : mapping
        Of the command line, for the record.
    """

    meta: TraceMeta
    routers: tuple[Router, ...]
    folder: str
    n_tokens: int
    n_documents: int
    n_units: int
    notes: tuple[str, ...]
    batch: int
    chunk: int
    hardware: Hardware
    facts: ModelFacts | None
    caches: tuple[SimulatedCache, ...]
    curve: tuple[CurvePoint, ...]
    gaps: tuple[RecoverableGap, ...]
    hot_sets: tuple[HotSet, ...]
    working_sets: tuple[WorkingSet, ...]
    plan: CapacityPlan
    recalls: Mapping[tuple[str, int], float] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
