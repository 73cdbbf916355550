"""Sums of rising factorials and their derivatives, against sums over single factors."""

import math

import numpy as np
import pytest

from routestat.counting.kernels.rising import FAR, rising_sums


def _by_factors(a: float, n: int) -> list[float]:
    """ln Γ(a + n) − ln Γ(a) and its first two derivatives, one factor after the other."""
    return [
        math.fsum(math.log(a + i) for i in range(n)),
        math.fsum(1.0 / (a + i) for i in range(n)),
        -math.fsum(1.0 / (a + i) ** 2 for i in range(n)),
    ]


@pytest.mark.parametrize("a", [1e-12, 1e-3, 0.7, 3.0, FAR - 0.5, float(FAR), 250.25, 1e6, 1e11])
def test_sums_of_a_column_are_those_of_its_factors(a: float) -> None:
    counts = np.array([1, 2, FAR - 1, FAR, FAR + 1, FAR + 2, 77, 5000])
    for count in counts:
        sums = np.empty((3, 1))
        rising_sums(np.array([0, 1]), np.array([count]), np.ones(1), np.array([a]), sums)
        np.testing.assert_allclose(sums[:, 0], _by_factors(a, int(count)), rtol=2e-14 * max(1.0, a / count))


def test_columns_have_their_own_cells_which_count_as_often_as_they_occur() -> None:
    sums = np.full((3, 3), 9.0)
    rising_sums(
        np.array([0, 2, 2, 3]),
        np.array([3, 40, 2]),
        np.array([2.0, 1.0, 5.0]),
        np.array([0.5, 1.0, 30.0]),
        sums,
    )
    first = 2.0 * np.array(_by_factors(0.5, 3)) + np.array(_by_factors(0.5, 40))
    np.testing.assert_allclose(sums[:, 0], first, rtol=1e-13)
    np.testing.assert_array_equal(sums[:, 1], 0.0)
    np.testing.assert_allclose(sums[:, 2], 5.0 * np.array(_by_factors(30.0, 2)), rtol=1e-13)
