"""Whether a table has enough tokens for its width, and the caution on its information where it has not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.inference.base.tables import whole_counts
from routestat.inference.information.entropy import ENOUGH_PER_CELL, default_estimator

#: Counts per cell in use from which on intervals of information cover the truth at about the nominal level.
#: Independent tokens in 40 groups, 28 states, 60 tables each: .00 to .53 of intervals of 95 % cover at 1 a cell, .22 to
#: .82 at 2, .85 to .93 at 5, .93 to .95 at 10 (Monte-Carlo error .03 to .06). Where tokens depend on each other so many
#: independent ones are meant: 32 counts a cell in copies of eight cover .89 to .93 (120 tables each, error .03).
COVERED_PER_CELL = 10
UNCOVERED = "no interval is given where the remaining bias would exceed it"


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

    @property
    def reason(self) -> str:
        """Why there is no interval; empty where there is one."""
        return "" if self.covered else UNCOVERED


def scarcity(table: ArrayLike, slots: int = 1, design_effect: float = 1.0) -> Scarcity:
    """Return the caution that goes with the information of a table.

    In the expert view the information of a table is withheld by its own estimate where it would be biased (see
    `inclusion_information`); the caution is then about the plug-in and the parts.

    Parameters
    ----------
    table
        Counts `[source, target]`.
    slots
        Cells that each token is counted in: 1, or k * k in the expert view.
    design_effect
        Of the table, where it is known: so many tokens are worth one independent token.
    """
    total = whole_counts(table, "table")
    in_use = max(int(np.count_nonzero(total.sum(axis=0)) * np.count_nonzero(total.sum(axis=1))), 1)
    n = float(total.sum())
    worth = n / max(design_effect, 1.0) if design_effect == design_effect else n
    covered = slots > 1 or worth >= COVERED_PER_CELL * in_use
    # Dependence between tokens is taken out of the estimate; only where very few are left does it fail.
    if not n or (covered and n >= ENOUGH_PER_CELL * in_use):
        return Scarcity()
    counts = f"{n / in_use:.3g} counts per cell of the table"
    if worth < 0.95 * n:
        counts += f", worth {worth / in_use:.3g} independent ones"
    few = f"only {counts}: below {ENOUGH_PER_CELL}"
    if slots > 1:
        return Scarcity(f"{few} the plug-in and the parts of the information are biased upwards")
    _, unreliable = default_estimator(worth, in_use)
    rest = "" if covered else f", below {COVERED_PER_CELL} by more than an interval would show"
    return Scarcity(
        unreliable or f"{few} information is biased{' upwards' if covered else ''}{rest}", covered
    )
