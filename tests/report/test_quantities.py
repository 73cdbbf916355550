"""Bytes and seconds as text."""

import math

import pytest

from routestat.report.numbers import number
from routestat.report.quantities import between, data_size, duration


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0 bytes"),
        (999.0, "999 bytes"),
        (999.9, "1.00 kB"),
        (352_321_536.0, "352 MB"),
        (90.1e9, "90.1 GB"),
        (25e12, "25.0 TB"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_bytes_have_decimal_units(value, words):
    assert data_size(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0 s"),
        (2.5, "2.50 s"),
        (0.0999999, "100 ms"),
        (2e-4, "200 µs"),
        (3e-9, "3.00 ns"),
        (math.nan, "–"),
    ],
)
def test_seconds_have_the_unit_that_suits_them(value, words):
    assert duration(value) == words


def test_limits_have_their_unit_once_if_it_is_the_same():
    assert between(0.0344, 0.036, duration) == "34.4 … 36.0 ms"
    assert between(9.1e-4, 1.2e-3, duration) == "910 µs … 1.20 ms"
    assert between(0.5, 0.7, number) == "0.500 … 0.700"
