"""k best paths against enumeration, ties, depth."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.errors import RoutestatError
from routestat.structure.paths import (
    chain_marginals,
    k_best_paths,
    path_log2_probability,
)
from tests.oracle.structure_oracle import all_paths


def random_chain(rng, sizes, concentration=0.5, sparse=False):
    """An inhomogeneous chain; with `sparse`, about half the entries are zero."""

    def distribution(n):
        weights = rng.dirichlet(np.full(n, concentration)) + 1e-9
        if sparse:
            kept = rng.random(n) < 0.5
            kept[rng.integers(n)] = True
            weights = weights * kept
        return weights / weights.sum()

    return distribution(sizes[0]), [np.array([distribution(b) for _ in range(a)]) for a, b in pairwise(sizes)]


def as_lists(initial, transitions):
    return initial.tolist(), [matrix.tolist() for matrix in transitions]


def test_hand_counted():
    # Start .6/.4; 0 → .5/.5, 1 → .9/.1. Products: 00 .30, 01 .30, 10 .36, 11 .04.
    initial, matrix = [0.6, 0.4], [[0.5, 0.5], [0.9, 0.1]]
    paths = k_best_paths(initial, [matrix], 3)
    assert paths.states.tolist() == [[1, 0], [0, 0], [0, 1]]
    np.testing.assert_allclose(paths.probability, [0.36, 0.30, 0.30])
    np.testing.assert_allclose(paths.log2_probability, np.log2([0.36, 0.30, 0.30]))
    assert k_best_paths(initial, [matrix], 99).states.tolist()[3] == [1, 1]
    assert k_best_paths(initial, [matrix], 99).n_requested == 99


def test_the_best_prefix_is_not_always_on_the_best_path():
    # Greedy would take state 0 (.6) and then .4 at best = .24; the best is 1, 0 with .4.
    paths = k_best_paths([0.6, 0.4], [[[0.4, 0.3, 0.3], [1.0, 0, 0]]], 1)
    assert paths.states.tolist() == [[1, 0]]


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.integers(1, 40),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_against_enumeration(seed, sizes, n_paths, sparse):
    initial, transitions = random_chain(np.random.default_rng(seed), sizes, sparse=sparse)
    truth = all_paths(*as_lists(initial, transitions))
    paths = k_best_paths(initial, transitions, n_paths)
    assert len(paths.states) == min(n_paths, len(truth))
    wanted = [float(probability) for probability, _ in truth[:n_paths]]
    np.testing.assert_allclose(paths.probability, wanted, rtol=1e-9)
    of = {states: float(probability) for probability, states in truth}
    np.testing.assert_allclose(paths.probability, [of[tuple(s)] for s in paths.states.tolist()], rtol=1e-9)
    assert len({tuple(s) for s in paths.states.tolist()}) == len(paths.states)
    np.testing.assert_allclose(
        path_log2_probability(initial, transitions, paths.states), paths.log2_probability, rtol=1e-12
    )


# Powers of one half have whole logarithms: ties are exact and abundant, and the order can be demanded.
HALVES = ([0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.5, 0.5, 0], [0, 0.5, 0.5], [0, 1, 0])


@given(
    st.sampled_from(HALVES),
    st.lists(st.lists(st.sampled_from(HALVES), min_size=3, max_size=3), max_size=5),
    st.integers(1, 60),
)
@settings(max_examples=150, deadline=None)
def test_ties_are_lexicographic(initial, transitions, n_paths):
    truth = all_paths(initial, transitions)
    paths = k_best_paths(initial, transitions, n_paths)
    assert [tuple(s) for s in paths.states.tolist()] == [states for _, states in truth[:n_paths]]


def test_equal_products_tie_in_any_order_of_the_factors():
    # The factors .1, .7, .2 in three orders: floating sums of their logarithms differ in the last place.
    rows = np.array([[0.1, 0.2, 0.7]])
    gate = np.repeat(rows, 3, axis=0)
    paths = k_best_paths([0.1, 0.2, 0.7], [gate, gate], 27)
    truth = sorted(
        np.ndindex(3, 3, 3),
        key=lambda s: (-round(np.prod(np.array([1, 2, 7])[list(s)])), s),
    )
    assert [tuple(s) for s in paths.states.tolist()] == truth


def test_all_ties():
    paths = k_best_paths(np.full(4, 0.25), [np.full((4, 4), 0.25)] * 3, 9)
    assert paths.states.tolist() == [list(s) for s in list(np.ndindex(4, 4, 4, 4))[:9]]


def test_impossible_paths_are_never_returned():
    paths = k_best_paths([1, 0, 0], [np.eye(3)[[1, 2, 0]], [[0, 1], [0, 0], [1, 0]]], 5)
    assert paths.states.shape == (0, 3)  # 0 → 1 → nowhere
    assert paths.probability.shape == (0,)
    one = k_best_paths([1, 0, 0], [np.eye(3)[[1, 2, 0]], [[0, 1], [1, 0], [1, 0]]], 5)
    assert one.states.tolist() == [[0, 1, 0]]
    assert path_log2_probability([1, 0], [np.eye(2)], [[0, 0], [0, 1], [1, 1]]).tolist() == [
        0,
        -np.inf,
        -np.inf,
    ]


def test_one_layer():
    paths = k_best_paths([0.2, 0.5, 0.3, 0], [], 9)
    assert paths.states.tolist() == [[1], [2], [0]]


def test_depth_does_not_underflow():
    tiny = 1e-300
    matrix = np.array([[1 - tiny, tiny], [tiny, 1 - tiny]])
    swaps = np.array([[tiny, 1 - tiny], [1 - tiny, tiny]])
    paths = k_best_paths([1, 0], [matrix, swaps] * 30, 2)
    assert paths.log2_probability[0] == pytest.approx(0, abs=1e-9)
    chain = [np.full((2, 2), 0.5)] * 59
    np.testing.assert_array_equal(k_best_paths([0.5, 0.5], chain, 4).log2_probability, -60.0)
    # A sixty-layer chain with a single path through it, far below the least double.
    narrow = [np.array([[0, tiny, 1 - tiny], [0, tiny, 1 - tiny], [0, 0, 0]])] * 60
    narrow.append(np.array([[0.0], [1.0], [0.0]]))
    deep = k_best_paths([1, 0, 0], narrow, 3)
    assert deep.states.shape == (1, 62)
    assert deep.log2_probability[0] == pytest.approx(60 * np.log2(tiny))
    assert deep.probability[0] == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_relabelling_the_states_relabels_the_paths(seed, n_paths):
    rng = np.random.default_rng(seed)
    sizes = [5, 7, 4, 6]
    initial, transitions = random_chain(rng, sizes)
    names = [rng.permutation(size) for size in sizes]  # new state s was names[s]
    moved = [m[np.ix_(a, b)] for m, a, b in zip(transitions, names[:-1], names[1:], strict=True)]
    paths, other = (
        k_best_paths(initial, transitions, n_paths),
        k_best_paths(initial[names[0]], moved, n_paths),
    )
    np.testing.assert_allclose(other.log2_probability, paths.log2_probability)
    back = np.column_stack([name[column] for name, column in zip(names, other.states.T, strict=True)])
    np.testing.assert_array_equal(back, paths.states)


def test_large_lattice_agrees_with_a_plain_viterbi_and_is_quick():
    initial, transitions = random_chain(np.random.default_rng(3), [28] * 32)
    best = np.log2(initial)
    for matrix in transitions:
        best = (best[:, None] + np.log2(matrix)).max(axis=0)
    started = time.perf_counter()
    paths = k_best_paths(initial, transitions, 20)
    assert time.perf_counter() - started < 2  # some 20 ms on an idle core
    assert paths.log2_probability[0] == pytest.approx(best.max())
    assert len(np.unique(paths.states, axis=0)) == 20
    longer = k_best_paths(initial, transitions, 200)
    np.testing.assert_array_equal(longer.states[:20], paths.states)


def test_marginals():
    initial, transitions = random_chain(np.random.default_rng(1), [3, 4, 2])
    distributions = chain_marginals(initial, transitions)
    total = [np.zeros(3), np.zeros(4), np.zeros(2)]
    for probability, states in all_paths(*as_lists(initial, transitions)):
        for distribution, state in zip(total, states, strict=True):
            distribution[state] += float(probability)
    for distribution, wanted in zip(distributions, total, strict=True):
        np.testing.assert_allclose(distribution, wanted)


@pytest.mark.parametrize(
    ("initial", "transitions", "n_paths", "message"),
    [
        ([0.5, 0.4], [], 1, "sum to 1"),
        ([[1.0]], [], 1, "initial"),
        ([1.5, -0.5], [], 1, "initial"),
        ([np.nan, 1], [], 1, "initial"),
        ([], [], 1, "initial"),
        ([0.5, 0.5], [np.eye(3)], 1, "2 rows"),
        ([0.5, 0.5], [[[3, 1], [1, 1]]], 1, "divide counts"),
        ([0.5, 0.5], [[[np.nan, np.nan], [0.5, 0.5]]], 1, r"transitions\[0\]"),
        ([1.0], [], 0, "n_paths"),
        ([1.0], [], 2.0, "n_paths"),
    ],
)
def test_bad_chains(initial, transitions, n_paths, message):
    with pytest.raises(RoutestatError, match=message) as caught:
        k_best_paths(initial, transitions, n_paths)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("paths", [[0, 1], [[0, 1, 0]], [[0, 2]], [[-1, 0]], [[0.0, 1.0]]])
def test_bad_paths(paths):
    with pytest.raises(RoutestatError, match="paths must"):
        path_log2_probability([0.5, 0.5], [np.eye(2)], paths)


HAND = ([0.5, 0.5], [[[0.8, 0.2], [0.4, 0.6]], [[0.5, 0.5], [1.0, 0.0]]])


def test_result_is_closed():
    with pytest.raises(ValueError, match="read-only"):
        k_best_paths(*HAND, 2).states[0, 0] = 1
