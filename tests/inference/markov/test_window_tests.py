"""Tests of windows: a case computed by hand, and what they do at the edges."""

import numpy as np
import pytest
from scipy import stats

from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.markov.window_tests import window_tests

SIZES = np.full(20, 100)


def test_a_window_computed_by_hand():
    """One window: its design effect is its own, so that both halves of its variance are its own scores."""
    tests = window_tests([150], [100.0], [400.0], [50.0], [0.02], [18], SIZES)
    correction = 20 / 19
    assert tests.design_effect[0] == pytest.approx(correction * 400 / 50)
    assert tests.z[0] == pytest.approx(50 / np.sqrt(correction * 400))
    p = stats.t.sf(tests.z[0], 19)
    assert tests.log10_p[0] == pytest.approx(np.log10(p))
    assert tests.log10_q[0] == pytest.approx(np.log10(p))
    assert tests.ratio[0] == 1.5
    reach = stats.t.ppf(0.975, 19) * np.sqrt(correction * 0.02)
    assert tests.ratio_low[0] == pytest.approx(1.5 * np.exp(-reach))
    assert tests.ratio_high[0] == pytest.approx(1.5 * np.exp(reach))


def test_variances_are_moderated_by_windows_that_are_expected_as_often():
    tokens, expected = np.array([100, 100, 10]), np.array([80.0, 70.0, 5.0])
    square, variance = np.array([100.0, 500.0, 4.0]), np.array([50.0, 50.0, 4.0])
    tests = window_tests(tokens, expected, square, variance, np.zeros(3), [20] * 3, SIZES)
    correction = 20 / 19
    effect = correction * np.array([6.0, 6.0, 1.0])
    assert tests.design_effect == pytest.approx(effect)
    own = correction * square
    assert tests.z == pytest.approx((tokens - expected) / np.sqrt((own + effect * variance) / 2))


def test_the_test_is_one_sided_and_limited_by_the_groups_that_have_the_window():
    tests = window_tests(
        [400, 400, 40], [100.0, 100.0, 100.0], [25.0] * 3, [25.0] * 3, [0.1] * 3, [20, 6, 20], SIZES
    )
    assert tests.z[0] == tests.z[1] > 10
    assert tests.log10_p[1] == pytest.approx(-5 * np.log10(2))
    assert tests.log10_p[0] < tests.log10_p[1]
    assert -1e-3 < tests.log10_p[2] <= 0
    assert tests.log10_q == pytest.approx(adjust_log10(tests.log10_p, "by"))


def test_a_far_tail_stays_finite():
    tests = window_tests([10**6], [10.0], [1.0], [1.0], [0.1], [2000], np.full(2000, 1000))
    assert np.isfinite(tests.log10_p[0])
    assert tests.log10_p[0] < -300


def test_what_has_no_variance_or_no_tokens_has_no_test_but_is_no_error():
    tests = window_tests(
        [50, 0, 30], [50.0, 20.0, 10.0], [0.0, 9.0, 4.0], [0.0, 9.0, 4.0], [0.0] * 3, [5, 0, 9], SIZES
    )
    assert np.isnan(tests.z[0])
    assert np.isnan(tests.log10_p[0])
    assert tests.z[1] < 0
    assert tests.ratio[1] == 0
    assert np.isnan(tests.ratio_low[1])
    assert np.isfinite(tests.log10_q[[1, 2]]).all()


@pytest.mark.parametrize("sizes", [np.full(5, 100), np.array([10_000] + [1] * 9), np.empty(0)])
def test_too_few_documents_are_a_reason(sizes):
    tests = window_tests([50], [20.0], [9.0], [9.0], [0.1], [4], sizes)
    assert tests.reason
    assert np.isnan(tests.log10_p).all()
    assert tests.ratio[0] == 2.5


def test_no_window_is_no_test():
    tests = window_tests([], [], [], [], [], [], SIZES)
    assert tests.z.shape == (0,)
    assert tests.reason is None
