"""The study of a simulation: every figure is that of a replay, pins and predictions are of other documents."""

import math
from dataclasses import replace

import numpy as np
import pytest

from routestat.counting.document_sample import take_sample
from routestat.errors import RoutestatError
from routestat.serving.pins import pinned_experts
from routestat.serving.replay import replay
from routestat.serving.settings import CacheSetting, Hardware
from routestat.serving.steps import make_steps
from routestat.study.simulation import simulate
from routestat.study.simulation_plan import SimulationPlan
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.store import Trace
from tests.serving.served_steps import random_choices, trace_of

MACHINE = Hardware(expert_bytes=1e6, bandwidth=1e9)
LENGTHS = [20, 33, 27, 24, 30, 26, 31, 22]


def routed(lengths=LENGTHS, seed=0, **more):
    """A trace whose tokens often repeat the choice of the token before, and of the layer before."""
    rng = np.random.default_rng(seed)
    experts = random_choices(sum(lengths), n_layers=4, seed=seed, skew=0.2)
    for token in range(1, len(experts)):
        again = rng.random(4) < 0.4
        experts[token, again] = experts[token - 1, again]
        for layer in (1, 3):
            if rng.random() < 0.5:
                experts[token, layer] = experts[token, layer - 1]
    return trace_of(lengths, experts, **more)


@pytest.fixture(scope="module")
def trace():
    return routed(phase=[p for n in LENGTHS for p in ["prefill"] * 5 + ["decode"] * (n - 5)])


@pytest.fixture(scope="module")
def steps(trace):
    sample = take_sample(trace)
    return make_steps(sample, sample.routers)


