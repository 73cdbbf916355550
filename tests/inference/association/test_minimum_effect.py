"""V with its interval and threshold, and the tests of single cells, against loops and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from routestat.errors import RoutestatError
from routestat.inference.association.cell_tests import cell_tests
from routestat.inference.association.independence import independence
from routestat.inference.association.minimum_effect import minimum_effect
from tests.inference.association.independence_examples import coupled
from tests.oracle.inference_oracle import without_bias


def test_v_is_that_of_the_sum_and_its_error_the_linearised_one():
    tables = coupled(np.random.default_rng(0), 20, 0.3)
    plain = independence(tables).cramers_v ** 2

    def v_square(t):
        return independence(t).cramers_v ** 2

    left = [v_square(np.delete(tables, g, 0)) for g in range(20)]
    found = minimum_effect(tables, 0.2)
    size = tables.sum(axis=(1, 2))
    estimate = without_bias(plain, left, size)
    dof = tables.sum() ** 2 / np.square(size).sum() - 1
    assert found.v == pytest.approx(math.sqrt(estimate), rel=1e-10)
    # The derivative of V squared in the direction of each group, by differences.
    total, n, step = tables.sum(axis=0).astype(float), tables.sum(), 1e-6
    base = v_of(total)
    score = [(v_of(total + step * t) - base) / step for t in tables.astype(float)]
    error = math.sqrt(20 / 19 * np.sum(np.square(score)))
    reach = stats.t.ppf(0.975, dof) * error
    assert found.high == pytest.approx(math.sqrt(estimate + reach), rel=1e-4)
    assert found.low == pytest.approx(math.sqrt(max(0, estimate - reach)), rel=1e-4)
    t = (estimate - 0.04) / error
    assert found.p == pytest.approx(stats.t.sf(t, dof), rel=1e-3)
    assert found.log10_p == pytest.approx(math.log10(found.p), abs=1e-9)
    assert n == total.sum()


def v_of(total):
    n, e = total.sum(), np.outer(total.sum(axis=1), total.sum(axis=0)) / total.sum()
    return ((total - e) ** 2 / e).sum() / n / (min(total.shape) - 1)


def test_the_threshold_is_passed_as_often_as_stated():
    """At V = threshold exactly the test rejects at its level, and the interval covers."""
    rng = np.random.default_rng(1)
    rejected = covered = 0
    runs = 400
    for _ in range(runs):
        # With uniform distributions V is the share of tokens whose target is the source.
        found = minimum_effect(coupled(rng, 60, 0.3, mean=100), 0.3)
        rejected += found.p < 0.05
        covered += found.low <= 0.3 <= found.high
    error = math.sqrt(0.05 * 0.95 / runs)
    print(f"rejects {rejected / runs:.3f}, covers {covered / runs:.3f} (Monte-Carlo error {error:.3f})")
    assert 0.03 - 2 * error < rejected / runs < 0.07 + 2 * error
    assert 0.93 - 2 * error < covered / runs < 0.97 + 2 * error


@pytest.mark.parametrize("statistic", [minimum_effect, cell_tests])
def test_what_cannot_be_tested_has_a_reason(statistic):
    """V, and the cells of the same table."""
    assert "5 independent units: no test or interval below 6" in statistic(np.ones((5, 2, 2), int)).reason
    assert "one row" in statistic(np.ones((6, 1, 4), int)).reason
    assert statistic(np.zeros((3, 2, 2), int)).reason
    with pytest.raises(RoutestatError, match="axes"):
        statistic(np.ones((2, 2), int))
    found = statistic(np.arange(1, 13)[:, None, None] * np.array([[3, 1], [1, 3]]))
    assert "equal proportions" in found.reason
    assert np.isnan(found.log10_p).all()


def test_v_of_one_has_no_error():
    tables = np.random.default_rng(4).poisson(50.0, (12, 4, 1)) * np.eye(4, dtype=int)
    found = minimum_effect(tables)
    assert "V is 1" in found.reason
    assert (found.v, math.isnan(found.log10_p)) == (pytest.approx(1.0), True)


def test_impossible_thresholds():
    with pytest.raises(RoutestatError, match="threshold"):
        minimum_effect(np.ones((3, 2, 2), int), 1.5)
