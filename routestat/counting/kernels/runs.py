"""Compiled loops over the runs of consecutive tokens."""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def cut_runs(
    document: Array, position: Array, window: int, previous: int, starts: Array, fresh: Array
) -> int:  # pragma: no cover - compiled
    """Find where runs begin, and whether a document begins with them; return the number of runs.

    A run ends where the document changes, a position is skipped, or a window of the model begins. `previous` is
    the document of the row before the first.
    """
    runs = 0
    for t in range(len(document)):
        if t == 0 or document[t] != document[t - 1]:
            fresh[runs] = t > 0 or document[t] != previous
        elif position[t] != position[t - 1] + 1 or (window > 0 and position[t] % window == 0):
            fresh[runs] = False
        else:
            continue
        starts[runs] = t
        runs += 1
    return runs


@compiled
def lagged_features(
    source: Array, starts: Array, stops: Array, lag: int, missing: int, offset: int, first: int, out: Array
) -> None:  # pragma: no cover - compiled
    """Features of a source, in ``out[row, first + slot]``: `offset` + its expert `lag` tokens back.

    −1 where there is none.
    """
    # Unsigned, an index is not looked at for counting from the end.
    at = np.uint64(first)
    for r in range(len(starts)):
        for t in range(starts[r], stops[r]):
            if t - lag < starts[r] or source[t - lag, 0] == missing:
                for slot in range(source.shape[1]):
                    out[t, at + np.uint64(slot)] = -1
                continue
            for slot in range(source.shape[1]):
                out[t, at + np.uint64(slot)] = offset + source[t - lag, slot]
