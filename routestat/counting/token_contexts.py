"""Contexts of token ids: the token's own id, with the id before it, and with the one before that."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows

#: Ids of a context, from the token's own on.
LEVELS = 3


@dataclass(frozen=True, eq=False)
class TokenContexts:
    """The contexts of all rows.

    Attributes
    ----------
    contexts : int array ``[row, level]``
        Numbers of contexts, over all levels; −1 where the id is unknown, or where only one fold has the context.
    before : int array ``[row, level]``
        The latest earlier row of the same document with the same context; −1 if there is none.
    n_contexts : int
    """

    contexts: NDArray[np.int32]
    before: NDArray[np.int32]
    n_contexts: int


def earlier_ids(rows: BoardRows, lags: int) -> NDArray[np.int64]:
    """Return the ids ``[row, lag]`` of 1 … `lags` tokens before; −1 before the beginning, −2 unknown ones."""
    n = len(rows)
    starts = np.flatnonzero(~rows.follows)
    place = np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))
    token = np.where(rows.token >= 0, rows.token.astype(np.int64), -2)
    found = np.full((n, lags), -1, np.int64)
    for lag in range(1, lags + 1):
        there = np.flatnonzero(place >= lag)
        found[there, lag - 1] = token[there - lag]
    return found


def token_contexts(rows: BoardRows) -> TokenContexts:
    """Return the numbers of all contexts, and links between the rows of a document that share one.

    The ids before are those of the same window. The beginning of a window counts as an id of its own.
    """
    n, earlier = len(rows), earlier_ids(rows, LEVELS - 1)
    contexts, before = np.full((n, LEVELS), -1, np.int32), np.full((n, LEVELS), -1, np.int32)
    known = np.flatnonzero(rows.token >= 0)
    key = np.unique(rows.token[known], return_inverse=True)[1].astype(np.int64)
    first = 0
    for level in range(LEVELS):
        if level:
            ids, number = np.unique(earlier[known, level - 1], return_inverse=True)
            key = np.unique(key * len(ids) + number, return_inverse=True)[1].astype(np.int64)
        before[known, level] = _latest(rows.sample.document[known], key, known)
        n_keys, fold = int(key.max(initial=-1)) + 1, rows.fold[known]
        least, greatest = np.full(n_keys, rows.n_folds), np.full(n_keys, -1)
        np.minimum.at(least, key, fold)
        np.maximum.at(greatest, key, fold)
        # What only one fold has is never used: the rows of other folds do not have it, its own may not use it.
        several = least < greatest
        number = np.where(several, first + np.cumsum(several) - 1, -1)
        contexts[known, level] = number[key]
        first += int(several.sum())
    return TokenContexts(contexts, before, first)


def _latest(document: NDArray[np.int32], key: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the latest earlier row with the same document and key, −1 without one."""
    order = np.lexsort((row, key, document))
    same = (document[order][1:] == document[order][:-1]) & (key[order][1:] == key[order][:-1])
    found = np.full(len(row), -1, np.int32)
    found[order[1:][same]] = row[order[:-1][same]]
    return found
