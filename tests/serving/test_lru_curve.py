"""Hits of LRU at every capacity: equal to a replay at each, and counted by hand."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.lru_curve import lru_curve
from routestat.serving.replay import replay
from routestat.serving.settings import SCOPES, STARTS, CacheSetting
from routestat.traces.metadata import Router
from tests.oracle.cache_oracle import oracle
from tests.serving.cache_cases import many_steps, random_steps, steps_of


def test_places_counted_by_hand():
    # Last uses before each step, the latest first: –, 10, 210, 021, 021.
    steps = steps_of([{0, 1}, {1, 2}, {0, 2}, {0, 2}, {1}], 4)
    curve = lru_curve(steps)
    # 1 at place 0; 2 at place 0 and 0 at place 2; 2 and 0 at places 0 and 1; 1 at place 2.
    assert curve.places.tolist() == [[[[3, 1, 2, 0]], [[0, 0, 0, 0]]]]
    assert curve.accesses.tolist() == [[[9], [0]]]
    assert curve.hits_of_all[:, 0, 0].tolist() == [0, 3, 4, 6, 6]
    assert curve.hits_of_layer(0)[:, 0, 0].tolist() == [0, 3, 4, 6, 6]
    assert [curve.hits(slots).sum() for slots in range(5)] == [0, 3, 4, 6, 6]


def test_a_pool_of_less_than_a_token_hits_nothing():
    tokens = np.tile(np.array([[[0], [0], [0]]], np.int16), (5, 1, 1))
    steps = many_steps(tokens, [Router(layer, 4, 1) for layer in range(3)], np.arange(6))
    assert lru_curve(steps, "pool").hits_of_all[:, 0, 0].tolist() == [0, 0, 0, *[12] * 10]


@pytest.mark.parametrize("start", STARTS)
def test_the_curve_of_layers_is_a_replay_at_every_capacity(start):
    """Also below what one event needs: one token chooses up to three, and a step has up to five tokens."""
    for seed in range(3):
        steps = random_steps(seed, most=1 + 2 * seed)
        curve = lru_curve(steps, "layer", start)
        assert curve.most_slots == 9
        for slots in range(1, 10):
            setting = CacheSetting("lru", "layer", slots, start)
            sums = oracle(steps, setting) if slots < 3 else replay(steps, setting).sums
            assert (curve.hits(slots) == sums[..., 2]).all()
            assert (curve.accesses == sums[..., 1]).all()


@pytest.mark.parametrize("start", STARTS)
def test_the_curve_of_a_pool_is_a_replay_at_every_capacity(start):
    for seed in range(3):
        steps = random_steps(seed, n_steps=60, most=1 + 2 * seed)
        curve = lru_curve(steps, "pool", start)
        assert curve.most_slots == 27
        for slots in range(3, 28):
            sums = replay(
                steps, CacheSetting("lru", "pool", (slots + 0.5) / 4 if slots < 27 else 6.75, start)
            ).sums
            assert (curve.hits(slots) == sums[..., 2]).all()
            assert (curve.accesses == sums[..., 1]).all()


@pytest.mark.parametrize("scope", SCOPES)
def test_more_slots_never_have_fewer_hits(scope):
    steps = random_steps(4, n_steps=80)
    curve = lru_curve(steps, scope)
    assert (np.diff(curve.hits_of_all, axis=0) >= 0).all()
    assert (curve.hits_of_all[-1].sum(0) == curve.hits(curve.most_slots).sum((0, 2))).all()
    layers = sum(curve.hits_of_layer(layer) for layer in range(4))
    assert (layers == curve.hits_of_all).all()
    assert (curve.hits_of_all[0] == 0).all()


def test_counts_beyond_16_bits():
    tokens = np.zeros((70_000, 1, 1), np.int16)
    steps = many_steps(tokens, [Router(0, 2, 1)], np.arange(70_001))
    for scope in SCOPES:
        assert lru_curve(steps, scope).hits(1).tolist() == [[[69_999], [0]]]


def test_an_unknown_scope_or_start_is_refused():
    steps = random_steps(0)
    with pytest.raises(RoutestatError, match="scope: expected one of layer, pool, got 'gpu'"):
        lru_curve(steps, "gpu")
    with pytest.raises(RoutestatError, match="start: expected one of cold, warm, document, got 'hot'"):
        lru_curve(steps, "layer", "hot")
