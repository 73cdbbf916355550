"""Ranks and tau-b against SciPy, with ties."""

import numpy as np
from scipy import stats

from routestat.inference.base.ranks import average_ranks, kendall_tau_b

ROWS = np.random.default_rng(0).integers(0, 9, (5, 40)).astype(float) * 1e-300


def test_ranks_are_those_of_scipy():
    np.testing.assert_array_equal(average_ranks(ROWS), stats.rankdata(ROWS, axis=1))
    assert average_ranks(np.array([[3.0, 1.0, 3.0, 2.0]])).tolist() == [[3.5, 1.0, 3.5, 2.0]]


def test_tau_is_that_of_scipy():
    found = kendall_tau_b(ROWS)
    expected = [[stats.kendalltau(a, b).statistic for b in ROWS] for a in ROWS]
    np.testing.assert_allclose(found, expected, atol=1e-14)
