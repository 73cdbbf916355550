"""64-bit keys of rows, so that equal rows are found without comparing columns."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# An odd constant of SplitMix64 (Steele, Lea & Flood 2014): mixes the columns of a row into one 64-bit key.
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(29)


def hash_rows(columns: Iterable[NDArray[np.integer]], n: int) -> NDArray[np.uint64]:
    """Hash `n` rows to keys ``[row]``; equal rows have equal keys, and different rows almost never do.

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


def in_words(columns: Sequence[NDArray[np.integer]]) -> Iterator[NDArray[np.uint64]]:
    """Yield the columns ``[row]`` with several narrow ones packed into 64 bits, which makes hashing cheaper."""
    by_width: dict[int, list[NDArray[np.integer]]] = {}
    for column in columns:
        by_width.setdefault(column.dtype.itemsize, []).append(column)
    for width, members in by_width.items():
        each = 8 // width
        for at in range(0, len(members), each):
            part = members[at : at + each]
            beside = np.zeros((len(part[0]), each), part[0].dtype)
            for place, column in enumerate(part):
                beside[:, place] = column
            yield beside.view(np.uint64)[:, 0]


def keys_of(columns: Sequence[NDArray[np.integer]], n: int) -> NDArray[np.uint64]:
    """Hash rows to keys ``[row]`` that are never 0."""
    return hash_rows(in_words(columns), n) | np.uint64(1)
