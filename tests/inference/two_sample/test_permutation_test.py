"""Relabelling of whole groups, exact where it can be listed."""

import math

import numpy as np
import pytest

from routestat.inference.two_sample.permutation_test import permutation_p


def test_relabelling_is_exact_where_it_can_be_listed():
    # Six documents of one token each, all of A in state 0 and all of B in state 1: of the 20 ways to choose three,
    # two are as extreme, so p tends to 1/10. Paired, 2 of the 8 ways to swap: 1/4.
    a, b = np.array([[1, 0]] * 3), np.array([[0, 1]] * 3)
    rng = np.random.default_rng(5)
    assert permutation_p(a, b, rng, n_resamples=20_000) == pytest.approx(0.1, abs=0.01)
    assert permutation_p(a, b, rng, paired=True, n_resamples=20_000) == pytest.approx(0.25, abs=0.015)
    assert permutation_p(a, b, rng, n_resamples=9) >= 0.1
    assert math.isnan(permutation_p(a, b * 0, rng))
