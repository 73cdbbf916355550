"""Orders of steps: what is counted, and blocks."""

from itertools import pairwise

import numpy as np
import pytest

from routestat.serving.passes import cut_into_blocks, passes
from routestat.serving.settings import STARTS
from tests.serving.cache_cases import random_steps, steps_of


def test_a_warm_start_goes_through_the_other_units_first():
    steps = steps_of([{0}] * 6, 4, unit=[0, 0, 1, 1, 2, 2])
    found = [(order.tolist(), counted) for order, counted in passes(steps, "warm")]
    assert found == [([2, 3, 0, 1, 4, 5], 2), ([0, 1, 4, 5, 2, 3], 4)]
    assert [(order.tolist(), counted) for order, counted in passes(steps, "cold")] == [
        ([0, 1, 2, 3, 4, 5], 0)
    ]


@pytest.mark.parametrize("block", [1, 5, 30, 1000])
def test_blocks_have_about_as_many_tokens_and_cover_all(block):
    steps = random_steps(3)
    order = np.arange(len(steps))[::-1]
    cuts, most = cut_into_blocks(steps, order, block)
    tokens = [int(np.diff(steps.start)[order[a:b]].sum()) for a, b in pairwise(cuts)]
    assert cuts[0] == 0
    assert cuts[-1] == len(steps)
    assert most == max(tokens) < block + 3
    assert min(tokens) > 0
    assert sum(tokens) == len(steps.choices)


def test_every_unit_is_counted_once():
    steps = random_steps(2)
    for start in STARTS:
        counted = np.zeros(len(steps), int)
        for order, place in passes(steps, start):
            counted[order[place:]] += 1
            assert sorted(order) == list(range(len(steps)))
        assert (counted == 1).all()
