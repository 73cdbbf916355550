import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import contingency as scipy_contingency
from statsmodels.stats.multitest import multipletests

from routestat.errors import RoutestatError
from routestat.inference.association.measures import (
    cramers_v,
    cramers_v_corrected,
    gk_lambda,
    gk_tau,
    theils_u,
)
from routestat.inference.base.multiplicity import adjust, adjust_families, adjust_log10
from routestat.inference.base.special import chi2_tail, log10_chi2_tail
from routestat.structure.profiles import correlate
from tests.oracle.inference_oracle import predicted_right, step_up

TABLE = np.array([[9.0, 2, 1, 4], [1, 7, 3, 0], [5, 5, 5, 1]])


def test_coefficients_by_hand() -> None:
    a, b = [1, 2, 3, 4, 5], [2, 1, 4, 3, 5]
    # Deviations -2..2 against -1, -2, 1, 0, 2: products 2, 2, 0, 0, 4 over 10. Two of ten pairs are discordant.
    assert correlate(a, b) == pytest.approx(0.8, rel=1e-14)
    assert correlate(a, [20, 10, 400, 300, 5000], "spearman") == pytest.approx(0.8, rel=1e-14)
    assert correlate(a, b, "kendall") == pytest.approx(0.6, rel=1e-14)
    # Tau-b with a tie: of three pairs two concordant, one tied in b: 2 / sqrt(3 * 2).
    assert correlate([1, 2, 3], [1, 1, 2], "kendall") == pytest.approx(2 / 6**0.5, rel=1e-14)


@pytest.mark.parametrize("method", ["pearson", "spearman", "kendall"])
def test_a_constant_side_has_no_correlation(method: str) -> None:
    assert math.isnan(correlate([1, 1, 1], [1, 2, 3], method))
    assert math.isnan(correlate([1, 2, 3], [0, 0, 0], method))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: correlate([1, np.nan], [1, 2]), "NaN"),
        (lambda: correlate([1, np.inf], [1, 2]), "infinity"),
        (lambda: correlate([1, 2, 3], [1, 2]), "equally long"),
        (lambda: correlate([1], [1]), "two or more"),
        (lambda: correlate(["x", "y"], [1, 2]), "array of numbers"),
        (lambda: correlate([1, 2], [1, 2], "tau"), "method"),
        (lambda: adjust([0.5, 1.2]), "0 to 1"),
        (lambda: adjust([-0.1]), "0 to 1"),
        (lambda: adjust([0.5], "bonferroni"), "method"),
        (lambda: adjust_log10([0.3]), "0 or less"),
        (lambda: adjust_log10([-1], "holm"), "method"),
    ],
)
def test_bad_input_is_refused(call: object, says: str) -> None:
    with pytest.raises(RoutestatError, match=says):
        call()  # type: ignore[operator]


def test_cramers_v_against_scipy_and_r() -> None:
    # vcd::assocstats of Treatment by Improved in vcd::Arthritis prints X^2 13.055 and Cramer's V 0.394.
    arthritis = np.array([[29, 7, 7], [13, 7, 21]])
    x2 = stats.chi2_contingency(arthritis, correction=False).statistic
    assert round(cramers_v(x2, 84, (2, 3)), 3) == 0.394
    x2 = stats.chi2_contingency(TABLE, correction=False).statistic
    mine = cramers_v(x2, TABLE.sum(), (3, 4))
    assert mine == pytest.approx(scipy_contingency.association(TABLE.astype(int), "cramer"), rel=1e-13)


def test_bergsma_by_hand() -> None:
    # phi2 = 20/101 - 1*1/100; both sides shrink from 2 to 2 - 1/100.
    v = math.sqrt((20 / 101 - 0.01) / 0.99)
    assert cramers_v_corrected(20, 101, (2, 2)) == pytest.approx(v, rel=1e-14)
    # A design effect of two leaves 51 tokens of the 102 to correct by.
    v = math.sqrt((20 / 102 - 0.02) / 0.98)
    assert cramers_v_corrected(20, 102, (2, 2), 2.0) == pytest.approx(v, rel=1e-14)
    assert cramers_v_corrected(0.5, 101, (2, 2)) == 0.0
    for undefined in (
        (1.0, 50, (1, 4), 1.0),
        (1.0, 1, (2, 2), 1.0),
        (1.0, 50, (2, 2), math.nan),
        (9.0, 4, (9, 9), 1),
    ):
        assert math.isnan(cramers_v_corrected(*undefined))


def test_directed_measures_against_counting_errors() -> None:
    for table in (TABLE, TABLE.T):
        tau, lam = predicted_right(table)
        assert gk_tau(table) == pytest.approx(tau, rel=1e-12)
        assert gk_lambda(table) == pytest.approx(lam, rel=1e-12)
        joint = stats.entropy(table.ravel())
        h_source, h_target = stats.entropy(table.sum(1)), stats.entropy(table.sum(0))
        assert theils_u(table) == pytest.approx((h_source + h_target - joint) / h_target, rel=1e-12)


