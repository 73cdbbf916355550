"""The moderated squared error of many cells: half by their own groups, half by independent tokens."""

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.tables import Floats


def moderated_square(
    clustered: Floats, independent: Floats, used: NDArray[np.bool_] | None = None
) -> tuple[Floats, float]:
    """Average the clustered squared error of each cell and that of independent tokens times the design effect.

    A cell that is seldom seen has groups that agree, on nothing: by its own spread alone every empty cell would be
    found. The design effect is that of all cells together, the ratio of the two sums.

    Parameters
    ----------
    clustered
        Squared errors from the groups' scores.
    independent
        Variances if tokens were independent, of the same shape.
    used
        The cells that take part in the design effect; all by default.

    Returns
    -------
    square
        The mean of both; of cells that were not used too.
    effect
        The design effect; 0 where no cell that was used could vary.

    References
    ----------
    Smyth (2004), SAGMB 3 (moderated t).
    """
    own, iid = (clustered, independent) if used is None else (clustered[used], independent[used])
    whole = float(iid.sum())
    effect = float(own.sum()) / whole if whole > 0.0 else 0.0
    return np.asarray((clustered + effect * independent) / 2.0), effect
