"""Different experts in blocks of consecutive tokens, against sets and known probabilities."""

from itertools import pairwise

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.working_sets import working_sets
from tests.serving.served_steps import random_choices, steps_of, trace_of


def mean_of_sets(documents, layer, width):
    """The mean size of the sets of experts, None where no document is long enough."""
    sizes = [
        len({int(e) for e in experts[at : at + width, layer].ravel()})
        for experts in documents
        for at in range(len(experts) - width + 1)
    ]
    return np.mean(sizes) if sizes else None


@pytest.mark.parametrize("options", [{}, {"batch": 3}, {"chunk": 4}])
def test_blocks_are_those_of_documents_in_whatever_order_they_are_served(options):
    lengths = [7, 1, 12, 9, 20]
    experts = random_choices(sum(lengths), skew=0.3)
    documents = np.split(experts, np.cumsum(lengths)[:-1])
    steps = steps_of(trace_of(lengths, experts), **options)
    found = {(one.layer, one.tokens): one.experts.value for one in working_sets(steps, (1, 2, 5, 8, 20, 30))}
    expected = {
        (layer, width): mean
        for layer in range(3)
        for width in (1, 2, 5, 8, 20, 30)
        if (mean := mean_of_sets(documents, layer, width)) is not None
    }
    assert {key: value for key, value in found.items() if key[0] is not None} == pytest.approx(expected)
    assert found[None, 5] == pytest.approx(np.mean([expected[layer, 5] for layer in range(3)]))
    assert (None, 30) not in found


def test_a_missing_choice_and_a_gap_end_a_run():
    trace = trace_of([6], [[[0, 1]], [[2, 3]], [[4, 5]], [[4, 5]], [[0, 1]], [[0, 2]]])
    steps = steps_of(trace)
    steps.choices[3] = -1
    sizes = {one.tokens: one.experts.value for one in working_sets(steps, (2,)) if one.layer is None}
    assert sizes[2] == pytest.approx((4 + 4 + 3) / 3)
    steps.next_row[0] = -1
    sizes = {one.tokens: one.experts.value for one in working_sets(steps, (2,)) if one.layer is None}
    assert sizes[2] == pytest.approx((4 + 3) / 2)


def test_independent_tokens_need_what_independence_gives():
    lengths = [400] * 30
    steps = steps_of(trace_of(lengths, random_choices(sum(lengths), n_layers=1, skew=0.4, seed=3)))
    for one in working_sets(steps, (1, 4, 16)):
        assert one.experts.value == pytest.approx(one.independent, rel=0.02)
    widths = [one.experts.value for one in working_sets(steps) if one.layer is None]
    assert all(a < b for a, b in pairwise(widths))


def test_repeated_choices_need_fewer_than_independence_gives():
    experts = np.repeat(random_choices(40, seed=4), 10, axis=0)
    steps = steps_of(trace_of([100] * 4, experts))
    one = next(one for one in working_sets(steps, (8,)) if one.layer is None)
    assert one.experts.value < 0.7 * one.independent


def test_no_tokens_are_no_block():
    with pytest.raises(RoutestatError, match="expected 1 or more, got 0"):
        working_sets(steps_of(trace_of([4], random_choices(4))), (0, 2))