def test_directed_measures_point_from_rows_to_columns() -> None:
    # Each of four sources leads to one of two targets: the source tells all of the target, not the reverse.
    table = np.array([[5.0, 0], [5, 0], [0, 5], [0, 5]])
    for measure, back in (
        (theils_u, 0.5),
        (gk_tau, 1 / 3),
        (gk_lambda, 1 / 3),
    ):
        assert measure(table) == pytest.approx(1.0, rel=1e-14)
        assert measure(table.T) == pytest.approx(back, rel=1e-14)


def test_a_target_with_one_state_leaves_nothing_to_tell() -> None:
    for measure in (theils_u, gk_tau, gk_lambda):
        assert math.isnan(measure(np.array([[3.0], [4.0]])))
        assert measure(np.array([[3.0, 4.0]])) == 0.0
        assert math.isnan(measure(np.empty((0, 0))))


@pytest.mark.parametrize(
    ("x", "nu"),
    [
        (1e6, 10),
        (1e9, 729),
        (1e9, 3.7),
        (2e3, 0.3),
        (1400, 7.5),
        (7000, 1234.5),
        (5e4, 2e4),
        (3.0, 1.5),
        (900, 1000),
    ],
)
def test_log10_tail_against_mpmath(x: float, nu: float) -> None:
    with mpmath.workdps(40):
        exact = float(mpmath.log10(mpmath.gammainc(mpmath.mpf(nu) / 2, mpmath.mpf(x) / 2, regularized=True)))
    assert log10_chi2_tail(x, nu) == pytest.approx(exact, rel=1e-12)


def test_log10_tail_has_no_seam_where_it_leaves_floats() -> None:
    # The formula changes where the tail falls below 1e-290, between the second and the third of these.
    for x in (1300.0, 1375.0, 1380.0, 1450.0):
        with mpmath.workdps(40):
            exact = float(
                mpmath.log10(mpmath.gammainc(mpmath.mpf("4.5"), mpmath.mpf(x) / 2, regularized=True))
            )
        assert log10_chi2_tail(x, 9) == pytest.approx(exact, abs=2e-13)
    assert log10_chi2_tail(1375.0, 9) > -290 > log10_chi2_tail(1380.0, 9)


def test_tail_at_its_ends() -> None:
    assert log10_chi2_tail(0.0, 5) == 0.0
    assert log10_chi2_tail(0.0, 0) == 0.0
    assert chi2_tail(0.0, 0) == 1.0
    assert math.isnan(log10_chi2_tail(math.nan, 5))
    assert math.isnan(chi2_tail(math.nan, 5))


p_lists = st.lists(st.floats(1e-12, 1), min_size=1, max_size=30)


@given(p_lists, st.sampled_from(["bh", "by"]))
@settings(max_examples=60, deadline=None)
def test_adjusted_against_the_definition_and_statsmodels(p: list[float], method: str) -> None:
    q = adjust(p, method)
    np.testing.assert_allclose(q, step_up(p, method == "by"), rtol=1e-12)
    np.testing.assert_allclose(q, multipletests(p, method=f"fdr_{method}")[1], rtol=1e-12)
    np.testing.assert_allclose(10 ** adjust_log10(np.log10(p), method), q, rtol=1e-11)


def test_undefined_p_values_stay_so_and_do_not_count() -> None:
    p = np.array([[0.01, np.nan], [0.04, 0.03]])
    q = adjust(p)
    np.testing.assert_allclose(q, [[0.03, np.nan], [0.04, 0.04]])
    np.testing.assert_allclose(adjust_log10(np.log10(p)), np.log10(q))
    assert np.isnan(adjust([np.nan])).all()
    assert adjust([]).size == 0


def test_logs_keep_order_where_p_is_zero() -> None:
    logs = np.array([-4000.0, -217_000.0, -0.1, -350.0])
    # Ranks 2, 1, 4, 3 of four: 4/2, 4/1, 4/4, 4/3 times p.
    np.testing.assert_allclose(
        adjust_log10(logs), logs + np.log10([4 / 2, 4 / 1, 4 / 4, 4 / 3]), rtol=0, atol=1e-9
    )


def test_families_are_adjusted_together() -> None:
    families = {"one": [-3.0, math.nan, -1.0], "two": [-2.0], "none": []}
    found = adjust_families(families)
    together = adjust_log10([-3.0, math.nan, -1.0, -2.0], "by")
    np.testing.assert_array_equal(found["one"], together[:3])
    np.testing.assert_array_equal(found["two"], together[3:])
    assert found["none"].size == 0
    assert adjust_families({}) == {}
