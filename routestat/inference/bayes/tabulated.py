"""Sums over cells that the sampler evaluates, tabulated once on a grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, sparse, special

from routestat.inference.base.special import log_rising
from routestat.inference.base.tables import Floats, Integers, read_only

TERMS_AT_ONCE = 1 << 16

#: Columns of terms: function, argument, weight, start, count, times.
Terms = tuple[Integers, Integers, Floats, Floats, Floats, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class RisingSums:
    """Functions of one variable each: sum over a function's terms of times * log[(w e^v + start) rising by count].

    Attributes
    ----------
    function, argument
        Of each term, which function it belongs to and which `v` it takes `[term]`.
    weight, start, count, times
        w, start >= 0, count >= 1, and the factor before the logarithm `[term]`.
    n_functions
    """

    function: Integers
    argument: Integers
    weight: Floats
    start: Floats
    count: Floats
    times: Floats
    n_functions: int

    def __call__(self, v: Floats) -> Floats:
        """Evaluate the functions `[function, node]` in nats at `v` `[argument, node]`."""
        result, factor = np.zeros((self.n_functions, v.shape[1])), np.exp(v)
        for first in range(0, len(self.function), TERMS_AT_ONCE):
            part = slice(first, first + TERMS_AT_ONCE)
            at = self.weight[part, None] * factor[self.argument[part]] + self.start[part, None]
            count, values = self.count[part], np.empty_like(at)
            one = count == 1
            values[one] = np.log(at[one])
            values[~one] = log_rising(at[~one], count[~one, None])
            place = self.function[part], np.arange(len(count))
            sums = sparse.csr_array(
                (self.times[part], place), shape=(self.n_functions, len(count)), dtype=np.float64
            )
            result += sums @ values
        return result


def terms(
    function: ArrayLike,
    argument: ArrayLike,
    count: ArrayLike,
    *,
    weight: ArrayLike = 1.0,
    start: ArrayLike = 0.0,
    times: ArrayLike = 1.0,
) -> Terms:
    """Build the terms of the cells that hold tokens; scalars apply to all cells."""
    tokens = np.asarray(count, np.float64)
    kept = tokens > 0

    def column(values: ArrayLike, kind: type) -> NDArray[Any]:
        return np.broadcast_to(np.asarray(values, kind), tokens.shape)[kept]

    whole = column(function, np.int64), column(argument, np.int64)
    return (
        *whole,
        column(weight, np.float64),
        column(start, np.float64),
        tokens[kept],
        column(times, np.float64),
    )


def joined(parts: Sequence[Terms], n_functions: int) -> RisingSums:
    """Join terms to one object."""
    function, argument, weight, start, count, times = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return RisingSums(function, argument, weight, start, count, times, n_functions)


#: The range of `tabulate` in log alpha; beyond it every term is practically linear.
LOW, HIGH, STEP = -16.0, 20.0, 0.125

#: The grid extends this far beyond the log of the longest row: there the prior has three thousand times the weight of
#: any row, and the remaining curvature hardly distinguishes strengths.
BEYOND_ROWS = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Functions of one variable on a grid: polynomials of degree 5 between its points, straight lines outside.

    Attributes
    ----------
    coefficients
        `[function, interval, 6]`, of rising powers of (v - the interval's start).
    slope
        At the two ends `[function, 2]`.
    low, high, step
    """

    coefficients: Floats
    slope: Floats
    low: float
    high: float
    step: float


def tabulate(sums: RisingSums) -> Curves:
    """Interpolate every function by a quintic spline through its exact values on a grid.

    The functions are smooth: they add up log(1 + e^(v - a)) for different a, whose poles are pi away from the
    real line. The error of the spline is of the sixth order in the step.
    """
    longest = math.log(max(float(sums.count.max(initial=1.0)), 1.0))
    intervals = math.ceil((max(HIGH, longest + BEYOND_ROWS) - LOW) / STEP)
    grid = LOW + STEP * np.arange(intervals + 1)
    arguments = int(sums.argument.max(initial=-1)) + 1
    values = sums(np.broadcast_to(grid, (max(arguments, sums.n_functions), len(grid))))
    spline = interpolate.make_interp_spline(grid, values, k=5, axis=1)
    # At the ends the spline's own pieces span several steps; each step gets its own copy.
    factorials = special.factorial(np.arange(6))
    pieces = np.stack([spline(grid[:-1], nu=power) for power in range(6)], axis=-1) / factorials
    slope = spline(grid[[0, -1]], nu=1)
    return Curves(read_only(pieces), read_only(slope), LOW, float(grid[-1]), STEP)
