"""Divisions of slots against all divisions there are; plans against sums by hand."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from routestat.serving.capacity_plan import divide_slots, plan_capacity, sizes_between
from routestat.serving.settings import Hardware
from tests.serving.served_steps import random_choices, steps_of, trace_of


@pytest.mark.parametrize("seed", range(4))
def test_a_division_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    # Curves with steps that are not concave.
    hits = np.cumsum(rng.choice([0, 0, 1, 7], (3, 6)), axis=1)
    least, most = [1, 2, 1], [5, 4, 3]
    divisions = divide_slots(hits, least, most)
    every = list(product(*(range(low, high + 1) for low, high in zip(least, most, strict=True))))
    for slots in range(sum(most) + 1):
        gains = [sum(hits[layer, n] for layer, n in enumerate(one)) for one in every if sum(one) == slots]
        assert divisions.hits[slots] == max(gains, default=-1)
        if gains:
            found = divisions.of(slots)
            assert found.sum() == slots
            assert (found >= least).all()
            assert (found <= most).all()
            assert hits[np.arange(3), found].sum() == max(gains)


@pytest.fixture(scope="module")
def steps():
    return steps_of(trace_of([10] * 8, random_choices(80, n_layers=2, n_experts=4), n_experts=4))


def curves(rng, n_units=8):
    """Hits ``[capacity, unit, layer]`` that rise up to 18 of 20 accesses."""
    rises = rng.integers(0, 5, (4, n_units, 2))
    return np.concatenate([np.zeros((1, n_units, 2), int), np.cumsum(rises, axis=0)])


def gain(hits, slots):
    return sum(hits[n, :, layer].sum() for layer, n in enumerate(slots))


def best_of_six(hits):
    return max([(2, 4), (3, 3), (4, 2)], key=lambda slots: gain(hits, slots))


def test_hit_rates_of_divisions_are_of_units_they_were_not_chosen_on(steps):
    hits = curves(np.random.default_rng(1))
    plan = plan_capacity(hits, np.full((8, 2), 20), steps, Hardware())
    assert plan.held_out
    assert [one.slots_in_all for one in plan.sizes] == [4, 6, 8]
    divided = 0
    for own, others in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        divided += gain(hits[:, own], best_of_six(hits[:, others]))
    assert plan.sizes[1].divided_hit_rate.value == pytest.approx(divided / 320)
    assert plan.sizes[1].equal_hit_rate.value == pytest.approx(hits[3].sum() / 320)
    assert plan.sizes[1].slots == best_of_six(hits)
    assert plan.smallest is None
    assert "--stall-budget" in plan.reason


def test_the_smallest_memory_within_a_stall_budget(steps):
    hits = np.array([0, 1, 2, 8, 18])[:, None, None] * np.ones((1, 8, 2), int)
    machine = Hardware(expert_bytes=1000.0, bandwidth=1e6)
    plan = plan_capacity(hits, np.full((8, 2), 20), steps, machine, stall_budget=2.5e-3)
    # Six slots are best as 2 and 4: of 320 accesses of 80 tokens 8·(40 − 20) miss, 2 for each token.
    assert plan.smallest is not None
    assert plan.smallest.slots_in_all == 6
    assert plan.smallest.bytes == 6000
    assert plan.smallest.stall_per_token == pytest.approx(2e-3)
    tight = plan_capacity(hits, np.full((8, 2), 20), steps, machine, stall_budget=1e-4)
    assert tight.smallest is None
    assert "0.4 ms" in tight.reason
    unknown = plan_capacity(hits, np.full((8, 2), 20), steps, Hardware(), stall_budget=1e-4)
    assert unknown.smallest is None
    assert "--bandwidth" in unknown.reason


def test_one_unit_is_measured_on_itself(steps):
    alone = replace(steps, n_units=1, tokens=steps.tokens.sum(axis=0, keepdims=True))
    plan = plan_capacity(
        curves(np.random.default_rng(2), 1), np.full((1, 2), 20), alone, Hardware(), stall_budget=1.0
    )
    assert not plan.held_out
    assert np.isnan(plan.sizes[0].divided_hit_rate.low)


def test_sizes_are_all_or_at_equal_ratios():
    assert sizes_between(2, 8) == (2, 3, 4, 5, 6, 7, 8)
    sizes = sizes_between(8, 256)
    assert sizes[0] == 8
    assert sizes[-1] == 256
    assert len(sizes) == 12
