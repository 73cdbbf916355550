"""Windows inside others, and windows that differ, against definitions in plain Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from routestat.structure.longest_windows import distinct, not_inside_others

WINDOWS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 1), min_size=2, max_size=5).map(tuple)),
    unique=True,
    max_size=12,
)


def arrays(windows, longest=6):
    choices = np.full((len(windows), longest), -1)
    for at, (_, word) in enumerate(windows):
        choices[at, : len(word)] = word
    return np.array([start for start, _ in windows], int), choices


def cells(window):
    start, word = window
    return set(enumerate(word, start=start))


@given(WINDOWS)
def test_a_window_is_inside_another_if_all_its_choices_are(windows):
    plain = [not any(cells(one) < cells(other) for other in windows) for one in windows]
    assert not_inside_others(*arrays(windows)).tolist() == plain


@given(WINDOWS, st.integers(1, 12))
def test_distinct_windows_share_less_than_half_of_their_layers(windows, at_most):
    plain = []
    for at, one in enumerate(windows):
        shared = [
            2 * len(cells(one) & cells(windows[other])) >= min(len(one[1]), len(windows[other][1]))
            for other in plain
        ]
        if not any(shared) and len(plain) < at_most:
            plain.append(at)
    assert distinct(*arrays(windows), at_most).tolist() == plain


def test_shared_experts_of_different_layers_are_not_the_same_window():
    start, choices = arrays([(0, (1, 2, 3)), (1, (2, 3, 1)), (1, (2, 3)), (0, (2, 3))])
    assert not_inside_others(start, choices).tolist() == [True, True, False, True]
