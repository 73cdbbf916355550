"""Whether a table has tokens enough for its width, and what is to be said of information where it has not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.inference.estimators import ENOUGH_PER_CELL, default_estimator
from routestat.inference.tables import whole_counts

#: Counts per cell in use from which on intervals of information cover the truth about as often as they should.
#: Independent tokens in 40 groups, 28 states, 60 tables each: .00 to .53 of intervals of 95 % cover at 1 a cell, .22 to
#: .82 at 2, .85 to .93 at 5, .93 to .95 at 10 (Monte-Carlo error .03 to .06).
COVERED_PER_CELL = 10


@dataclass(frozen=True, slots=True)
class Scarcity:
    """What is to be said of the information of one table.

    Attributes
    ----------
    caution : str
        Empty where there are tokens enough.
    covered : bool
        Whether the interval is worth giving: with fewer tokens what the jackknife leaves of the bias exceeds it.
    """

    caution: str = ""
    covered: bool = True


def scarcity(table: ArrayLike, slots: int = 1) -> Scarcity:
    """The caution that goes with the information of a table.

    Parameters
    ----------
    table
        Counts `[source, target]`.
    slots
        Cells that each token is counted in: 1, or k * k in the expert view.
    """
    total = whole_counts(table, "table")
    in_use = max(int(np.count_nonzero(total.sum(axis=0)) * np.count_nonzero(total.sum(axis=1))), 1)
    n = float(total.sum())
    per_cell = n / in_use
    if not n or per_cell >= ENOUGH_PER_CELL:
        return Scarcity()
    covered = per_cell >= COVERED_PER_CELL
    _, unreliable = default_estimator(n / slots, in_use)
    few = f"only {per_cell:.3g} counts per cell of the table: below {ENOUGH_PER_CELL} information is biased upwards"
    rest = "" if covered else f", below {COVERED_PER_CELL} by more than an interval would show"
    return Scarcity(unreliable or few + rest, covered)
