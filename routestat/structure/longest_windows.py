"""Windows of layers that are not part of a longer one, and those of them that differ from each other."""

import numpy as np
from numpy.typing import NDArray

from routestat.traces.row_hash import hash_rows


def not_inside_others(start: NDArray[np.integer], choices: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which windows are not inside a longer one of the same list ``[window]``.

    A window is inside another if the other has the same choices in all of its layers.

    Parameters
    ----------
    start : int array ``[window]``
        The first layer.
    choices : int array ``[window, layer]``
        From the first layer on; −1 after the last.
    """
    length = (choices >= 0).sum(axis=1)
    most = int(length.max(initial=0))
    alone = np.ones(len(start), bool)
    # Windows of one length that are inside longer ones, whether they are listed or not.
    inside = np.empty((0, most + 1), np.int64)
    for size in range(most, 0, -1):
        here = np.flatnonzero(length == size)
        own = np.column_stack([start[here], choices[here, :size]]).astype(np.int64)
        alone[here] = ~np.isin(_keys(own), _keys(inside))
        both = np.concatenate([own, inside])
        both = both[np.unique(_keys(both), return_index=True)[1]]
        later = np.column_stack([both[:, 0] + 1, both[:, 2:]])
        inside = np.concatenate([both[:, :-1], later])
    return alone


def distinct(start: NDArray[np.integer], choices: NDArray[np.integer], at_most: int) -> NDArray[np.int64]:
    """Return the first windows that share less than half of their layers with each one returned before.

    Two windows share a layer if they have the same choice there.

    Parameters
    ----------
    start, choices
        As in `not_inside_others`.
    at_most : int
        How many to return.
    """
    length = (choices >= 0).sum(axis=1)
    left = np.ones(len(start), bool)
    found: list[int] = []
    while len(found) < at_most and left.any():
        own = int(np.argmax(left))
        found.append(own)
        shared = np.zeros(len(start), np.int64)
        for place, choice in enumerate(choices[own, : length[own]]):
            at = start[own] + place - start
            inside = (at >= 0) & (at < length)
            shared += inside & (choices[np.arange(len(start)), np.where(inside, at, 0)] == choice)
        left &= 2 * shared < np.minimum(length, length[own])
        left[: own + 1] = False
    return np.array(found, np.int64)


def _keys(windows: NDArray[np.int64]) -> NDArray[np.uint64]:
    return hash_rows(windows.T, len(windows))
