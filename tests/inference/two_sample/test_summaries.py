"""Statistics that need no labels, and their differences."""

import math

import numpy as np
import pytest

from routestat.inference.two_sample.summaries import (
    compare_figures,
    entropy_bits,
    gini,
    information_bits,
    max_over_mean,
    profile_distance,
)
from tests.oracle import comparison_oracle as oracle


def tables(seed, groups, shape, tokens=40):
    """Counts `[group, …]` of documents of unequal length and unlike distributions."""
    rng = np.random.default_rng(seed)
    cells = int(np.prod(shape))
    rows = [rng.multinomial(rng.integers(5, tokens), rng.dirichlet(np.ones(cells))) for _ in range(groups)]
    return np.array(rows).reshape(groups, *shape)


def test_figures_that_need_no_labels():
    loads = np.array([[4.0, 2.0, 1.0, 1.0]])
    assert entropy_bits(loads)[0] == pytest.approx(1.75)
    assert gini(loads)[0] == pytest.approx(np.abs(loads.T - loads).sum() / (2 * 16 * 2))
    assert max_over_mean(loads)[0] == pytest.approx(2)
    assert information_bits(np.eye(4)[None])[0] == pytest.approx(2)
    assert profile_distance([1, 3], [2, 0, 0, 2]) == pytest.approx(0.25)
    assert math.isnan(profile_distance([0, 0], [1, 1]))
    a, b = tables(14, 10, (6,)), tables(15, 12, (4,))
    found = compare_figures(entropy_bits, a, b)
    plain = [entropy_bits(t.sum(axis=0)[None].astype(float))[0] for t in (a, b)]
    assert (found.a, found.b) == pytest.approx(plain)
    value, error = oracle.jackknife(
        lambda x, y: entropy_bits(x[None].astype(float))[0] - entropy_bits(y[None].astype(float))[0], a, b
    )
    assert (found.difference, found.standard_error) == pytest.approx((value, error))
    assert found.low < found.difference < found.high
    rough = compare_figures(entropy_bits, a, b, smooth=False)
    assert rough.difference == pytest.approx(plain[0] - plain[1]) == (rough.low + rough.high) / 2
    assert rough.standard_error == found.standard_error
