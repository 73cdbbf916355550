"""Distributions, by hand and against enumeration."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.traces.alphabet import Alphabet
from routestat.traces.synthetic import distributions, exact
from tests.traces.agreement import close_to, fits, rng


@pytest.mark.parametrize(("n_experts", "top_k"), [(5, 1), (6, 2), (6, 3), (5, 4), (5, 5)])
def test_subset_distribution_is_the_sum_over_all_orders(n_experts, top_k):
    weights = rng(1).dirichlet(np.ones(n_experts))
    alphabet = Alphabet(n_experts, top_k)
    slow = np.zeros(alphabet.size)
    for order in permutations(range(n_experts), top_k):
        p, left = 1.0, 1.0
        for expert in order:
            p *= weights[expert] / left
            left -= weights[expert]
        slow[int(alphabet.rank(list(order)))] += p
    np.testing.assert_allclose(distributions.subset_distribution(weights, top_k), slow, rtol=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_subset_distribution_does_not_depend_on_labels(seed, top_k):
    generator = rng(seed)
    weights = generator.dirichlet(np.full(6, 0.3))
    order = generator.permutation(6)
    alphabet = Alphabet(6, top_k)
    renamed = alphabet.rank(order[alphabet.unrank(np.arange(alphabet.size)).astype(np.intp)])
    # Expert e is called order[e] in the second distribution.
    second = distributions.subset_distribution(weights[np.argsort(order)], top_k)
    np.testing.assert_allclose(second[renamed], distributions.subset_distribution(weights, top_k), atol=1e-12)


def test_subset_distribution_of_equal_weights_is_uniform_and_batches():
    probabilities = distributions.subset_distribution(np.ones((3, 2, 7)), 3)
    np.testing.assert_allclose(probabilities, np.full((3, 2, 35), 1 / 35))


def test_information_of_a_table_by_hand():
    # A noiseless bit; a bit through a channel that errs a quarter of the time: 1 − H(1/4).
    assert exact.mutual_information_bits(np.eye(2) / 2) == pytest.approx(1)
    channel = np.array([[3, 1], [1, 3]]) / 8
    assert exact.mutual_information_bits(channel) == pytest.approx(1 - (2 - 0.75 * np.log2(3)))
    assert exact.mutual_information_bits(np.outer([0.2, 0.8], [0.5, 0.5])) == pytest.approx(0, abs=1e-15)


def test_experts_are_drawn_by_successive_sampling():
    weights = rng(2).dirichlet(np.ones(7), size=2)
    rows = np.tile([0, 1], 40_000)
    states = Alphabet(7, 3).rank(distributions.draw_experts(np.log(weights), 3, rows, rng()))
    for row in range(2):
        counts = np.bincount(states[rows == row], minlength=35)
        assert fits(counts, distributions.subset_distribution(weights[row], 3))


def test_sharp_dirichlet_rows_are_distributions():
    base = np.array([0.5, 0.0, 0.3, 0.2])
    drawn = distributions.dirichlet_around(base, 1e-3, 5_000, rng())
    np.testing.assert_allclose(drawn.sum(axis=1), 1)
    assert np.all(drawn[:, 1] == 0)
    # Nearly one-hot, on symbol i with probability base[i].
    assert close_to(drawn[:, 0].mean(), 0.5, 0.5, 5_000)
