"""Estimates over groups of documents: their errors, their one rule of degrees of freedom, and their coverage."""

import numpy as np
import pytest
from scipy import stats

from routestat.inference.base.estimate import effective_dof, proportions, ratio, sandwich_error, t_quantile


def test_groups_of_one_size_have_their_number_less_one():
    assert effective_dof(np.full(6, 30)) == pytest.approx(5)
    assert t_quantile(np.full(6, 30), 0.95) == pytest.approx(stats.t.ppf(0.975, 5))


def test_unequal_groups_by_hand():
    """Shares of a quarter, five times an eighth and an eighth in two: 1 / sum of squares is 1024 / 152."""
    size = np.array([64, 32, 32, 32, 32, 32, 16, 16])
    assert effective_dof(size) == pytest.approx(1024 / 152 - 1)
    uses = np.array([40, 8, 20, 10, 16, 12, 4, 12])
    found, value = ratio(uses, size), 122 / 256
    error = np.sqrt(8 / 7 * ((uses - value * size) ** 2).sum()) / 256
    reach = stats.t.ppf(0.975, 1024 / 152 - 1) * error
    assert (found.value, found.standard_error) == pytest.approx((value, error))
    assert (found.low, found.high) == pytest.approx((value - reach, value + reach))
    assert float(sandwich_error(uses - value * size)) / 256 == pytest.approx(error)
    both = proportions(np.column_stack([uses, size - uses]), size)
    assert both.low == pytest.approx([value - reach, 1 - value - reach])


def test_too_few_units_or_one_with_nearly_everything_leave_no_interval():
    assert effective_dof([10**6, 1, 1, 1, 1, 1]) == 1.0
    assert np.isnan(t_quantile([10**6, 1, 1, 1, 1, 1], 0.95))
    assert np.isnan(t_quantile([30, 30, 30, 30, 30, 0], 0.95))


def test_ratio_intervals_cover_on_unequal_groups():
    rng = np.random.default_rng(0)
    inside = 0
    runs = 400
    for _ in range(runs):
        size = rng.geometric(1 / 50, 60)
        rate = rng.beta(2, 6, 60)
        estimate = ratio(rng.binomial(size, rate), size)
        inside += estimate.low < 0.25 < estimate.high
    assert 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs) < inside / runs <= 0.99


def test_ratio_without_spread_or_tokens_says_why():
    assert ratio([1.0], [2.0]).value == 0.5
    assert ratio([1.0], [2.0]).reason == "1 independent unit: no test or interval below 6"
    assert "no tokens" in ratio([0.0, 0.0], [0.0, 0.0]).reason


def test_a_few_long_documents_give_the_error_few_degrees_of_freedom():
    """Twenty lengths of a Pareto tail: with G - 1 degrees of freedom one interval in eight would miss."""
    rng, inside, narrow = np.random.default_rng(1), [], []
    for _ in range(1500):
        size = np.minimum(20_000, 20 * (1 + rng.pareto(1.2, 20))).astype(int)
        found = ratio(rng.binomial(size, rng.beta(2, 6, 20)), size)
        if np.isfinite(found.low):
            inside.append(found.low < 0.25 < found.high)
            narrow.append(abs(found.value - 0.25) < stats.t.ppf(0.975, 19) * found.standard_error)
    print(f"coverage {np.mean(inside):.3f}, with G - 1 {np.mean(narrow):.3f}, {len(inside)} intervals")
    error = np.sqrt(0.95 * 0.05 / len(inside))
    assert 0.95 - 0.02 - 3 * error < np.mean(inside) < 0.98
    assert np.mean(narrow) < 0.95 - 0.02 - 3 * error
