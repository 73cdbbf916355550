"""Replayed caches: counted by hand, against slow sets and lists, and properties that must hold."""

from functools import partial
from itertools import product

import numpy as np
import pytest

from routestat.progress import in_threads
from routestat.serving import passes as module
from routestat.serving.replay import replay
from routestat.serving.settings import POLICIES, SCOPES, STARTS, CacheSetting, Hardware
from routestat.traces.metadata import Router
from tests.oracle.cache_oracle import most_hits, oracle
from tests.serving.cache_cases import many_steps, random_pins, random_predictions, random_steps, steps_of

NAMES = [policy.name for policy in POLICIES]
KEEPING = [name for name in NAMES if name not in ("none", "static")]
# Sums of seconds are exact where seconds are multiples of a power of two.
MACHINE = Hardware(expert_bytes=3.0, bandwidth=8.0, compute=0.25)


def inputs_of(steps, setting, seed):
    return {
        "pinned": random_pins(steps, setting.capacity, setting.scope, seed),
        "eviction": random_predictions(steps, seed),
        "prefetch": random_predictions(steps, seed + 1),
    }


def hits_of(unions, policy, capacity, n_experts=8, **options):
    """Return the hits of every step, each of one token at one layer."""
    steps = steps_of(unions, n_experts, unit=range(len(unions)), first=[True] + [False] * (len(unions) - 1))
    return replay(steps, CacheSetting(policy, "layer", capacity, **options)).column("hits")[:, 0, 0].tolist()


def test_lru_keeps_what_was_used_last_counted_by_hand():
    # After each step: 01, 12, 02, 03, 03, 13.
    assert hits_of([{0, 1}, {1, 2}, {0, 2}, {0, 3}, {0, 3}, {1, 3}], "lru", 2) == [0, 1, 1, 1, 2, 1]


def test_the_highest_of_an_event_is_used_last_counted_by_hand():
    # Three experts and two slots: 0 is removed at the end of its own event.
    assert hits_of([{0, 1, 2}, {0}, {1}, {2}], "lru", 3) == [0, 1, 1, 1]
    steps = many_steps(
        np.array([[[0, 1]], [[1, 2]], [[0, -1]], [[2, -1]]], np.int16), [Router(0, 4, 2)], [0, 2, 3, 4]
    )
    sums = replay(steps, CacheSetting("lru", "layer", 2))
    assert sums.column("accesses").tolist() == [[[5], [0]]]
    assert sums.column("logical").tolist() == [[[6], [0]]]
    # The union 012 leaves 12; then 0 replaces 1; then 2 is there.
    assert sums.column("hits").sum() == 1
    assert sums.column("events").sum() == 3


def test_an_event_is_classified_before_it_changes_the_cache_counted_by_hand():
    # Replayed one by one 0 would be removed by 2 before it is looked up.
    assert hits_of([{1, 3}, {0, 1, 2}], "lru", 3) == [0, 1]
    tokens = np.array([[[0, 1]], [[2, 3]], [[0, 1]]], np.int16)
    steps = many_steps(tokens, [Router(0, 4, 2)], [0, 1, 3])
    assert replay(steps, CacheSetting("lru", "layer", 2)).column("hits").sum() == 2


def test_lfu_remembers_what_is_not_cached_counted_by_hand():
    # The first 0 and 1 are not kept beside 2, which was used twice; the second 0 replaces it, as its last use is later.
    assert hits_of([{2}, {2}, {0}, {1}, {0}, {0}, {1}, {1}], "lfu", 1) == [0, 1, 0, 0, 0, 1, 0, 0]
    assert hits_of([{2}, {2}, {0}, {0}, {0}, {2}], "lfu", 1) == [0, 1, 0, 0, 1, 0]


def test_decayed_counts_forget_counted_by_hand():
    # Half-life of one step: at the third step 2 counts 1/4 + 1/2 < 1.
    assert hits_of([{2}, {2}, {0}, {0}], "lfu-decay", 1, half_life=1.0) == [0, 1, 0, 1]
    # Of 64 steps: two uses count more than one.
    assert hits_of([{2}, {2}, {0}, {2}], "lfu-decay", 1, half_life=64.0) == [0, 1, 0, 1]


