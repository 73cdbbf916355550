"""Replays of one trace with and without prefetching, on a machine of which the time to compute a layer is varied."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

import routestat as rs
from routestat.counting.board_rows import board_rows
from routestat.counting.counts import MAX_STATES
from routestat.forecast.kept_predictions import KeptPredictions, keep_predictions
from routestat.forecast.specification import BoardPlan
from routestat.inference.base.estimate import (
    Estimate,
    effective_dof,
    ratio,
    sandwich_error,
    with_interval,
    without_interval,
)
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few
from routestat.progress import silent
from routestat.serving.replay import replay
from routestat.serving.replay_sums import ReplaySums
from routestat.serving.settings import CacheSetting, Hardware
from routestat.serving.steps import Steps, make_steps
from routestat.study.simulation import sample_of_plan
from routestat.study.simulation_plan import PERFECT, SimulationPlan
from routestat.study.simulation_predictions import Predictions, make_predictions
from routestat.traces.metadata import Router

CAUSAL = ("lru", "lfu", "lfu-decay", "predictor")
BANDWIDTH = 25e9
#: Seconds that a layer computes, where nothing else is said.
COMPUTE = 0.2e-3
AHEAD = (1, 2)
#: Shares of right experts of predictions with planted errors.
RIGHT = (0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0)
NO_CACHE = CacheSetting("none")


@dataclass(eq=False)
class Replays:
    """Replays of one trace, each made once.

    Attributes
    ----------
    steps : Steps
    predictions : Predictions
        Of other documents than those of the predictors.
    expert_bytes : float
    found : dict
        By setting and seconds of compute.
    """

    steps: Steps
    predictions: Predictions
    expert_bytes: float
    found: dict[tuple[CacheSetting, float], ReplaySums] = field(default_factory=dict)

    @property
    def transfer(self) -> float:
        """Seconds that one expert takes on the link."""
        return self.expert_bytes / BANDWIDTH

    @property
    def top_k(self) -> int:
        """Experts that a token chooses at a layer."""
        return max(router.top_k for router in self.steps.routers)

    @property
    def predictors(self) -> tuple[str, ...]:
        """Whose predictions can be prefetched, perfect ones aside."""
        return tuple(dict.fromkeys(name for name, _ in self.predictions.prefetch if name != PERFECT))

    def sums(self, setting: CacheSetting, compute: float = COMPUTE) -> ReplaySums:
        """Replay a setting, or return what was found before."""
        # Without prefetching nothing is loaded while a layer computes.
        compute = compute if setting.lookahead else COMPUTE
        key = setting, compute
        if key not in self.found:
            kept = self.predictions.prefetch.get((setting.predictor, setting.lookahead))
            self.found[key] = self._replay(setting, compute, kept)
        return self.found[key]

    def with_errors(
        self, capacity: float, compute: float, planted: Sequence[KeptPredictions]
    ) -> list[ReplaySums]:
        """Replay LRU with prefetching one layer ahead by each of several predictions."""
        setting = prefetching(self, capacity, "planted", 1, self.top_k)
        return [self._replay(setting, compute, kept) for kept in planted]

    def _replay(self, setting: CacheSetting, compute: float, kept: KeptPredictions | None) -> ReplaySums:
        return replay(
            self.steps,
            setting,
            eviction=self.predictions.eviction if setting.policy == "predictor" else None,
            prefetch=kept,
            hardware=Hardware(self.expert_bytes, BANDWIDTH, compute),
        )


def make_replays(
    trace: rs.Trace, predictors: Sequence[str], expert_bytes: float, most_tokens: int
) -> Replays:
    """Predict every token of about so many by models of other documents, for replays.

    Parameters
    ----------
    trace
        Of whole documents of it, as many as have that many tokens are replayed.
    predictors
        Names in the catalogue of predictors.
    expert_bytes
        Of one expert of one layer.
    most_tokens
        About so many.
    """
    # A simulation does not search for the penalty of ridges, which matters in small traces.
    plan = SimulationPlan(predictors=("popularity",), lookaheads=AHEAD, most_tokens=most_tokens, threads=1)
    sample = sample_of_plan(trace, plan)
    steps = make_steps(sample, sample.routers)
    predictions = make_predictions(sample, steps, plan, silent)
    view = "subset" if max(router.alphabet.size for router in steps.routers) <= MAX_STATES else "expert"
    places = 2 * max(router.top_k for router in steps.routers)
    rows = board_rows(sample, steps.routers)
    kept = keep_predictions(rows, predictors, AHEAD, places, view, BoardPlan(timed=False, threads=1))
    # What uses no layer of the token is known at every distance.
    prefetch = {(name, n): kept.get((name, n)) or kept[name, 0] for name in predictors for n in AHEAD}
    perfect = {(PERFECT, n): predictions.prefetch[PERFECT, n] for n in AHEAD}
    return Replays(steps, replace(predictions, prefetch=prefetch | perfect), expert_bytes)


def alone(capacity: float, policy: str = "lru") -> CacheSetting:
    """Return a cache of this many experts per layer without prefetching."""
    return CacheSetting(policy, "layer", capacity, predictor="best" if policy == "predictor" else "")


def prefetching(
    replays: Replays,
    capacity: float,
    predictor: str,
    ahead: int = 1,
    candidates: int = 0,
    policy: str = "lru",
) -> CacheSetting:
    """Return a cache with prefetching; of the experts of one token unless a number of candidates is given."""
    number = candidates or replays.top_k
    return replace(alone(capacity, policy), predictor=predictor, lookahead=ahead, candidates=number)


def best_causal(replays: Replays, capacity: float) -> CacheSetting:
    """Return the policy without knowledge of the future that has the fewest loads."""
    settings = [alone(capacity, policy) for policy in CAUSAL]
    return min(settings, key=lambda one: float(replays.sums(one).loads.sum()))


def by_unit(values: Floats, first: int = 0) -> Floats:
    """Sum ``[unit, phase, layer]`` over phases, and over layers from a place on."""
    return np.asarray(values[:, :, first:].sum(axis=(1, 2)))


def ratio_of_units(top: Floats, bottom: Floats) -> Estimate:
    """Estimate a ratio of sums over units, of either sign; without an interval where all units have the same ratio."""
    found = ratio(top, bottom)
    if found.standard_error <= 1e-12 * abs(found.value):
        return without_interval(found.value, found.n_groups, "the same value in every unit")
    return found


def change(new: ReplaySums, old: ReplaySums) -> Estimate:
    """Estimate by which share the stall of one replay differs from that of another, paired by documents."""
    before = by_unit(old.column("stall"))
    return ratio_of_units(by_unit(new.column("stall")) - before, before)


def recall_and_precision(sums: ReplaySums, ahead: int) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return what recall and precision are ratios of, each ``[unit]``: of experts that are not in the cache.

    Without a cache, that is all experts. Layers without one so far before them are left out, as nothing can be
    prefetched there.
    """
    right = by_unit(sums.column("prefetched_hits"), ahead)
    sought = right + by_unit(sums.column("misses"), ahead)
    return (right, sought), (right, by_unit(sums.column("prefetched"), ahead))


