"""Calibrations in two forms: a short one among all tests, and a long one in `make calibration`.

In the short form a rate is refused only two Monte-Carlo errors beyond what is allowed. Where 3 to 7 % are allowed, a
test that rejects in 10 % is noticed at 1000 runs, in 13 % at 300, in 15 % at 150, in 18 % at 100 and in 21 % at 60,
each with a probability of 90 % or more.
"""

import math

import pytest


def forms(*case: object, short: int, long: int, name: str) -> list:
    """The case with few runs and with many, which are the last parameter."""
    return [
        pytest.param(*case, short, id=name),
        pytest.param(*case, long, id=f"{name}-long", marks=pytest.mark.long),
    ]


def error(rate: float, runs: int) -> float:
    """Monte-Carlo error of a rate in so many runs."""
    return math.sqrt(rate * (1.0 - rate) / runs)


def within(rate: float, runs: int, low: float, high: float) -> bool:
    """Whether the truth may lie between the limits, given two errors of so many runs."""
    return low - 2 * error(low, runs) <= rate <= high + 2 * error(high, runs)
