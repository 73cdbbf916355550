import mpmath
import numpy as np
import pytest
from scipy import stats

from routestat.inference.base.special import log10_t_tails


@pytest.mark.parametrize(
    ("score", "dof"), [(0.3, 5), (40.0, 255), (1e5, 255), (3e3, 60), (60.0, 5000), (1e6, 31.5), (2.0, 1)]
)
def test_against_mpmath(score, dof):
    with mpmath.workdps(60):
        x = mpmath.mpf(dof) / (dof + mpmath.mpf(score) ** 2)
        exact = float(mpmath.log10(mpmath.betainc(mpmath.mpf(dof) / 2, 0.5, 0, x, regularized=True)))
    assert log10_t_tails(score, dof) == pytest.approx(exact, rel=1e-11)
    assert log10_t_tails(-score, dof) == log10_t_tails(score, dof)


def test_shape_and_undefined():
    found = log10_t_tails([[0.0, np.nan], [1.0, np.inf]], 9)
    np.testing.assert_allclose(found[:, 0], [0.0, np.log10(2 * stats.t.sf(1.0, 9))], atol=1e-15)
    assert np.isnan(found[0, 1])
    assert found[1, 1] == -np.inf
