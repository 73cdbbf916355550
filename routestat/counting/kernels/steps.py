"""The order in which an engine serves the tokens of documents side by side."""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def schedule(
    begin: Array, stop: Array, unit: Array, phase: Array, batch: int, chunk: int
) -> tuple[Array, Array, Array, Array, Array]:  # pragma: no cover - compiled
    """Order the rows of documents as steps.

    Parameters
    ----------
    begin, stop : int array ``[document]``
        Rows of each document, in the order in which documents are served.
    unit : int array ``[document]``
        Documents of two units are never side by side.
    phase : int array ``[row]``
        0 prefill, 1 decode.
    batch : int
        Documents side by side.
    chunk : int
        Prefill tokens of a document that a step takes.

    Returns
    -------
    Rows ``[token]``; first token ``[step + 1]``; phase, unit, and whether a batch begins ``[step]``.
    """
    n = 0
    for d in range(len(begin)):
        n += stop[d] - begin[d]
    row = np.empty(n, np.int64)
    start, of_step = np.empty(n + 1, np.int64), np.empty(n, np.int8)
    of_unit, first = np.empty(n, np.int32), np.empty(n, np.bool_)
    at = begin.copy()
    token = step = low = 0
    while low < len(begin):
        high = low + 1
        while high < len(begin) and high < low + batch and unit[high] == unit[low]:
            high += 1
        fresh = True
        while True:
            kind = 2
            for d in range(low, high):
                if at[d] < stop[d]:
                    kind = min(kind, phase[at[d]])
            if kind == 2:
                break
            start[step], of_step[step], of_unit[step], first[step] = token, kind, unit[low], fresh
            fresh = False
            for d in range(low, high):
                taken = 0
                most = chunk if kind == 0 else 1
                while taken < most and at[d] < stop[d] and phase[at[d]] == kind:
                    row[token] = at[d]
                    token, taken = token + 1, taken + 1
                    at[d] += 1
            step += 1
        low = high
    start[step] = token
    return row, start[: step + 1].copy(), of_step[:step].copy(), of_unit[:step].copy(), first[:step].copy()
