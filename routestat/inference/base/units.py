"""How many independent units a figure rests on, and what so few of them can show: one rule for all tests.

A unit is one group of the tables: a bundle of whole clusters of documents. Tokens of different units are
independent, tokens of one are not.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

#: Below this many units there is no test and no interval: 5 units have 16 sign patterns, so that no p-value could
#: be below 0.06.
LEAST_UNITS = 6
#: Where units differ in size, they must be worth this many of one size: six with lengths of an exponential
#: distribution are worth 3.5 on average.
LEAST_EFFECTIVE = LEAST_UNITS / 2
#: Below this many units the figures are called rough.
FEW_UNITS = 30


def effective_units(size: ArrayLike) -> float:
    """How many units of one size these are worth: 1 / sum of w**2, with w the shares of the tokens; 0 without any."""
    tokens = np.asarray(size, dtype=np.float64)
    total = float(tokens.sum())
    return 1.0 / float(((tokens / total) ** 2).sum()) if total > 0 else 0.0


def too_few(size: ArrayLike, what: str = "") -> str | None:
    """Why these units allow no test and no interval, or None.

    Parameters
    ----------
    size
        Tokens of each unit `[group]`; units without any are not counted.
    what
        Said of the units where that is not clear, such as "in one of the two".
    """
    tokens = np.asarray(size, dtype=np.float64)
    units, where = int(np.count_nonzero(tokens > 0)), f" {what}" if what else ""
    if units < LEAST_UNITS:
        return f"{units} independent unit{'' if units == 1 else 's'}{where}: no test or interval below {LEAST_UNITS}"
    worth = effective_units(tokens)
    if worth < LEAST_EFFECTIVE:
        return (
            f"{units} independent units{where}, so unequal that they are worth {worth:.2g} of one size: "
            f"no test or interval below {LEAST_EFFECTIVE:.2g}"
        )
    return None


def log10_sign_floor(units: int) -> float:
    """log10 of the least p-value that signs of the units' scores allow: 1 in 2**(units - 1)."""
    return -(max(units, 1) - 1) * math.log10(2.0)


def log10_relabelling_floor(n_a: int, n_b: int) -> float:
    """log10 of the least p-value that relabelling whole units of two samples allows: 1 in C(n_a + n_b, n_a)."""
    return (math.lgamma(n_a + 1) + math.lgamma(n_b + 1) - math.lgamma(n_a + n_b + 1)) / math.log(10.0)


def shown_power(log10_p: float) -> str:
    """10**log10_p in two digits, whatever its size."""
    if log10_p > -290.0:
        return f"{10.0**log10_p:.2g}"
    whole = math.floor(log10_p)
    return f"{10.0 ** (log10_p - whole):.2g}e{whole}"
