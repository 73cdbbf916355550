"""What is pinned for a unit is what units of the other thirds use most."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.pins import pinned_experts, pinned_hits, pinned_lists, uses_of_experts
from tests.serving.served_steps import random_choices, steps_of, trace_of

LOADS = [np.array([3, 9, 3, 1]), np.array([0, 5])]


def counted(steps):
    found = np.zeros((steps.n_units, steps.offsets[-1]), int)
    for step, unit in enumerate(steps.unit):
        for token in range(steps.start[step], steps.start[step + 1]):
            for layer, experts in enumerate(steps.choices[token].tolist()):
                for expert in experts:
                    found[unit, steps.offsets[layer] + expert] += 1
    return found


def test_uses_are_counted_per_unit():
    steps = steps_of(trace_of([5, 9, 3], random_choices(17)), batch=2)
    assert (uses_of_experts(steps) == counted(steps)).all()


@pytest.mark.parametrize("scope", ["layer", "pool"])
@pytest.mark.parametrize("lengths", [[5, 9], [5, 9, 3], [5, 9, 3, 8, 6, 4, 7]])
def test_pins_are_the_experts_that_units_of_other_thirds_use_most(scope, lengths):
    steps = steps_of(trace_of(lengths, random_choices(sum(lengths), skew=0.5)))
    uses = counted(steps)
    pinned = pinned_experts(steps, scope, 2.5)
    for unit in range(steps.n_units):
        others = sum(uses[u] for u in range(steps.n_units) if u % 3 != unit % 3)
        ranges = [(0, 24, 7)] if scope == "pool" else [(0, 8, 2), (8, 16, 2), (16, 24, 2)]
        for low, high, slots in ranges:
            best = sorted(range(low, high), key=lambda e: (-others[e], e))[:slots]
            assert np.flatnonzero(pinned[unit, low:high]).tolist() == sorted(e - low for e in best)


def test_its_own_choices_do_not_count():
    experts = np.array([[[0, 1]]] * 3 + [[[4, 5]]] * 2 + [[[4, 6]]])
    pinned = pinned_experts(steps_of(trace_of([3, 2, 1], experts)), "layer", 2)
    assert [np.flatnonzero(row).tolist() for row in pinned] == [[4, 5], [0, 1], [0, 1]]


def test_one_unit_has_no_others():
    with pytest.raises(RoutestatError, match="two or more independent units"):
        pinned_experts(steps_of(trace_of([4], random_choices(4))), "layer", 2)


def test_an_unknown_scope_is_refused():
    with pytest.raises(RoutestatError, match="layer or pool, got 'disk'"):
        pinned_experts(steps_of(trace_of([4, 4], random_choices(8))), "disk", 2)


def test_the_most_used_come_first_and_ties_by_id():
    assert [own.tolist() for own in pinned_lists(LOADS, 3)] == [[1, 0, 2], [1, 0]]


def test_hits_are_the_choices_of_pinned_experts():
    assert int(pinned_hits(LOADS, pinned_lists(LOADS, 1))) == 9 + 5
    of_units = [np.array([[1, 2, 0, 0], [2, 7, 3, 1]]), np.array([[0, 0], [0, 5]])]
    assert pinned_hits(of_units, pinned_lists(LOADS, 1)).tolist() == [2, 12]


@pytest.mark.parametrize("capacity", [0, 5])
def test_more_than_there_are_or_none_is_refused(capacity):
    with pytest.raises(RoutestatError, match=f"expected 1 to 4 experts per layer to pin, got {capacity}"):
        pinned_lists(LOADS, capacity)
