"""Rows drawn from a handful of choices: all rows of a phase, or rows of the same ids in every layer.

- *phase*: all decode rows come from a handful of choices, and those of the prefill phase do not.
- *alike*: a few rows hold the same ids in every layer, where neighbouring layers agree no more than by chance and
  hardly any row has the same ids in all layers but one.
"""

import numpy as np
from numpy.typing import NDArray

from routestat.traces.dummy_rows.row_runs import LEAST_ALIKE_LAYERS, LONG, RowRuns

# Values that are a handful, the part of all rows that they cover, how many times as many it takes where nothing is
# wrong, and rows that there must be.
HANDFUL, COVERED, TIMES_FEWER, LEAST_ROWS = 16, 0.98, 4, 64
# Documents that must share a choice.
LEAST_DOCUMENTS = 3
# Rows of the same ids in every layer: how often more than by chance, and how many nearly so for each.
TIMES_CHANCE, MOST_NEARLY, MOST_ALIKE = 5.0, 0.1, 0.5


def phase_is_handful(found: RowRuns) -> bool:
    """Whether all decode rows come from a few values that prefill rows do not come from."""
    if set(found.sample) != {0, 1} or found.n_phase[1] < LEAST_ROWS:
        return False
    # Answers of a word or two are a handful by nature.
    if np.median(found.segments["n"][found.segments["phase"] == 1]) < LONG:
        return False
    key, document, token = found.sample[1]
    values, inverse, times = np.unique(key, return_inverse=True, return_counts=True)
    few = _needed(times)
    prefill = found.sample[0][0][: len(key)]
    if few > HANDFUL or _needed(np.unique(prefill, return_counts=True)[1]) < TIMES_FEWER * few:
        return False
    # A generation that loops draws its rows from a handful, too, but other documents loop over others; and copies of
    # documents are one.
    pairs = np.unique((inverse.astype(np.int64) << 32) | document)
    shared = np.bincount(pairs >> 32, minlength=len(values)) >= LEAST_DOCUMENTS
    tails = found.runs[found.runs["ends"] & (found.runs["phase"] == 0)]
    if times[shared].sum() < COVERED * len(key) or len(np.unique(tails["key"])) < LEAST_DOCUMENTS:
        return False
    known = token[token >= 0]
    return not len(known) or len(np.unique(known)) >= TIMES_FEWER * few


def same_in_every_layer(found: RowRuns) -> NDArray[np.bool_]:
    """Return which runs hold the same ids in every layer, if they are few and more than expected by chance."""
    runs, rows = found.runs, int(found.n_phase.sum())
    alike = runs["alike"]
    if found.n_layers < LEAST_ALIKE_LAYERS or not LONG <= found.n_alike <= MOST_ALIKE * rows:
        return np.zeros(len(runs), bool)
    by_chance = TIMES_CHANCE * rows * found.agreement
    if found.n_alike <= by_chance or found.n_nearly > MOST_NEARLY * found.n_alike:
        return np.zeros(len(runs), bool)
    _, inverse = np.unique(runs["key"][alike], return_inverse=True)
    times = np.bincount(inverse, runs["n"][alike])
    if _needed(times) > HANDFUL:
        return np.zeros(len(runs), bool)
    return np.asarray(alike)


def _needed(times: NDArray) -> int:
    """How many values it takes to cover nearly all rows, the most frequent first."""
    return int(np.searchsorted(np.cumsum(np.sort(times)[::-1]), COVERED * times.sum())) + 1
