"""One 64-bit number for everything a row holds, so that equal rows are found without comparing columns."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# An odd constant of SplitMix64 (Steele, Lea & Flood 2014): mixes the columns of a row into one 64-bit key.
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(29)


def hash_rows(columns: Iterable[NDArray], n: int) -> NDArray[np.uint64]:
    """Keys ``[row]`` of `n` rows; rows are equal in all columns if, and but for chance only if, their keys are.

    Parameters
    ----------
    columns : iterable of unsigned or signed integer arrays ``[row]``
        In an order that matters.
    n : int
        Number of rows.

    Notes
    -----
    Among a million different rows two coincide with probability 3e-8.
    """
    keys = np.zeros(n, np.uint64)
    for place, column in enumerate(columns):
        keys ^= column.astype(np.uint64) + np.uint64(place + 1)
        keys *= _MIX
        keys ^= keys >> _SHIFT
    return keys
