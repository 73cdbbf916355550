"""Measures of association against R, scipy and counting errors."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.stats import contingency as scipy_contingency

from routestat.inference.association.measures import (
    cramers_v,
    cramers_v_corrected,
    gk_lambda,
    gk_tau,
    theils_u,
)
from tests.oracle.inference_oracle import predicted_right

TABLE = np.array([[9.0, 2, 1, 4], [1, 7, 3, 0], [5, 5, 5, 1]])


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
    # Each of four sources leads to one of two targets: the source determines the target, not the reverse.
    table = np.array([[5.0, 0], [5, 0], [0, 5], [0, 5]])
    for measure, back in (
        (theils_u, 0.5),
        (gk_tau, 1 / 3),
        (gk_lambda, 1 / 3),
    ):
        assert measure(table) == pytest.approx(1.0, rel=1e-14)
        assert measure(table.T) == pytest.approx(back, rel=1e-14)


def test_a_target_with_one_state_leaves_nothing_to_predict() -> None:
    for measure in (theils_u, gk_tau, gk_lambda):
        assert math.isnan(measure(np.array([[3.0], [4.0]])))
        assert measure(np.array([[3.0, 4.0]])) == 0.0
        assert math.isnan(measure(np.empty((0, 0))))
