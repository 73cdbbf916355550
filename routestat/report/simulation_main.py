"""The setting that the words on a simulation are about, and what was simulated there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from routestat.serving.settings import POLICIES, CacheSetting, policy_of
from routestat.study.simulation_findings import (
    HotSet,
    RecoverableGap,
    SimulatedCache,
    Simulation,
    WorkingSet,
)
from routestat.study.simulation_plan import PERFECT

#: Names of policies for readers.
NAMES = {
    "none": "no cache",
    "static": "static pins",
    "lru": "LRU",
    "lfu": "LFU",
    "lfu-decay": "decayed LFU",
    "predictor": "predictor",
    "belady": "Belady",
    "belady-forced": "Belady, forced",
}


@dataclass(frozen=True)
class Main:
    """The simulations at one scope, capacity and start, both phases together.

    Attributes
    ----------
    scope : str
    capacity : float
        Experts per layer.
    start : str
    policies : tuple of SimulatedCache
        Without prefetching, one per policy and predictor, in the order of the registry.
    prefetching : tuple of SimulatedCache
        With predictors that know nothing of what they predict.
    perfect : tuple of SimulatedCache
        With perfect predictions.
    gap : RecoverableGap, optional
    """

    scope: str
    capacity: float
    start: str
    policies: tuple[SimulatedCache, ...]
    prefetching: tuple[SimulatedCache, ...]
    perfect: tuple[SimulatedCache, ...]
    gap: RecoverableGap | None

    def of(self, policy: str) -> SimulatedCache | None:
        """Return the simulation of a policy without prefetching; of the predictors the one with the fewest loads."""
        found = [one for one in self.policies if one.setting.policy == policy and not one.reason]
        return min(found, key=lambda one: one.loads, default=None)

    @property
    def best(self) -> SimulatedCache | None:
        """The causal policy without a predictor that has the fewest loads."""
        found = [
            one
            for one in self.policies
            if not one.reason and policy_of(one.setting.policy).causal and not one.setting.predictor
        ]
        return min(found, key=lambda one: one.loads, default=None)

    def without(self, one: SimulatedCache) -> SimulatedCache | None:
        """Return the simulation of the same policy without prefetching."""
        return self.of(one.setting.policy)

    @property
    def best_prefetching(self) -> SimulatedCache | None:
        """The prefetching with the least stall or, where the machine is not known, the highest precision."""
        return _best(self.prefetching)

    @property
    def best_perfect(self) -> SimulatedCache | None:
        """The same of perfect predictions."""
        return _best(self.perfect)


def _best(found: Sequence[SimulatedCache]) -> SimulatedCache | None:
    def rank(one: SimulatedCache) -> tuple[float, float, float]:
        stall = one.stall_per_token.value
        least = stall if math.isfinite(stall) else math.inf
        # As precise and with more prefetched in time is better.
        return least, -_known(one.precision.value), -_known(one.recall.value)

    return min((one for one in found if not one.reason), key=rank, default=None)


def _known(value: float) -> float:
    return value if math.isfinite(value) else -1.0


def main_setting(findings: Simulation) -> Main | None:
    """Return the simulations at the capacity closest to half of a layer's experts; None where there are none.

    A cache per layer and a cold start are preferred.
    """
    whole = [one for one in findings.caches if one.phase == "all"]
    cached = [one for one in whole if one.setting.policy != "none" and not one.reason]
    if not cached:
        return None
    scope = _preferred("layer", [one.setting.scope for one in cached])
    cached = [one for one in cached if one.setting.scope == scope]
    start = _preferred("cold", [one.setting.start for one in cached])
    half = max(router.n_experts for router in findings.routers) / 2
    capacities = {one.setting.capacity for one in cached if one.setting.start == start}
    capacity = min(capacities, key=lambda size: (abs(size - half), size))
    here = [one for one in whole if _is_at(one.setting, scope, capacity, start)]
    if not any(one.setting.policy == "none" for one in here):
        # Without a cache neither capacity nor scope matter.
        here += [one for one in whole if one.setting.policy == "none" and not one.setting.lookahead][:1]
    order = [policy.name for policy in POLICIES]
    plain = [one for one in here if not one.setting.lookahead]
    ahead = [one for one in here if one.setting.lookahead]
    return Main(
        scope,
        capacity,
        start,
        tuple(sorted(plain, key=lambda one: order.index(one.setting.policy))),
        tuple(one for one in ahead if one.setting.predictor != PERFECT),
        tuple(one for one in ahead if one.setting.predictor == PERFECT),
        next(
            (
                gap
                for gap in findings.gaps
                if (gap.scope, gap.capacity, gap.start) == (scope, capacity, start)
            ),
            None,
        ),
    )


def _preferred(wish: str, found: Sequence[str]) -> str:
    return wish if wish in found else found[0]


def _is_at(setting: CacheSetting, scope: str, capacity: float, start: str) -> bool:
    return (setting.scope, setting.capacity, setting.start) == (scope, capacity, start)


def label(setting: CacheSetting) -> str:
    """Return the policy for readers; of the policy `predictor` with the name of the predictor."""
    name = NAMES.get(setting.policy, setting.policy)
    return f"{name} ({setting.predictor})" if setting.policy == "predictor" and setting.predictor else name


def clearly(lower: SimulatedCache, higher: SimulatedCache) -> bool:
    """Whether the intervals of the stall per token do not overlap, in this order."""
    return lower.stall_per_token.high < higher.stall_per_token.low


def hot_sets_at(findings: Simulation, main: Main | None) -> Sequence[HotSet]:
    """Return the hot sets at the main capacity or, where it has none, at the capacity nearest to it."""
    if not findings.hot_sets:
        return ()
    aim = findings.hot_sets[0].capacity if main is None else main.capacity
    nearest = min({one.capacity for one in findings.hot_sets}, key=lambda size: (abs(size - aim), size))
    return [one for one in findings.hot_sets if one.capacity == nearest]


def mean_working_sets(findings: Simulation) -> list[WorkingSet]:
    """Return the means over the layers, or the only layer, by the length of the block."""
    means = [one for one in findings.working_sets if one.layer is None]
    layers = {one.layer for one in findings.working_sets}
    found = means or (list(findings.working_sets) if len(layers) == 1 else [])
    return sorted((one for one in found if math.isfinite(one.experts.value)), key=lambda one: one.tokens)
