import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import comb

from routestat import Alphabet, RoutestatError
from tests.oracle.counting_oracle import subset_index


def test_pairs_of_eight_are_in_the_order_of_the_contract():
    alphabet = Alphabet(8, 2)
    assert alphabet.size == 28
    assert alphabet.rank([0, 1]) == 0
    assert alphabet.rank([0, 2]) == 1
    assert alphabet.rank([6, 7]) == 27
    assert np.array_equal(alphabet.unrank(np.arange(28)), np.stack(np.triu_indices(8, 1), axis=1))


@pytest.mark.parametrize(("n_experts", "top_k"), [(1, 1), (5, 5), (8, 2), (16, 1), (9, 4), (12, 8), (7, 3)])
def test_every_subset_against_itertools(n_experts, top_k):
    alphabet = Alphabet(n_experts, top_k)
    subsets = np.array(list(itertools.combinations(range(n_experts), top_k)))
    assert np.array_equal(alphabet.rank(subsets), np.arange(alphabet.size))
    assert np.array_equal(alphabet.unrank(np.arange(alphabet.size)), subsets)
    assert alphabet.size == comb(n_experts, top_k, exact=True)


@given(st.integers(2, 9), st.data())
def test_slot_order_is_ignored_and_the_oracle_agrees(n_experts, data):
    top_k = data.draw(st.integers(1, n_experts))
    row = data.draw(st.permutations(range(n_experts)))[:top_k]
    assert Alphabet(n_experts, top_k).rank(row) == subset_index(row, n_experts)


@given(st.lists(st.integers(0, 74_974_367), min_size=1, max_size=50))
def test_round_trip_of_a_wide_alphabet(states):
    alphabet = Alphabet(64, 6)
    rows = alphabet.unrank(np.array(states))
    assert (np.diff(rows.astype(int), axis=-1) > 0).all()
    assert np.array_equal(alphabet.rank(rows), states)


def test_an_alphabet_just_inside_64_bits_round_trips_at_its_ends():
    alphabet = Alphabet(256, 11)  # 2**62 < size < 2**64
    states = np.array([0, 1, alphabet.size // 3, alphabet.size - 2, alphabet.size - 1], dtype=np.uint64)
    assert np.array_equal(alphabet.rank(alphabet.unrank(states)), states)
    assert alphabet.unrank(states)[-1].tolist() == list(range(245, 256))


@pytest.mark.parametrize(
    ("n_experts", "top_k", "dtype"),
    [(8, 2, np.uint8), (255, 1, np.uint8), (256, 1, np.uint16), (64, 2, np.uint16), (64, 6, np.uint32)],
)
def test_the_dtype_is_the_smallest_that_holds_the_marker_of_missing(n_experts, top_k, dtype):
    alphabet = Alphabet(n_experts, top_k)
    assert alphabet.dtype == dtype
    assert alphabet.missing == np.iinfo(dtype).max >= alphabet.size


def test_beyond_64_bits_size_is_exact_and_ranking_says_what_to_do():
    alphabet = Alphabet(512, 10)
    assert alphabet.size == comb(512, 10, exact=True)
    assert not alphabet.is_ranked
    with pytest.raises(RoutestatError, match="sorted expert rows"):
        alphabet.rank(np.arange(10))
    with pytest.raises(RoutestatError, match="sorted expert rows"):
        alphabet.unrank(0)
    assert alphabet.sorted_rows([[9, 3, 4, 5, 6, 7, 8, 0, 1, 511]])[0].tolist() == [
        0,
        1,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        511,
    ]


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        ([3, 3], "repeats"),
        ([3, 8], "expert 8 is out of range"),
        ([-1, 2], "expert -1 is out of range"),
        ([1, 2, 3], "rows of 2 experts"),
        ([0.0, 1.0], "integers"),
    ],
)
def test_what_is_no_subset_is_refused(experts, message):
    with pytest.raises(RoutestatError, match=message):
        Alphabet(8, 2).rank(experts)


@pytest.mark.parametrize("state", [28, 255, -1])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(RoutestatError, match="out of range"):
        Alphabet(8, 2).unrank([0, state])


@pytest.mark.parametrize(("n_experts", "top_k"), [(0, 0), (8, 0), (8, 9), (True, 1), (8, 2.0)])
def test_impossible_alphabets_are_refused(n_experts, top_k):
    with pytest.raises(RoutestatError):
        Alphabet(n_experts, top_k)


def test_membership_marks_the_experts_of_each_state():
    member = Alphabet(4, 2).membership
    assert member.tolist() == [
        [1, 1, 0, 0],
        [1, 0, 1, 0],
        [1, 0, 0, 1],
        [0, 1, 1, 0],
        [0, 1, 0, 1],
        [0, 0, 1, 1],
    ]


def test_empty_arrays_keep_their_shape():
    assert Alphabet(8, 2).rank(np.empty((0, 2), int)).shape == (0,)
    assert Alphabet(8, 2).unrank(np.empty((0,), int)).shape == (0, 2)
