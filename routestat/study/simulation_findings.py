"""What `simulate` finds: frozen, with everything that the report prints."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from routestat.inference.base.estimate import Estimate
from routestat.serving.settings import CacheSetting, Hardware
from routestat.structure.model_facts import ModelFacts
from routestat.traces.metadata import Router, TraceMeta


@dataclass(frozen=True)
class SimulatedCache:
    """One simulation in one phase.

    Attributes
    ----------
    setting : CacheSetting
    phase : str
        "prefill", "decode", or "all" for both.
    tokens, events : int
    logical_accesses, accesses : int
        Measured: choices of experts by tokens, and experts that events need (the unions).
    hits, prefetched_hits, misses, prefetched_loads : int
        Simulated: accesses that were in the cache, that were prefetched, neither; and experts that were prefetched.
    hit_rate : Estimate
        Hits per access.
    served_rate : Estimate
        Hits and prefetched hits per access.
    miss_share : Estimate
        Experts moved per logical access.
    precision, recall : Estimate
        Of the prefetched experts, those that were needed; of the accesses that are not in the cache, the prefetched
        ones. NaN with a reason where nothing is prefetched.
    union_to_capacity : Estimate
        Accesses per event, over the capacity of a layer.
    loads_per_token : Estimate
    stall_per_token : Estimate
        Estimated: seconds; NaN with a reason where the machine is not known.
    bytes, bytes_demanded, bytes_wasted : float
        Estimated: moved in all, moved while an event waited, moved and not needed; NaN where unknown.
    stall_seconds : float
        Estimated; NaN where unknown.
    reason : str
        Why the simulation could not be made, or empty; then all figures but `accesses` are NaN or 0.
    cautions : tuple of str
        Words on what misleads, such as a pool smaller than what one token needs.
    """

    setting: CacheSetting
    phase: str
    tokens: int
    events: int
    logical_accesses: int
    accesses: int
    hits: int
    prefetched_hits: int
    misses: int
    prefetched_loads: int
    hit_rate: Estimate
    served_rate: Estimate
    miss_share: Estimate
    precision: Estimate
    recall: Estimate
    union_to_capacity: Estimate
    loads_per_token: Estimate
    stall_per_token: Estimate
    bytes: float
    bytes_demanded: float
    bytes_wasted: float
    stall_seconds: float
    reason: str = ""
    cautions: tuple[str, ...] = ()

    @property
    def loads(self) -> int:
        """Experts moved, on demand or ahead."""
        return self.misses + self.prefetched_loads


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
class HotSet:
    """Whether some experts of a layer are used so often in all documents that pinning them is worth it.

    Attributes
    ----------
    layer : int
    capacity : int
        Experts that are pinned.
    static, lru : Estimate
        Hit rates: of the experts that other documents use most, pinned, and of LRU.
    uniform : float
        Of as many experts pinned at random: capacity / experts.
    """

    layer: int
    capacity: int
    static: Estimate
    lru: Estimate
    uniform: float


@dataclass(frozen=True)
class WorkingSet:
    """Different experts of a layer that consecutive tokens of a document need.

    Attributes
    ----------
    layer : int, optional
        None for the mean over layers.
    tokens : int
        Tokens of a block.
    experts : Estimate
        Mean number of different experts.
    independent : float
        The same if every token chose anew by the load of the layer.
    """

    layer: int | None
    tokens: int
    experts: Estimate
    independent: float


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
    """

    sizes: tuple[PlannedCapacity, ...]
    stall_budget: float | None
    smallest: PlannedCapacity | None
    reason: str = ""


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