def test_belady_keeps_what_is_needed_first_counted_by_hand():
    unions = [{0}, {1}, {2}, {1}, {0}, {2}]
    assert hits_of(unions, "belady", 1) == [0, 0, 0, 1, 0, 0]
    # 2 is kept from its own event on, instead of 1.
    assert hits_of(unions, "belady-forced", 1) == [0, 0, 0, 0, 0, 0]
    assert hits_of(unions, "belady", 2) == [0, 0, 0, 1, 1, 0]
    assert hits_of(unions, "belady-forced", 2) == [0, 0, 0, 1, 0, 1]


def test_an_event_larger_than_a_forced_cache_leaves_what_is_needed_first():
    tokens = np.array([[[0, 1]], [[2, 3]], [[0, 3]], [[1, 2]]], np.int16)
    steps = many_steps(tokens, [Router(0, 4, 2)], [0, 2, 3, 4])
    for policy in ("belady", "belady-forced"):
        assert replay(steps, CacheSetting(policy, "layer", 2)).column("hits").sum() == 2


def test_a_pool_smaller_than_a_token_hits_nothing_with_lru():
    tokens = np.tile(np.array([[[0], [0], [0]]], np.int16), (5, 1, 1))
    steps = many_steps(tokens, [Router(layer, 4, 1) for layer in range(3)], np.arange(6))
    assert replay(steps, CacheSetting("lru", "pool", 2 / 3)).column("hits").sum() == 0
    assert replay(steps, CacheSetting("lru", "pool", 1.0)).column("hits").sum() == 12
    assert replay(steps, CacheSetting("belady", "pool", 2 / 3)).column("hits").sum() == 8


def test_without_prefetching_the_stall_is_that_of_the_misses():
    steps = random_steps(3)
    for policy, scope in product(("none", "lru", "belady"), SCOPES):
        sums = replay(steps, CacheSetting(policy, scope, 4), hardware=MACHINE)
        assert (sums.column("stall") == sums.column("misses") * 3 / 8).all()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("policy", NAMES)
def test_sums_are_those_of_sets_and_lists(policy, scope, monkeypatch):
    for seed, start in product(range(3), STARTS):
        monkeypatch.setattr(module, "BLOCK", 7 + 30 * seed)
        steps = random_steps(seed, most=1 + 2 * seed)
        setting = CacheSetting(
            policy, scope, (3 if scope == "layer" else 0.8, 3.6, 5)[seed], start, half_life=5.0
        )
        for ahead in (0, 1, 2):
            setting_ahead = CacheSetting(
                policy,
                scope,
                setting.capacity,
                start,
                lookahead=ahead,
                candidates=1 + 2 * (ahead > 1),
                half_life=5.0,
            )
            inputs = inputs_of(steps, setting, seed)
            expected = oracle(steps, setting_ahead, **inputs, transfer=3 / 8, compute=0.25)
            found = replay(steps, setting_ahead, **inputs, hardware=MACHINE).sums
            assert (found == expected).all(), (seed, start, ahead)


def test_columns_add_up():
    steps = random_steps(5)
    setting = CacheSetting("lfu", "layer", 3, lookahead=1, candidates=3)
    sums = replay(steps, setting, **inputs_of(steps, setting, 1))
    parts = sums.column("hits") + sums.column("prefetched_hits") + sums.column("misses")
    assert (parts == sums.column("accesses")).all()
    assert (sums.wasted >= 0).all()
    assert sums.wasted.sum() > 0
    assert (sums.column("stall") == 0).all()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("start", STARTS)
def test_no_policy_has_more_hits_than_belady(scope, start):
    for seed in range(3):
        steps = random_steps(seed, missing=0.0)
        for capacity in (3, 4.5, 6):
            inputs = inputs_of(steps, CacheSetting("lru", scope, capacity), seed)
            found = {}
            for name in NAMES:
                setting = CacheSetting(name, scope, capacity, start, half_life=9.0)
                found[name] = replay(steps, setting, **inputs).column("hits").sum()
            assert max(found.values()) == found["belady"]


def test_belady_is_the_best_of_all_choices():
    rng = np.random.default_rng(0)
    for capacity in (1, 2, 3):
        for _ in range(6):
            unions = [
                set(rng.choice(5, rng.integers(1, capacity + 1), replace=False).tolist()) for _ in range(9)
            ]
            unions[0] = set(range(capacity))
            assert sum(hits_of(unions, "belady", capacity, 5)) == most_hits(unions, capacity)


