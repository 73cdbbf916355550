"""Whether profiles of labels and experts are the same in two halves of the documents."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routestat.counting.labelled_tokens import Integers
from routestat.inference.base.multiplicity import adjust_log10
from routestat.structure.label_tests import LabelScores, cells_of

#: Random halves for the correlation, and of these how many for the cells that are found again.
SPLITS, SPLITS_OF_CELLS = 20, 1
#: Expected tokens of a cell in each half, and cells, for a correlation.
LEAST_EXPECTED, LEAST_CELLS = 20.0, 4
_LEVEL = math.log10(0.05)


@dataclass(frozen=True)
class HalfStability:
    """How alike two halves of the documents are.

    Attributes
    ----------
    correlation, spread : float
        Mean and standard deviation over the splits of the Pearson correlation of log lifts.
    n_found, n_found_again : int
        Cells that are found in one half (q < 0.05), over some splits and both directions; and of these the ones that
        the other half shows in the same direction (p < 0.05).
    reason : str, optional
        Why there is no correlation.
    """

    correlation: float
    spread: float
    n_found: int
    n_found_again: int
    reason: str | None = None

    @property
    def share_found_again(self) -> float:
        """The share of the found cells that are found again; NaN where none was found."""
        return self.n_found_again / self.n_found if self.n_found else math.nan


def halves_of(n_groups: int, rng: np.random.Generator) -> tuple[Integers, ...]:
    """Return random halves of the groups, the groups of each first half in order."""
    return tuple(np.sort(rng.permutation(n_groups)[: n_groups // 2]) for _ in range(SPLITS))


def half_stability(of: LabelScores, halves: Sequence[Integers]) -> HalfStability:
    """Compare the lifts of labels and experts between halves.

    Parameters
    ----------
    of : LabelScores
        Of experts.
    halves : sequence of int array
        The groups of every first half.
    """
    known = [one for one in _correlations(of, halves) if math.isfinite(one)]
    found = again = 0
    for half in halves[:SPLITS_OF_CELLS]:
        cells = [cells_of(of, part) for part in (half, _rest(half, len(of.scores)))]
        for first, second in (cells, cells[::-1]):
            there = adjust_log10(first.log10_p, "by") < _LEVEL
            same = (np.sign(first.z) == np.sign(second.z)) & (second.log10_p < _LEVEL)
            found, again = found + int(there.sum()), again + int((there & same).sum())
    if not known:
        return HalfStability(math.nan, math.nan, found, again, "too few tokens for halves of the documents")
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else math.nan
    return HalfStability(float(np.mean(known)), spread, found, again)


def _rest(half: Integers, n_groups: int) -> Integers:
    return np.setdiff1d(np.arange(n_groups), half)


def _correlations(of: LabelScores, halves: Sequence[Integers]) -> list[float]:
    """Correlate log lifts between the halves of every split; NaN where too few cells have enough tokens."""
    groups = len(of.scores)
    chosen = np.zeros((len(halves), groups))
    for split, half in enumerate(halves):
        chosen[split, half] = 1.0
    counts, scores = (array.reshape(groups, -1) for array in (of.counts, of.scores))
    first, first_scores = chosen @ counts, chosen @ scores
    second, second_scores = counts.sum(axis=0) - first, scores.sum(axis=0) - first_scores
    found = []
    for a, a_score, b, b_score in zip(first, first_scores, second, second_scores, strict=True):
        expected_a, expected_b = a - a_score, b - b_score
        used = (np.minimum(expected_a, expected_b) >= LEAST_EXPECTED) & (np.minimum(a, b) > 0)
        if used.sum() < LEAST_CELLS:
            found.append(math.nan)
            continue
        x, y = np.log(a[used] / expected_a[used]), np.log(b[used] / expected_b[used])
        x, y = x - x.mean(), y - y.mean()
        norm = math.sqrt(float((x @ x) * (y @ y)))
        found.append(float(x @ y) / norm if norm > 0 else math.nan)
    return found
