"""Transitions between layers that are not adjacent, from the table of the two layers themselves.

The product of the steps between them leaves out what does not pass through each layer's choice. The table of the two
layers leaves out nothing, but its rows have to be estimated on their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only, whole_counts
from routestat.inference.smoothing.design_effect import row_weight, transition_design_effect
from routestat.inference.smoothing.prior import resolve_alpha

#: The most cells of all tables of a chain together: 64 MB.
MOST_DIRECT_CELLS = 1 << 23


@dataclass(frozen=True, slots=True, eq=False)
class DirectStep:
    """The transition from one layer to another some layers on.

    Attributes
    ----------
    counts : int array ``[source, target]``
        Tokens of all groups.
    prior : float array ``[target]``
        Of each row, resolved by the rule of the chain.
    design_effect : float
        Dependent tokens per independent one.
    """

    counts: NDArray[np.int64]
    prior: Floats
    design_effect: float

    def row(self, alpha: str | float, source: int) -> tuple[Floats, float, int]:
        """Return the posterior mean ``[target]`` of a row, its weight in independent tokens, and its tokens.

        Parameters
        ----------
        alpha : str or float
            The rule that the prior was resolved by.
        source : int
        """
        own, n = self.counts[source] + self.prior, int(self.counts[source].sum())
        worth = self.design_effect
        weight = row_weight(alpha, self.prior.sum(), self.counts.sum() / worth, n / worth)
        return read_only(own / own.sum()), float(weight), n


#: Steps by the places of their first and last layer.
DirectSteps = Mapping[tuple[int, int], DirectStep]


def fit_direct_step(tables: ArrayLike, alpha: str | float) -> DirectStep:
    """Fit the transition between two layers.

    Parameters
    ----------
    tables : counts ``[group, source, target]``
        Groups of whole documents.
    alpha : str or float
        The prior of a row, as of the chain.

    Raises
    ------
    RoutestatError
        For a table without groups.
    """
    counts = whole_counts(tables, "tables")
    if counts.ndim != 3:
        raise RoutestatError(f"tables: expected counts [group, source, target], got {counts.ndim} axes")
    total = counts.sum(axis=0, dtype=np.int64)
    return DirectStep(read_only(total), resolve_alpha(total, alpha), transition_design_effect(counts))


def kept_horizons(sizes: Sequence[int], farthest: int) -> int:
    """Return up to how many layers apart all tables fit in `MOST_DIRECT_CELLS`; 1 where none does.

    Parameters
    ----------
    sizes : sequence of int
        States of each layer.
    farthest : int
        At most so many layers apart.
    """
    cells = 0
    for n in range(2, farthest + 1):
        cells += sum(one * other for one, other in zip(sizes, sizes[n:], strict=False))
        if cells > MOST_DIRECT_CELLS:
            return n - 1
    return max(farthest, 1)
