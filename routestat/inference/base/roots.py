"""The root of a function of one variable, without the tenth of a second that scipy.optimize takes to import."""

import math
from collections.abc import Callable
from itertools import pairwise

_MOST_STEPS = 200


def bracketed_root(value: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """Return where a continuous function is zero, by Ridders' method.

    Parameters
    ----------
    value : callable(float)
        Of opposite signs at `low` and `high`.
    low, high : float
    tolerance : float
        Largest change of the last step.

    References
    ----------
    Ridders (1979), IEEE Transactions on Circuits and Systems 26: 979–980.
    """
    at_low, at_high, found = value(low), value(high), math.inf
    for _ in range(_MOST_STEPS):
        if at_low == 0 or at_high == 0:
            return low if at_low == 0 else high
        middle = (low + high) / 2.0
        at_middle = value(middle)
        # The ends have opposite signs, so that the root is of a positive number; scaled against underflow.
        scale = max(abs(at_low), abs(at_high), abs(at_middle))
        below, centre, above = at_low / scale, at_middle / scale, at_high / scale
        step = (middle - low) * centre / math.sqrt(centre * centre - below * above)
        previous, found = found, min(max(middle + math.copysign(1.0, at_low) * step, low), high)
        if abs(found - previous) <= tolerance:
            return found
        at_found = value(found)
        ends = sorted([(low, at_low), (middle, at_middle), (found, at_found), (high, at_high)])
        (low, at_low), (high, at_high) = next(
            (one, other) for one, other in pairwise(ends) if one[1] == 0 or (one[1] < 0) != (other[1] < 0)
        )
    return found
