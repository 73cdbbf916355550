"""Subsets of the conditional-Bernoulli distribution: the most probable ones, and draws."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from routestat.inference.conditional_bernoulli.distribution import fit_log_weights
from routestat.inference.conditional_bernoulli.sampling import best_subsets, draw_subsets
from tests.oracle.forecast_oracle import subset_distribution


@given(st.lists(st.integers(-4, 4), min_size=3, max_size=8), st.integers(1, 4), st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_the_best_subsets_are_those_of_the_whole_list(weights, top_k, n):
    theta, k = np.array(weights) / 3, min(top_k, len(weights))
    found = best_subsets(theta, k, n)
    sums = sorted((theta[list(s)].sum() for s in itertools.combinations(range(len(theta)), k)), reverse=True)
    assert len({tuple(s) for s in found.tolist()}) == len(found) == min(n, len(sums))
    assert (np.diff(found, axis=1) > 0).all()
    np.testing.assert_allclose(theta[found].sum(axis=1), sums[:n], atol=1e-12)


def test_draws_follow_the_distribution_of_their_own_row():
    rng = np.random.default_rng(10)
    theta = rng.normal(0, 1.5, (3, 6))
    drawn = draw_subsets(np.repeat(theta, 20000, axis=0), 3, rng).reshape(3, 20000, 3)
    assert (np.diff(drawn, axis=2) > 0).all()
    for one, rows in zip(theta, drawn, strict=True):
        expected = subset_distribution(one, 3)
        seen, times = np.unique(rows, axis=0, return_counts=True)
        observed = dict(zip(map(tuple, seen.tolist()), times.tolist(), strict=True))
        cells = [(observed.get(s, 0), p * 20000) for s, p in expected.items() if p * 20000 > 5]
        chi2 = sum((o - e) ** 2 / e for o, e in cells)
        assert stats.chi2.sf(chi2, len(cells) - 1) > 1e-3


def test_draws_hold_however_uneven_the_weights():
    theta = np.array([[900.0, 300.0, -900.0, -900.0, 0.0], [-800.0, -800.0, 800.0, -800.0, 800.0]])
    drawn = draw_subsets(np.repeat(theta, 50, axis=0), 3, np.random.default_rng(11))
    assert (drawn[:50] == [0, 1, 4]).all()
    assert (drawn[50:, 1:] >= 2).all()


def test_experts_that_are_never_or_always_drawn():
    theta = fit_log_weights(np.array([0.0, 1.0, 0.5, 0.25, 0.25, 1.0]), 3)
    drawn = draw_subsets(np.tile(theta, (500, 1)), 3, np.random.default_rng(0))
    assert set(np.unique(drawn).tolist()) == {1, 2, 3, 4, 5}
    assert (drawn[:, 0] == 1).all()
    assert (drawn[:, 2] == 5).all()
