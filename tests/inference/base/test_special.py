"""Tails of chi-square and Student's t whose logarithms stay finite."""

import math

import mpmath
import numpy as np
import pytest
from scipy import special, stats

from routestat.inference.base.special import (
    chi2_tail,
    exponential_integral,
    listed_x_log_x,
    log10_chi2_tail,
    log10_t_tails,
)


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


@pytest.mark.parametrize(
    ("score", "dof"), [(0.3, 5), (40.0, 255), (1e5, 255), (3e3, 60), (60.0, 5000), (1e6, 31.5), (2.0, 1)]
)
def test_student_s_tails_against_mpmath(score, dof):
    with mpmath.workdps(60):
        x = mpmath.mpf(dof) / (dof + mpmath.mpf(score) ** 2)
        exact = float(mpmath.log10(mpmath.betainc(mpmath.mpf(dof) / 2, 0.5, 0, x, regularized=True)))
    assert log10_t_tails(score, dof) == pytest.approx(exact, rel=1e-11)
    assert log10_t_tails(-score, dof) == log10_t_tails(score, dof)


def test_student_s_tails_keep_shape_and_what_is_undefined():
    found = log10_t_tails([[0.0, np.nan], [1.0, np.inf]], 9)
    np.testing.assert_allclose(found[:, 0], [0.0, np.log10(2 * stats.t.sf(1.0, 9))], atol=1e-15)
    assert np.isnan(found[0, 1])
    assert found[1, 1] == -np.inf


@pytest.mark.parametrize(("t", "dof"), [(1.5, 7.3), (60.0, 300.0), (1e3, 299.0), (1e6, 120.5)])
def test_tails_of_student_s_t_stay_finite(t, dof):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        exact = mpmath.log10(
            mpmath.betainc(dof / 2, 0.5, 0, dof / (dof + mpmath.mpf(t) ** 2), regularized=True)
        )
    assert log10_t_tails(np.array([t]), np.array([dof]))[0] == pytest.approx(float(exact), rel=1e-9)
    assert log10_t_tails(np.array([0.0, np.nan]), np.array([5.0, 5.0])) == pytest.approx(
        [0.0, np.nan], nan_ok=True
    )


def test_exponential_integral_is_that_of_scipy():
    x = np.concatenate([10.0 ** np.linspace(-300, 0, 200), np.linspace(1.0, 45.0, 500), [4.0, 40.0, 1e9]])
    found = exponential_integral(x.reshape(-1, 1))
    assert found.shape == (len(x), 1)
    assert found[:, 0] == pytest.approx(special.exp1(x), rel=1e-14, abs=1e-14)
    large = (x > 4) & (x < 40)
    assert found[large, 0] == pytest.approx(special.exp1(x[large]), rel=1e-11)
    assert exponential_integral(np.array([0.5, 3.0, 10.0])) == pytest.approx(
        special.exp1([0.5, 3.0, 10.0]), rel=1e-12
    )


def test_x_log_x_is_listed_from_zero():
    listed = listed_x_log_x()
    assert listed[:2].tolist() == [0.0, 0.0]
    assert listed[[2, 1000, len(listed) - 1]] == pytest.approx(
        [c * math.log(c) for c in (2, 1000, len(listed) - 1)], rel=1e-15
    )
