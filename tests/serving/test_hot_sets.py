"""Pinned experts, LRU and chance side by side, counted by hand."""

import math

import numpy as np
import pytest

from routestat.serving.hot_sets import hot_sets
from routestat.serving.replay_sums import COLUMNS, ReplaySums
from tests.serving.served_steps import random_choices, steps_of, trace_of


def sums_of(hits, accesses):
    found = np.zeros((*hits.shape, len(COLUMNS)))
    found[..., COLUMNS.index("hits")] = hits
    found[..., COLUMNS.index("accesses")] = accesses
    return ReplaySums(found)


def test_hit_rates_are_by_layer():
    steps = steps_of(trace_of([4] * 6, random_choices(24, n_layers=2)))
    hits = np.arange(24).reshape(6, 2, 2)
    lru = np.arange(9 * 12).reshape(9, 6, 2)
    static = {4: sums_of(hits, 50), 2: sums_of(hits // 2, 50)}
    found = hot_sets(steps, static, lru, static[2])
    assert [(one.capacity, one.layer) for one in found] == [(2, 0), (2, 1), (4, 0), (4, 1)]
    assert found[2].static.value == pytest.approx(hits[:, :, 0].sum() / 600)
    assert found[2].lru.value == pytest.approx(lru[4, :, 0].sum() / 600)
    assert [one.uniform for one in found] == [0.25, 0.25, 0.5, 0.5]


def test_without_other_documents_nothing_is_pinned():
    steps = steps_of(trace_of([4], random_choices(4, n_layers=1)))
    sums = sums_of(np.ones((1, 2, 1)), 4)
    (one,) = hot_sets(steps, {3: sums}, np.ones((9, 1, 1), int), sums, "one unit")
    assert math.isnan(one.static.value)
    assert one.static.reason == "one unit"
    assert one.lru.value == pytest.approx(1 / 8)
