"""Sums of logs of rising factorials as functions of one number each: what a collapsed likelihood is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from routestat.inference.base.special import log_rising
from routestat.inference.base.tables import Floats, Integers

TERMS_AT_ONCE = 1 << 16

#: Columns of terms: function, argument, weight, start, count, times.
Terms = tuple[Integers, Integers, Floats, Floats, Floats, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class RisingSums:
    """Functions of one number each: sum over a function's terms of times * log[(w e^v + start) rising by count].

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
        """Values `[function, node]` in nats at `v` `[argument, node]`."""
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
    """The terms of the cells that hold tokens; one number stands for all cells."""
    tokens = np.asarray(count, np.float64)
    kept = tokens > 0

    def column(values: ArrayLike, kind: type) -> NDArray:
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
    """One object of all terms."""
    function, argument, weight, start, count, times = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return RisingSums(function, argument, weight, start, count, times, n_functions)
