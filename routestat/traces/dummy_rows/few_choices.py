"""Rows drawn from a handful of choices: all decode rows, or rows with the same ids in every layer.

- *phase*: all decode rows come from a handful of choices, and those of the prefill phase do not.
- *alike*: a few rows hold the same ids in every layer, where neighbouring layers agree no more than by chance and
  hardly any row has the same ids in all layers but one.
"""

import numpy as np
from numpy.typing import NDArray

from routestat.traces.dummy_rows.row_runs import LEAST_ALIKE_LAYERS, LONG, RowRuns

# The size of a handful, the share of all rows it covers, how many times more values prefill rows need,
# and the least number of rows.
HANDFUL, COVERED, TIMES_FEWER, LEAST_ROWS = 16, 0.98, 4, 64
# Documents that must share a choice.
LEAST_DOCUMENTS = 3
# Rows with the same ids in every layer: least ratio to chance, most nearly equal rows per equal row, most equal rows.
TIMES_CHANCE, MOST_NEARLY, MOST_ALIKE = 5.0, 0.1, 0.5


def phase_is_handful(found: RowRuns) -> bool:
    """Decide whether all decode rows come from a few values, and prefill rows do not."""
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
    # A looping generation draws its rows from a handful, too, but each document from others; and copies of
    # documents count once.
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


def _needed(times: NDArray[np.integer]) -> int:
    """Return how many values cover nearly all rows, the most frequent first."""
    return int(np.searchsorted(np.cumsum(np.sort(times)[::-1]), COVERED * times.sum())) + 1