PLAN = SimulationPlan(
    capacities=(2, 4), policies=("none", "static", "lru", "lfu-decay", "predictor", "belady"),
    predictors=("ridge-1", "best"), candidates=(2, 3), hardware=MACHINE, stall_budget=5e-3, threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def found(trace):
    return simulate(trace, PLAN)


def of(found, policy, capacity, phase="all", **more):
    (one,) = [
        cache
        for cache in found.caches
        if (cache.setting.policy, cache.setting.capacity, cache.phase) == (policy, capacity, phase)
        and cache.setting.lookahead == more.get("lookahead", 0)
        and all(getattr(cache.setting, name) == value for name, value in more.items())
    ]
    return one


def test_every_setting_is_there_once_with_its_phases(found):
    settings = [cache.setting for cache in found.caches if cache.phase == "all"]
    assert len(settings) == len(set(settings))
    assert [cache.phase for cache in found.caches[:3]] == ["all", "prefill", "decode"]
    assert len(found.caches) == 3 * len(settings)
    names = {(s.policy, s.predictor, s.lookahead, s.candidates) for s in settings if s.lookahead}
    best = next(name for name, _ in found.recalls if name not in ("ridge-1", "perfect"))
    assert names == {
        ("lru", "ridge-1", 1, 2), ("lru", "ridge-1", 1, 3), ("lru", best, 1, 2), ("lru", best, 1, 3),
        ("lru", "perfect", 1, 2),
    }  # fmt: skip
    assert found.recalls["perfect", 1] == 1


def test_the_best_predictor_has_the_highest_recall(trace, found):
    best = next(name for name, _ in found.recalls if name not in ("ridge-1", "perfect"))
    named = simulate(
        trace, replace(PLAN, policies=("lru",), capacities=(4,), predictors=("layer-1", "ridge-all"))
    )
    assert best == max(("layer-1", "ridge-all"), key=lambda name: named.recalls[name, 1])
    assert found.recalls[best, 1] == named.recalls[best, 1]


def test_figures_are_those_of_replays(found, steps):
    for policy in ("lru", "belady", "lfu-decay"):
        sums = replay(steps, CacheSetting(policy, capacity=4))
        one = of(found, policy, 4)
        assert one.hits == sums.column("hits").sum()
        assert one.misses == sums.column("misses").sum()
        assert one.hit_rate.value == pytest.approx(one.hits / one.accesses)
        assert one.stall_seconds == pytest.approx(one.misses * 1e-3)
        for name in ("hits", "misses", "tokens", "events"):
            parts = [getattr(of(found, policy, 4, phase), name) for phase in ("prefill", "decode")]
            assert sum(parts) == getattr(one, name)


def test_pins_are_those_of_other_documents(found, steps):
    sums = replay(steps, CacheSetting("static", capacity=2), pinned=pinned_experts(steps, "layer", 2))
    assert of(found, "static", 2).hits == sums.column("hits").sum()
    hits = sums.column("hits").sum(axis=(0, 1))
    shown = [one.static.value for one in found.hot_sets if one.capacity == 2]
    assert shown == pytest.approx(hits / (2 * sum(LENGTHS)))


def test_the_curve_of_lru_is_that_of_replays(found):
    points = {(one.layer, one.capacity): one.hit_rate for one in found.curve}
    for capacity in (2, 4):
        assert points[None, capacity].value == pytest.approx(of(found, "lru", capacity).hit_rate.value)
        shown = [one.lru.value for one in found.hot_sets if one.capacity == capacity]
        assert shown == pytest.approx([points[layer, capacity].value for layer in range(4)])
    equal = {one.slots_in_all: one.equal_hit_rate.value for one in found.plan.sizes}
    assert equal[16] == pytest.approx(points[None, 4].value)


def test_the_gap_is_between_the_best_causal_policy_and_the_optimum(found):
    for gap in found.gaps:
        loads = {
            name: of(found, name, gap.capacity).loads for name in ("lru", "lfu-decay", "predictor", "belady")
        }
        causal = min(n for name, n in loads.items() if name != "belady")
        assert (gap.best_loads, gap.optimal_loads) == (causal, loads["belady"])
        assert gap.gap.value == pytest.approx(1 - loads["belady"] / causal)
    assert [gap.capacity for gap in found.gaps] == [2, 4]


def test_a_perfect_prediction_lacks_only_the_first_layer(found, steps):
    sums = replay(steps, CacheSetting("lru", capacity=2))
    one = of(found, "lru", 2, lookahead=1, predictor="perfect")
    assert one.misses == sums.column("misses")[:, :, 0].sum()
    assert one.precision.value == 1
    assert "up to 2 slots beside the cache" in one.cautions[0]
    assert one.loads == of(found, "lru", 2).loads


def test_the_smallest_memory_within_the_budget(found):
    plan = found.plan
    assert plan.held_out
    within = [one for one in plan.sizes if one.stall_per_token <= 5e-3]
    assert plan.smallest == within[0]
    assert plan.smallest.bytes == 1e6 * plan.smallest.slots_in_all


def test_a_second_run_gives_the_same(trace, found):
    again = simulate(trace, replace(PLAN, threads=2))
    # NaN is not equal to itself.
    assert repr(again) == repr(found)


def test_one_document_has_no_pins_no_predictions_and_no_intervals():
    found = simulate(routed([60]), SimulationPlan(capacities=(3,), threads=1))
    assert found.n_units == 1
    assert "no other documents" in of(found, "static", 3).reason
    assert "one group of documents" in of(found, "predictor", 3).reason
    lru = of(found, "lru", 3)
    assert 0 < lru.hit_rate.value < 1
    assert math.isnan(lru.hit_rate.low)
    assert "1 independent unit" in lru.hit_rate.reason
    assert {name for name, _ in found.recalls} == {"perfect"}
    assert all(math.isnan(one.static.value) and one.static.reason for one in found.hot_sets)
    assert not found.plan.held_out
    with pytest.raises(RoutestatError, match="--predictor layer-1: all tokens are of one group"):
        simulate(routed([60]), SimulationPlan(predictors=("layer-1",)))


def test_a_pool_smaller_than_a_step_is_cautioned_and_not_on_the_curve(trace):
    plan = replace(
        PLAN, scopes=("pool",), capacities=(1.5, 4), policies=("lru",), predictors=(), stall_budget=None
    )
    found = simulate(trace, plan)
    small, large = (of(found, "lru", capacity) for capacity in (1.5, 4))
    assert "smaller than the 8 that one step needs" in small.cautions[0]
    assert not large.cautions
    pool = [one.capacity for one in found.curve if one.scope == "pool"]
    assert (min(pool), max(pool)) == (8, 32)
    assert not found.gaps


def test_an_event_with_more_experts_than_slots_is_cautioned(trace):
    found = simulate(trace, replace(PLAN, batch=8, policies=("lru",), predictors=()))
    assert "experts on average, more than the 2" in of(found, "lru", 2).cautions[0]
    assert of(found, "lru", 2).union_to_capacity.value > 1
    assert found.n_units == 1


def test_starts_are_replayed_each(trace, steps):
    plan = replace(PLAN, starts=("warm", "document"), policies=("lru",), predictors=(), stall_budget=None)
    found = simulate(trace, plan)
    for start in plan.starts:
        sums = replay(steps, CacheSetting("lru", capacity=4, start=start))
        assert of(found, "lru", 4, start=start).hits == sums.column("hits").sum()
    assert any("from a warm start" in note for note in found.notes)


def test_documents_are_whole_where_not_all_are_replayed():
    found = simulate(routed([10] * 40), SimulationPlan(policies=("lru",), predictors=(), most_tokens=200))
    assert (found.n_tokens, found.n_documents) == (200, 20)
    assert any("200 tokens of 20 documents taken at random" in note for note in found.notes)
    # Never so few that there would be no interval.
    assert (
        simulate(
            routed([10] * 40), SimulationPlan(policies=("lru",), predictors=(), most_tokens=40)
        ).n_documents
        == 12
    )


def test_notes_say_what_a_trace_lacks(trace, found):
    assert any("40 prefill tokens are replayed token by token" in note for note in found.notes)
    assert not any(
        "replayed token by token" in note
        for note in simulate(trace, replace(PLAN, chunk=4, policies=("lru",), predictors=())).notes
    )
    one = simulate(trace_of([9] * 7, random_choices(63, n_layers=1)), SimulationPlan(policies=("lru",)))
    assert any("one layer" in note for note in one.notes)
    assert not one.recalls
    half = Hardware(bandwidth=1e9)
    part = simulate(trace, SimulationPlan(layers=(1, 2), policies=("lru",), predictors=(), hardware=half))
    assert any("--bandwidth needs --expert-bytes" in note for note in part.notes)
    assert any(note.startswith("2 of 4 layers with experts are replayed") for note in part.notes)
    assert not any("layers with experts" in note for note in found.notes)


def test_notes_of_the_source_are_repeated():
    said = "no column of positions: the order of the rows of a document and layer is the position"
    trace = routed()
    trace.meta = replace(trace.meta, extra={"notes": [said]})
    notes = simulate(trace, replace(PLAN, policies=("lru",), predictors=())).notes
    assert notes.count(said) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policies": ("lru", "mru")}, "policy: expected one of none, static, .*got 'mru'"),
        ({"scopes": ("disk",)}, "scope: expected one of layer, pool, got 'disk'"),
        ({"starts": ()}, "start: expected one or more"),
        ({"predictors": ("oracle",)}, "predictor: expected one of best, uniform, .*got 'oracle'"),
        ({"most_tokens": 0}, "tokens: expected 1 or more"),
        ({"stall_budget": 1.0}, "expected --bandwidth"),
    ],
)  # fmt: skip
def test_plans_that_name_nothing_known_are_refused(options, words):
    with pytest.raises(RoutestatError, match=words):
        SimulationPlan(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"capacities": (9,)}, "capacity: expected at most 8"),
        ({"capacities": (1,)}, "capacity: expected at least 2"),
        ({"lookaheads": (4,)}, "lookahead: expected at most 3 layers"),
        ({"candidates": (9,)}, "candidates: expected 1 to 8"),
        ({"predictors": ("gate",)}, "--predictor gate: .*capture with --lookahead 1"),
        ({"predictors": ("token-id",)}, "--predictor token-id: .*may lack token ids"),
        ({"predictors": ("layers-2",), "lookaheads": (2,)}, "--predictor layers-2: .*choose from layer-1"),
        ({"batch": 0}, "batch: expected 1 or more, got 0"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_the_trace_are_refused(trace, options, words):
    with pytest.raises(RoutestatError, match=words):
        simulate(trace, SimulationPlan(**options))


def test_layers_of_different_widths_and_missing_choices():
    rng = np.random.default_rng(5)
    routers = (Router(0, 8, 2), Router(1, 4, 1), Router(2, 6, 3))
    document = np.repeat(np.arange(8), 25)
    states = {router.name: rng.integers(0, router.alphabet.size, 200) for router in routers}
    states["L01"][::9] = routers[1].alphabet.missing
    trace = Trace.from_arrays(TraceMeta(routers), document, np.tile(np.arange(25), 8), states)
    found = simulate(trace, SimulationPlan(scopes=("layer", "pool"), stall_budget=1.0, hardware=MACHINE))
    logical = 200 * 5 + np.count_nonzero(np.arange(200) % 9)
    assert {one.logical_accesses for one in found.caches} == {logical}
    for cache in found.caches:
        assert cache.hits + cache.prefetched_hits + cache.misses == cache.accesses
        if cache.setting.policy not in ("none", "static") and not cache.setting.lookahead:
            best = of(found, "belady", cache.setting.capacity, scope=cache.setting.scope)
            assert cache.hits <= best.hits
    assert found.plan.sizes[-1].slots == (8, 4, 6)
    assert found.plan.sizes[0].slots_in_all == 9
