"""One table of two layers some steps apart against the one that the chain implies: bits, replicates, test."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.clustered_score_test import ScoreTest, score_test
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few
from routestat.inference.information.scarcity import scarcity
from routestat.inference.markov.implied_steps import ImpliedScores, ImpliedSteps, implied_bits, implied_scores


@dataclass(slots=True)
class HorizonTable:
    """What `measure_table` finds, NaN or None where there is none.

    Attributes
    ----------
    size
        Tokens `[group]`.
    scarce
        A caution on few tokens per cell.
    whole, left_out
        The information counted and implied, their difference and the discrepancy, in bits `[figure]`; and without each
        group `[figure, group]`.
    scores, test
        The groups' scores under the chain, and their test; none for neighbouring layers.
    reason
        Why something is missing, or what it leaves out.
    """

    size: Floats
    scarce: str | None = None
    whole: Floats | float = math.nan
    left_out: Floats | float = math.nan
    scores: ImpliedScores | None = None
    test: ScoreTest | None = None
    reason: str | None = None


def measure_table(n: int, ends: NDArray[np.integer], implied: ImpliedSteps) -> HorizonTable:
    """Compare the table of two layers with what the chain implies.

    Parameters
    ----------
    n
        Steps between the layers.
    ends
        Whole counts `[group, source, target]`.
    implied
        The chain's transitions over these steps.
    """
    size, total = ends.sum(axis=(1, 2)), ends.sum(axis=0, dtype=np.float64)
    if not size.any():
        return HorizonTable(size, reason="no tokens with both layers known")
    found = HorizonTable(size, scarcity(total).caution)
    whole = found.whole = implied_bits(total[None], implied.distribution[None])[:, 0]
    if few := too_few(size):
        found.reason = few
        return found
    left_out = found.left_out = implied_bits(total - ends, implied.left_out)
    if n == 1:
        # The chain is made of these very tables.
        whole[2:] = left_out[2:] = 0.0
        return found
    lost = int(total[~(implied.distribution > 0)].sum())
    if lost == size.sum():
        found.reason = "the chain never reaches it: no token has the layers between"
        return found
    found.scores = implied_scores(ends, implied)
    found.test = score_test(found.scores.gram, found.scores.bias)
    left = f"tokens left out as the chain never reaches their targets (a layer between is missing): {lost}"
    why = [text for text in (found.test.reason, left if lost else None) if text]
    found.reason = "; ".join(why) or None
    return found
