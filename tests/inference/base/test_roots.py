"""Roots against scipy.optimize.brentq."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from routestat.inference.base.roots import bracketed_root


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (lambda x: math.cos(x) - x, 0.0, 1.0),
        (lambda x: math.exp(-x) - 1e-12, 0.0, 80.0),
        (lambda x: x**3 + x / 100, -1.0, 2.0),
        (lambda x: math.atan(x - 0.3) + 1e-3 * x**3, -50.0, 1.0),
        (lambda x: 4.0 - x, 4.0, 9.0),
        (lambda x: 9.0 - x, 4.0, 9.0),
    ],
)
def test_roots_are_those_of_brent(value, low, high, sign):
    found = bracketed_root(lambda x: sign * value(x), low, high, 1e-12)
    assert found == pytest.approx(brentq(value, low, high, xtol=1e-13), abs=1e-10)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6), st.floats(-1, 1), st.floats(0.1, 3))
def test_a_change_of_sign_is_found(coefficients, low, width):
    def value(x):
        return sum(c * x**power for power, c in enumerate(coefficients))

    high = low + width
    if not value(low) * value(high) < 0:
        return
    found = bracketed_root(value, low, high, 1e-12)
    assert low <= found <= high
    near = max(low, found - 1e-6), min(high, found + 1e-6)
    assert value(near[0]) * value(near[1]) <= 0 or abs(value(found)) < 1e-9
