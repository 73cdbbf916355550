"""Functions of one number, worked out once on a grid: what a sampler evaluates instead of sums over cells."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import interpolate, special

from routestat.inference.base.tables import Floats, read_only
from routestat.inference.bayes.rising_sums import RisingSums

#: What `tabulate` covers, in log alpha. Beyond it every term is as good as straight.
LOW, HIGH, STEP = -16.0, 20.0, 0.125
#: So far beyond the longest row a strength lies outside the grid at the earliest: the prior then outweighs any row
#: three thousand to one, and what is still curved no longer tells one strength from another.
BEYOND_ROWS = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Functions of one number on a grid: polynomials of degree 5 between its points, straight lines outside.

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
    """Every function as a quintic spline through its exact values on a grid.

    The functions are smooth: they add up log(1 + e^(v - a)) for different a, whose poles are pi away from the
    real line. The error of the spline falls with the sixth power of the step.
    """
    longest = math.log(max(float(sums.count.max(initial=1.0)), 1.0))
    intervals = math.ceil((max(HIGH, longest + BEYOND_ROWS) - LOW) / STEP)
    grid = LOW + STEP * np.arange(intervals + 1)
    arguments = int(sums.argument.max(initial=-1)) + 1
    values = sums(np.broadcast_to(grid, (max(arguments, sums.n_functions), len(grid))))
    spline = interpolate.make_interp_spline(grid, values, k=5, axis=1)
    # The spline's own pieces join several steps at the ends; each step gets the piece that it lies in.
    faculty = special.factorial(np.arange(6))
    pieces = np.stack([spline(grid[:-1], nu=power) for power in range(6)], axis=-1) / faculty
    slope = spline(grid[[0, -1]], nu=1)
    return Curves(read_only(pieces), read_only(slope), LOW, float(grid[-1]), STEP)
