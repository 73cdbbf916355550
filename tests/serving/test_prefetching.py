"""Prefetched experts and the seconds that events wait, counted by hand."""

import numpy as np
import pytest

from routestat.forecast.kept_predictions import KeptPredictions
from routestat.serving.replay import replay
from routestat.serving.settings import SCOPES, CacheSetting, Hardware
from routestat.traces.metadata import Router
from tests.serving.cache_cases import many_steps, random_predictions, random_steps


def predicted(experts):
    """Return predictions ``[row, layer, place]`` with these experts."""
    experts = np.array(experts, np.int16)
    return KeptPredictions("by hand", 0, experts, np.where(experts < 0, 0, 0.5).astype(np.float16), 0.5)


def columns_of(sums):
    """Return the sums of every layer as whole numbers: hits, prefetched hits, misses, prefetched."""
    names = ("hits", "prefetched_hits", "misses", "prefetched")
    return np.stack([sums.column(name).sum((0, 1)) for name in names], axis=1).astype(int).tolist()


# Two steps of one token at three layers with two of four experts.
CHOICES = np.array([[[0, 1], [0, 1], [0, 1]], [[0, 2], [0, 1], [2, 3]]], np.int16)
ROUTERS = [Router(layer, 4, 2) for layer in range(3)]
STEPS = many_steps(CHOICES, ROUTERS, [0, 1, 2])
# The first candidate is right at the first step; at the second they are 3 and 1, and 2 and 3.
AHEAD = predicted([[[-1, -1], [0, 2], [1, 3]], [[-1, -1], [3, 1], [2, 3]]])
SECOND = Hardware(expert_bytes=2.0, bandwidth=2.0, compute=1.0)


def test_what_is_prefetched_counted_by_hand():
    sums = replay(STEPS, CacheSetting("lru", "layer", 2, lookahead=1, candidates=2), prefetch=AHEAD)
    # Layer 0: 0 1 are missing; then 0 is there, 2 is missing. Layer 1: 0 and 2 are fetched, 0 is needed; then 3, as 1
    # is there. Layer 2: 1 and 3 are fetched, 1 is needed; then 2 and 3 are fetched and needed.
    assert columns_of(sums) == [[1, 0, 3, 0], [2, 1, 1, 3], [0, 3, 1, 4]]
    assert sums.wasted.sum((0, 1)).tolist() == [0, 2, 1]
    assert sums.loads.sum((0, 1)).tolist() == [3, 4, 5]


def test_fewer_candidates_and_more_layers_ahead_counted_by_hand():
    sums = replay(STEPS, CacheSetting("lru", "layer", 2, lookahead=1, candidates=1), prefetch=AHEAD)
    assert columns_of(sums) == [[1, 0, 3, 0], [2, 1, 1, 2], [0, 2, 2, 2]]
    # Layer 1 has no layer two before it.
    sums = replay(STEPS, CacheSetting("lru", "layer", 2, lookahead=2, candidates=1), prefetch=AHEAD)
    assert columns_of(sums) == [[1, 0, 3, 0], [2, 0, 2, 0], [0, 2, 2, 2]]


def test_what_was_prefetched_and_not_needed_is_not_kept():
    ahead = predicted([[[-1, -1], [2, 3], [2, 3]], [[-1, -1], [-1, -1], [-1, -1]]])
    sums = replay(STEPS, CacheSetting("lru", "layer", 4, lookahead=1, candidates=2), prefetch=ahead)
    # At the second step 2 and 3 of the last layer are missing, though they were prefetched at the first.
    assert columns_of(sums) == [[1, 0, 3, 0], [2, 0, 2, 2], [0, 0, 4, 2]]


def test_without_a_cache_everything_comes_over_the_link_counted_by_hand():
    """One second for each expert and for each layer's work."""
    sums = replay(STEPS, CacheSetting("none", lookahead=1, candidates=2), prefetch=AHEAD, hardware=SECOND)
    stall = sums.column("stall")[0, 0]
    # First step. Layer 0 lacks 0 and 1: it waits until 2 and works until 3; 0 and 2 were requested at 0 behind them
    # and arrive at 3 and 4. Layer 1 begins at 3, 0 is there, 1 is requested behind 2 and arrives at 5: it waits 2 and
    # works until 6; 1 and 3 arrive at 6 and 7. Layer 2 begins at 6; 0 is requested behind 3 and arrives at 8: it waits
    # 2 and works until 9, when the link is free since 8.
    # Second step. Layer 0 lacks 0 and 2 until 11, works until 12; 3 and 1 arrive at 12 and 13. Layer 1 needs 0, which
    # arrives at 14, and 1: it waits 2, works until 15; 2 and 3 arrive at 15 and 16. Layer 2 begins at 15 and waits
    # until 16 for both.
    assert stall.tolist() == [4.0, 4.0, 3.0]
    assert columns_of(sums) == [[0, 0, 4, 0], [0, 2, 2, 4], [0, 3, 1, 4]]


