"""Packing of items into bins of equally many places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.errors import RoutestatError
from routestat.serving.placement.packing import Items, pack


def packed(loads, n_bins, expert=None, most=1):
    expert = np.arange(len(loads)) if expert is None else np.array(expert)
    return pack(Items(expert, np.array(loads, float)), n_bins, most)


def test_the_largest_goes_first_and_exchanges_follow():
    bins = packed([8, 7, 6, 5, 4, 3], 2)
    # 8 + 5 + 4 = 17 and 7 + 6 + 3 = 16: no division has less than 17 of 33.
    assert sorted(np.bincount(bins, [8, 7, 6, 5, 4, 3]).tolist()) == [16.0, 17.0]


def test_an_exchange_helps_where_the_largest_first_is_not_the_best():
    # Largest first: 9, 6, 5 and 7, 6, 5; with 6 and 5 exchanged 19 and 19.
    loads = [9, 7, 6, 6, 5, 5]
    assert np.bincount(packed(loads, 2), loads).max() == 19


def test_copies_of_one_expert_go_to_different_bins_even_when_the_last_bin_has_it():
    # Largest first: 8 alone, and 2, 2, 2 in the other bin; both copies of expert 0 would be with the 8.
    bins = packed([2, 8, 2, 2, 2, 2], 2, [1, 2, 3, 4, 0, 0])
    assert sorted(bins[4:].tolist()) == [0, 1]
    assert np.bincount(bins).tolist() == [3, 3]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bins_are_full_and_hold_no_expert_too_often(data):
    n_bins, most = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 2))
    n_experts = data.draw(st.integers(1, 8))
    copies = [data.draw(st.integers(1, n_bins * most)) for _ in range(n_experts)]
    expert = np.repeat(np.arange(n_experts), copies)
    short = -len(expert) % n_bins
    expert = np.concatenate([expert, n_experts + np.arange(short)])
    loads = np.array([data.draw(st.integers(0, 20)) for _ in expert], float)
    bins = pack(Items(expert, loads), n_bins, most)
    held = np.zeros((n_bins, n_experts + short), int)
    np.add.at(held, (bins, expert), 1)
    assert held.max() <= most
    assert (held.sum(axis=1) == len(expert) // n_bins).all()


@pytest.mark.parametrize(("n_bins", "expert"), [(2, [0, 1, 2]), (2, [0, 0, 0, 1])])
def test_what_does_not_fit_is_refused(n_bins, expert):
    with pytest.raises(RoutestatError, match="expected a multiple of 2 items and at most 2 copies"):
        packed([1.0] * len(expert), n_bins, expert)