def difference(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Estimate:
    """Estimate the difference of two ratios of sums over the same units.

    Parameters
    ----------
    first, second
        Numerator and denominator, each ``[unit]``.
    """
    values = [top.sum() / bottom.sum() for top, bottom in (first, second)]
    scores = [
        (top - value * bottom) / bottom.sum()
        for value, (top, bottom) in zip(values, (first, second), strict=True)
    ]
    value, sizes = float(values[0] - values[1]), first[1]
    if why := too_few(sizes):
        return without_interval(value, len(sizes), why)
    error = float(sandwich_error(scores[0] - scores[1]))
    return with_interval(value, error, effective_dof(sizes), len(sizes))


def planted_errors(
    perfect: KeptPredictions, routers: Sequence[Router], right: Sequence[float], rng: np.random.Generator
) -> list[KeptPredictions]:
    """Replace experts of perfect predictions by others, so that a share of them remains right.

    Each expert is replaced independently, by one of those that the token did not choose, all equally probable. What is
    right at a small share is also right at a larger one.
    """
    found = [perfect.experts.copy() for _ in right]
    for layer, router in enumerate(routers):
        chosen = perfect.experts[:, layer, : router.top_k]
        known = chosen[:, 0] >= 0
        order = rng.random((len(chosen), router.n_experts), np.float32)
        np.put_along_axis(order, np.where(chosen >= 0, chosen, 0).astype(np.int64), 2.0, axis=1)
        wrong = np.argsort(order, axis=1)[:, : router.top_k].astype(np.int16)
        draw = rng.random(chosen.shape)
        for share, experts in zip(right, found, strict=True):
            replaced = (draw >= share) & known[:, None]
            experts[:, layer, : router.top_k] = np.where(replaced, wrong, chosen)
    return [replace(perfect, experts=experts) for experts in found]


def break_even(precision: Sequence[float], changes: Sequence[float]) -> float:
    """Return the precision from which on the stall is shorter, linear between what was replayed; NaN if it never is.

    Parameters
    ----------
    precision
        Ascending.
    changes
        Of the stall, at each.
    """
    longer = np.flatnonzero(np.asarray(changes) >= 0)
    if not len(longer):
        return float(precision[0])
    last = int(longer[-1])
    if last + 1 == len(changes):
        return float("nan")
    share = changes[last] / (changes[last] - changes[last + 1])
    return float(precision[last] + share * (precision[last + 1] - precision[last]))
