"""A trace replayed through caches of experts: what policies and predictions cost and save."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample, take_sample, whole_documents
from routestat.forecast.gate import lookahead_columns
from routestat.inference.base.estimate import Estimate
from routestat.progress import Tick, in_threads, silent
from routestat.serving.cache_estimates import ALL, SimulatedCache, share_of_units, simulated_cache
from routestat.serving.capacity_plan import plan_capacity, sizes_between
from routestat.serving.hot_sets import HotSet, hot_sets
from routestat.serving.lru_curve import LruCurve, lru_curve
from routestat.serving.pins import pinned_experts
from routestat.serving.replay import replay
from routestat.serving.replay_sums import ReplaySums
from routestat.serving.settings import CacheSetting, policy_of
from routestat.serving.steps import Steps, make_steps
from routestat.serving.working_sets import working_sets
from routestat.structure.model_facts import require_fit
from routestat.study.simulation_findings import CurvePoint, RecoverableGap, Simulation
from routestat.study.simulation_notes import cautions_of, simulation_notes
from routestat.study.simulation_plan import MOST_ACCESSES, SimulationPlan, cache_settings, capacities_of
from routestat.study.simulation_predictions import Predictions, make_predictions
from routestat.traces.store import Trace
from routestat.traces.validation import PHASES

#: Why there are no pins.
NO_OTHERS = "one independent unit of documents: there are no other documents that could show what to pin"
# Sizes at which the curve of the pool, and of each layer, is shown.
_POOL_SIZES, _LAYER_SIZES = 64, 16
#: Replays by their setting.
Replayed = Mapping[CacheSetting, ReplaySums]


def simulate(trace: Trace, plan: SimulationPlan, tick: Tick = silent) -> Simulation:
    """Replay a trace through caches, with and without prefetching.

    Static pins and predictions are those of other documents than the replayed ones.

    Parameters
    ----------
    trace : Trace
    plan : SimulationPlan
    tick : callable(what, done, total)

    Raises
    ------
    RoutestatError
        If a setting does not fit the trace, or a predictor that was named cannot be fitted to it.
    """
    sample = sample_of_plan(trace, plan, tick)
    steps = make_steps(sample, sample.routers, batch=plan.batch, chunk=plan.chunk)
    fitting = () if plan.facts is None else require_fit(plan.facts, steps.routers)
    # A setting that does not fit fails before predictors are fitted.
    cache_settings(plan, steps, "", ())
    predictions = make_predictions(sample, steps, plan, tick)
    eviction = "" if predictions.eviction is None else predictions.eviction.predictor
    settings = cache_settings(plan, steps, eviction, tuple(predictions.prefetch))
    pinned = [CacheSetting("static", "layer", float(size)) for size in _sizes_of_pins(steps, plan)]
    none = CacheSetting("none")
    replayed = _replays(steps, [*settings, *pinned, none], plan, predictions, tick)
    measured = replayed[none]
    tick("curves of LRU", 0, 1)
    curves = {
        scope: lru_curve(steps, scope, plan.starts[0]) for scope in dict.fromkeys(("layer", *plan.scopes))
    }
    tick("curves of LRU", 1, 1)
    lru_hits = curves["layer"].hits_of_layers
    accesses = curves["layer"].accesses.sum(axis=1)
    return Simulation(
        meta=trace.meta,
        routers=steps.routers,
        folder=str(trace.folder or ""),
        n_tokens=int(steps.tokens.sum()),
        n_documents=int(steps.documents.sum()),
        n_units=steps.n_units,
        notes=(*simulation_notes(trace, sample, steps, plan, predictions.reason), *fitting),
        batch=plan.batch,
        chunk=plan.chunk,
        hardware=plan.hardware,
        facts=plan.facts,
        caches=tuple(_caches(steps, settings, replayed, plan, predictions.reason)),
        curve=tuple(_points(steps, curves, measured)),
        gaps=tuple(_gaps(settings, replayed)),
        hot_sets=_hot_sets(steps, plan, replayed, lru_hits, measured),
        working_sets=working_sets(steps),
        plan=plan_capacity(lru_hits, accesses, steps, plan.hardware, plan.stall_budget),
        recalls={key: kept.recall for key, kept in predictions.prefetch.items()},
        options=plan.options,
    )


def sample_of_plan(trace: Trace, plan: SimulationPlan, tick: Tick = silent) -> Sample:
    """Read the documents that are replayed: all, or as many whole ones as the plan allows."""
    routers = trace.routers(plan.layers)
    recorded = lookahead_columns(trace.columns, routers) if plan.predictors else ()
    sample = take_sample(
        trace,
        plan.layers,
        companions=[one.column for one in recorded],
        progress=lambda done, total: tick("reading", done, total),
    )
    most = plan.most_tokens or max(1, MOST_ACCESSES // sum(router.top_k for router in routers))
    return whole_documents(sample, most)


def _replays(
    steps: Steps, settings: Sequence[CacheSetting], plan: SimulationPlan, predictions: Predictions, tick: Tick
) -> Replayed:
    """Replay all settings that can be, each once."""
    wanted = [
        setting for setting in dict.fromkeys(settings) if not _why_not(setting, steps, predictions.reason)
    ]
    pins = {
        (setting.scope, setting.capacity): pinned_experts(steps, setting.scope, setting.capacity)
        for setting in wanted
        if setting.policy == "static"
    }
    jobs = [
        partial(
            replay,
            steps,
            setting,
            pinned=pins.get((setting.scope, setting.capacity)) if setting.policy == "static" else None,
            eviction=predictions.eviction if setting.policy == "predictor" else None,
            prefetch=predictions.prefetch.get((setting.predictor, setting.lookahead)),
            hardware=plan.hardware,
        )
        for setting in wanted
    ]
    return dict(zip(wanted, in_threads(jobs, plan.threads, tick, "replaying caches"), strict=True))


def _why_not(setting: CacheSetting, steps: Steps, reason: str) -> str:
    """Return why a setting cannot be replayed, or nothing."""
    if setting.policy == "static" and steps.n_units < 2:
        return NO_OTHERS
    return reason if setting.policy == "predictor" and not setting.predictor else ""


def _caches(
    steps: Steps, settings: Sequence[CacheSetting], replayed: Replayed, plan: SimulationPlan, reason: str
) -> list[SimulatedCache]:
    """Return every setting with both phases together, and in each where the trace has both."""
    several = (steps.tokens.sum(axis=0) > 0).sum() > 1
    measured = replayed[CacheSetting("none")]
    found = []
    for setting in settings:
        why = _why_not(setting, steps, reason)
        sums = measured if why else replayed[setting]
        found += [
            simulated_cache(
                sums,
                steps,
                setting,
                plan.hardware,
                phase,
                reason=why,
                cautions=cautions_of(setting, steps, sums),
            )
            for phase in ((ALL, *PHASES) if several else (ALL,))
        ]
    return found


def _points(steps: Steps, curves: Mapping[str, LruCurve], measured: ReplaySums) -> list[CurvePoint]:
    """Return the curves of LRU; of a pool from the capacity on at which it holds what a step needs."""
    most = max(router.n_experts for router in steps.routers)
    least = max(router.top_k for router in steps.routers)
    found = []
    for scope, curve in curves.items():
        needed = curve.accesses.sum(axis=1)
        whole, all_accesses = curve.hits_of_all.sum(axis=2), needed.sum(axis=1)
        sizes: Sequence[int] = range(least, most + 1)
        if scope == "pool":
            cycle = int(np.ceil(measured.column("accesses").sum() / len(steps)))
            sizes = sizes_between(max(1, min(cycle, curve.most_slots)), curve.most_slots, _POOL_SIZES)
        found += [CurvePoint(scope, None, n, share_of_units(whole[n], all_accesses)) for n in sizes]
        if scope == "pool":
            continue
        for place, router in enumerate(steps.routers):
            hits = curve.hits_of_layer(place).sum(axis=2)
            found += [
                CurvePoint(scope, router.layer, n, share_of_units(hits[n], needed[:, place]))
                for n in sizes_between(router.top_k, router.n_experts, _LAYER_SIZES)
            ]
    return found


def _gaps(settings: Sequence[CacheSetting], replayed: Replayed) -> list[RecoverableGap]:
    """Compare Belady's optimum with the best causal policy at each capacity."""
    found = []
    for optimum in settings:
        if optimum.policy != "belady":
            continue
        causal = [
            one
            for one in settings
            if policy_of(one.policy).causal
            and one.policy != "none"
            and not one.lookahead
            and one in replayed
            and (one.scope, one.start, one.capacity) == (optimum.scope, optimum.start, optimum.capacity)
        ]
        if not causal:
            continue
        loads = {one: replayed[one].loads.sum(axis=(1, 2)) for one in [*causal, optimum]}
        best = min(causal, key=lambda one: float(loads[one].sum()))
        gap: Estimate = share_of_units(loads[best] - loads[optimum], loads[best])
        found.append(
            RecoverableGap(
                optimum.scope,
                optimum.start,
                optimum.capacity,
                best.policy,
                int(loads[best].sum()),
                int(loads[optimum].sum()),
                gap,
            )
        )
    return found


def _hot_sets(
    steps: Steps, plan: SimulationPlan, replayed: Replayed, lru_hits: NDArray[np.int64], measured: ReplaySums
) -> tuple[HotSet, ...]:
    sizes = _sizes_of_pins(steps, plan)
    if steps.n_units < 2:
        return hot_sets(steps, dict.fromkeys(sizes, measured), lru_hits, measured, NO_OTHERS)
    static = {size: replayed[CacheSetting("static", "layer", float(size))] for size in sizes}
    return hot_sets(steps, static, lru_hits, measured)


def _sizes_of_pins(steps: Steps, plan: SimulationPlan) -> list[int]:
    """Return the capacities at which single layers are looked at: whole ones that hold a token's experts."""
    least = max(router.top_k for router in steps.routers)
    most = max(router.n_experts for router in steps.routers)
    return sorted({int(one) for one in capacities_of(plan, steps) if least <= int(one) <= most})