def test_belady_is_the_best_of_all_choices_with_events_larger_than_the_cache():
    rng = np.random.default_rng(1)
    for _ in range(6):
        tokens = rng.integers(0, 5, (18, 1, 1)).astype(np.int16)
        steps = many_steps(tokens, [Router(0, 5, 1)], np.arange(0, 19, 2))
        unions = [set(tokens[a : a + 2].ravel().tolist()) for a in range(0, 18, 2)]
        for capacity in (1, 2):
            found = replay(steps, CacheSetting("belady", "layer", capacity)).column("hits").sum()
            assert found == most_hits(unions, capacity)


@pytest.mark.parametrize("policy", KEEPING)
def test_with_all_experts_cached_each_is_loaded_once(policy):
    steps = random_steps(1)
    expected = [len(set(steps.choices[:, layer].ravel().tolist()) - {-1}) for layer in range(4)]
    inputs = inputs_of(steps, CacheSetting(policy, "layer", 3), 1)
    sums = replay(steps, CacheSetting(policy, "layer", 9), **inputs)
    assert sums.column("misses").sum((0, 1)).tolist() == expected


def test_a_unit_alone_begins_cold():
    steps = steps_of([{0, 1}, {1, 2}, {0, 2}, {0, 1}], 4)
    warm, cold = (replay(steps, CacheSetting("lfu", "layer", 2, start)).sums for start in ("warm", "cold"))
    assert (warm == cold).all()


def test_names_of_experts_do_not_matter_where_no_event_has_two():
    rng = np.random.default_rng(4)
    choices = rng.integers(0, 6, (60, 2, 1)).astype(np.int16)
    new = np.array([3, 5, 0, 1, 4, 2], np.int16)
    routers = [Router(0, 6, 1), Router(1, 6, 1)]
    for policy in ("lru", "lfu", "lfu-decay", "belady", "belady-forced"):
        setting = CacheSetting(policy, "layer", 3)
        one, two = (
            replay(many_steps(c, routers, np.arange(61)), setting).sums for c in (choices, new[choices])
        )
        assert (one == two).all()


def test_counts_that_were_scaled_down_keep_their_order():
    """With a short half-life counts are scaled down every few hundred steps."""
    steps = random_steps(6, n_steps=1300, most=1, routers=(Router(0, 12, 2), Router(1, 12, 1)))
    found = replay(steps, CacheSetting("lfu-decay", "layer", 5, half_life=1.0)).sums
    # A use counts more than all earlier ones together, or as much as the same uses: this is LRU but for ties.
    lru = replay(steps, CacheSetting("lru", "layer", 5)).sums
    assert found[..., 2].sum() == pytest.approx(lru[..., 2].sum(), rel=0.02)
    slow = replay(steps, CacheSetting("lfu-decay", "layer", 5, half_life=2.0))
    expected = oracle(steps, CacheSetting("lfu-decay", "layer", 5, half_life=2.0))
    assert (slow.sums == expected).all()


def test_uniform_choices_hit_as_often_as_slots_are_shared():
    """Independent choices of one of 10 experts with equal probability hit any 4 of them in 4 of 10 cases."""
    n = 40_000
    choices = np.random.default_rng(5).integers(0, 10, (n, 1, 1)).astype(np.int16)
    steps = many_steps(choices, [Router(0, 10, 1)], np.arange(n + 1))
    for policy in ("lru", "lfu", "lfu-decay", "static"):
        setting = CacheSetting(policy, "layer", 4)
        pinned = random_pins(steps, 4, "layer", 0)
        share = replay(steps, setting, pinned=pinned).column("hits").sum() / n
        assert abs(share - 0.4) < 4 * (0.24 / n) ** 0.5


def test_replays_on_threads_are_those_in_turn():
    steps = random_steps(9)
    jobs = [
        partial(replay, steps, CacheSetting(policy, scope, 4))
        for policy in ("lru", "belady")
        for scope in SCOPES
    ]
    alone, together = in_threads(jobs, 1), in_threads(jobs, 3)
    assert all((one.sums == two.sums).all() for one, two in zip(alone, together, strict=True))
