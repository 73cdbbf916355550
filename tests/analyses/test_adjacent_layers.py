"""Overlap of ids depends on labels, mutual information does not."""

from itertools import permutations

import numpy as np
import pytest

import routestat as rs
from analyses.adjacent_layers import examine, extreme_overlap, listed, overlap, summary

# Two groups of ten tokens each, three experts, k = 1; most tokens go from i to i + 1.
TABLES = np.array([[[1, 3, 0], [0, 1, 2], [3, 0, 0]], [[0, 4, 0], [0, 0, 3], [3, 0, 0]]])


def test_overlap_by_hand():
    assert overlap(TABLES, np.array([0, 1, 2]), 1).value == pytest.approx(2 / 20)
    # Target 1 is renamed 0, target 2 becomes 1 and target 0 becomes 2: now most ids agree.
    assert overlap(TABLES, np.array([2, 0, 1]), 1).value == pytest.approx(18 / 20)


def test_a_token_with_two_experts_shares_half_of_its_ids():
    # One token: experts {0, 1}, then {1, 2}; it counts in four cells.
    table = np.zeros((1, 3, 3), np.int64)
    table[0, :2, 1:] = 1
    assert overlap(table, np.arange(3), 2).value == pytest.approx(0.5)


def test_over_all_labels_the_mean_overlap_is_chance_and_the_extremes_are_those_of_a_search():
    values = [overlap(TABLES, np.array(labels), 1).value for labels in permutations(range(3))]
    assert np.mean(values) == pytest.approx(1 / 3)
    assert extreme_overlap(TABLES.sum(axis=0), 1) == pytest.approx((min(values), max(values)))


def dependent_tables(rng, groups=40):
    """Each source expert goes to one target expert with probability 0.7."""
    follow = np.array([2, 0, 3, 1])
    source = rng.integers(4, size=(groups, 50))
    target = np.where(rng.random(source.shape) < 0.7, follow[source], rng.integers(4, size=source.shape))
    tables = np.zeros((groups, 4, 4), np.int64)
    for group in range(groups):
        np.add.at(tables[group], (source[group], target[group]), 1)
    return tables


def test_dependent_layers_have_an_arbitrary_overlap_and_the_same_information():
    rng = np.random.default_rng(3)
    tables = dependent_tables(rng)
    bits = rs.mutual_information_interval(tables)
    pair = examine((4, 5), tables, 1, bits, rng, relabellings=200)
    assert pair.chance == 0.25
    assert pair.overlap.value < 0.15  # no expert is followed by its own number
    assert pair.most > 0.7
    assert pair.least <= pair.relabelled.min()
    assert pair.relabelled.max() <= pair.most
    assert pair.relabelled.mean() == pytest.approx(0.25, abs=0.05)
    assert pair.changed_bits < 1e-12
    assert pair.log10_p < -4
    assert bits.low > 0.5
    assert 0 < pair.above < 1
    assert 0 < pair.below < 1
    lines = listed([pair], 1).splitlines()
    assert lines[2].startswith("| 4 → 5 | ")
    assert "| pairs whose interval of mutual information is above 0 | 1 of 1 |" in summary([pair])