def test_prefetching_hides_the_transfer_behind_the_work():
    """With five seconds of work at each layer what is prefetched is there when it is needed."""
    machine = Hardware(expert_bytes=2.0, bandwidth=2.0, compute=5.0)
    right = predicted(CHOICES)
    sums = replay(STEPS, CacheSetting("none", lookahead=1, candidates=2), prefetch=right, hardware=machine)
    assert sums.column("stall")[0, 0].tolist() == [4.0, 0.0, 0.0]
    assert sums.column("prefetched_hits")[0, 0].tolist() == [0, 4, 4]


def test_nothing_is_requested_at_an_event_without_a_choice():
    choices = CHOICES.copy()
    choices[0, 0] = -1
    steps = many_steps(choices, ROUTERS, [0, 1, 2])
    sums = replay(steps, CacheSetting("none", lookahead=1, candidates=2), prefetch=AHEAD)
    assert columns_of(sums) == [[0, 0, 2, 0], [0, 1, 3, 2], [0, 3, 1, 4]]
    assert sums.column("events").tolist() == [[[1, 2, 2], [0, 0, 0]]]


def test_tokens_side_by_side_fetch_what_any_of_them_may_need():
    steps = many_steps(CHOICES, ROUTERS, [0, 2])
    sums = replay(steps, CacheSetting("none", lookahead=1, candidates=1), prefetch=AHEAD, hardware=SECOND)
    # Layer 1 needs 0 and 1, and 0 and 3 are fetched; layer 2 needs all, and 1 and 2 are fetched.
    assert columns_of(sums) == [[0, 0, 3, 0], [0, 1, 1, 2], [0, 2, 2, 2]]
    # Layer 0 waits until 3, works until 4; 0 and 3 arrive at 4 and 5. Layer 1 waits for 1 until 6, works until 7;
    # 1 and 2 arrive at 7 and 8. Layer 2 waits for 0 and 3 until 10.
    assert sums.column("stall")[0, 0].tolist() == [3.0, 2.0, 3.0]


def test_pinned_experts_are_loaded_once_and_not_prefetched_again():
    pinned = np.zeros((1, 12), bool)
    pinned[0, [0, 5]] = True
    setting = CacheSetting("static", "layer", 2, lookahead=1, candidates=2)
    # Layer 0 keeps 0 of its first step. Layer 1 keeps 1: of 3 and 1 the latter is not fetched, and 0 is missing. Layer
    # 2 keeps nothing.
    assert columns_of(replay(STEPS, setting, prefetch=AHEAD, pinned=pinned)) == [
        [1, 0, 3, 0],
        [1, 1, 2, 3],
        [0, 3, 1, 4],
    ]


@pytest.mark.parametrize("scope", SCOPES)
def test_prefetching_changes_neither_the_hits_nor_what_is_kept(scope):
    steps = random_steps(7)
    ahead = random_predictions(steps, 7)
    for policy in ("lru", "belady"):
        alone = replay(steps, CacheSetting(policy, scope, 4))
        more = replay(steps, CacheSetting(policy, scope, 4, lookahead=1, candidates=4), prefetch=ahead)
        assert (alone.column("hits") == more.column("hits")).all()
        missed = alone.column("misses") - more.column("misses")
        assert (missed == more.column("prefetched_hits")).all()
        assert missed.sum() > 0


def test_perfect_predictions_miss_nothing_behind_the_first_layers():
    steps = random_steps(8, missing=0.0)
    ahead = np.full((len(steps.row), 4, 3), -1, np.int16)
    ahead[steps.row] = steps.choices
    setting = CacheSetting("lru", "layer", 3, lookahead=2, candidates=3)
    sums = replay(steps, setting, prefetch=predicted(ahead))
    assert sums.column("misses").sum((0, 1))[2:].tolist() == [0, 0]
    assert sums.wasted.sum() == 0
