"""Information between layers, summed over the depth."""

from collections.abc import Sequence
from dataclasses import dataclass

from routestat.inference.information.mutual_information import InformationInterval


@dataclass(frozen=True)
class InformationBudget:
    """Sums of the information over the depth, in bits.

    Attributes
    ----------
    adjacent_bits, skip_bits : float
        Σ I(X_l; X_l+1) and Σ I(X_l; X_l+2 | X_l+1): the first two terms of the total correlation.
    adjacent_error, skip_error : float
        Sums of the terms' standard errors, an upper bound of the error of the sum.
    reason : str
        Why the rest is not given.
    """

    adjacent_bits: float
    adjacent_error: float
    skip_bits: float
    skip_error: float
    reason: str


def information_budget(
    adjacent: Sequence[InformationInterval], skips: Sequence[InformationInterval]
) -> InformationBudget:
    """Add up the information of adjacent layers, and of layers two apart given the one between.

    Parameters
    ----------
    adjacent, skips : sequence of InformationInterval
    """
    undefined = sum(item.mi_bits != item.mi_bits for item in adjacent)
    reasons = (
        [f"{undefined} of {len(adjacent)} pairs of layers have no information to add up"] if undefined else []
    )
    reasons.append(
        "the rest is not estimated: the joint distribution of more than three layers has too many cells"
    )
    return InformationBudget(
        float(sum(item.mi_bits for item in adjacent)),
        float(sum(item.standard_error for item in adjacent)),
        float(sum(item.mi_bits for item in skips)) if skips else float("nan"),
        float(sum(item.standard_error for item in skips)) if skips else float("nan"),
        "; ".join(reasons),
    )
