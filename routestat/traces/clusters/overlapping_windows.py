"""Rows that occur twice because windows of a text overlap: the last rows of one window begin the next.

Rows that are equal in every layer are copies of one measurement, for the same token after another prefix
would be routed differently in some layer. Equal rows occur by chance too, and a model may repeat itself. So a repeat
is measured in bits: how rare its rows are among all rows; rows that repeat the one before add nothing.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.traces.clusters.document_prefixes import DocumentPrefixes

#: Least number of repeated rows.
LEAST_ROWS = 8
# A repeat occurs by chance with a probability of at most 2**-MARGIN_BITS anywhere in the trace.
MARGIN_BITS = 10.0
# Least information of a row given the one before, as a share of that of its frequency.
LEAST_SHARE = 0.3
# Least number of documents that repeat at the same distance, if there are several documents.
SEVERAL = 3
# Rows of documents that are processed together.
PART_ROWS = 1 << 20
_POWER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, eq=False)
class Repeats:
    """Repeats within documents.

    Attributes
    ----------
    rows : bool array ``[row]``
        The second of two copies.
    n_joins, n_documents : int
        Their number, and the number of documents with any.
    """

    rows: NDArray[np.bool_]
    n_joins: int
    n_documents: int


def row_bits(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return a lower bound on the information of each row in bits, from its frequency at other places.

    Parameters
    ----------
    keys : uint64 array ``[row]``
        One key per row.
    """
    _, inverse, times = np.unique(keys, return_inverse=True, return_counts=True)
    others = np.maximum(times - 2, 0)[inverse] + 1.0
    bits = -LEAST_SHARE * np.log2(np.minimum(others / max(len(keys), 1), 1.0))
    bits[1:][keys[1:] == keys[:-1]] = 0.0
    return np.asarray(bits)


def find_overlaps(beginnings: DocumentPrefixes) -> NDArray[np.int64]:
    """Find the rows at the start of each document that are the last rows of the one before, ``[document]``.

    Documents that were kept whole are compared with the next in the order of the rows; a document that continues
    all of the one before (the turns of a conversation) does not count.

    Parameters
    ----------
    beginnings : Beginnings
        Compared by its first key.
    """
    key, start, length = beginnings.keys[0], beginnings.start, beginnings.length
    found = np.zeros(len(length), np.int64)
    ends = [_ends(beginnings, first, last) for first, last in _parts(beginnings)]
    here, m = (np.concatenate([np.empty(0, np.int64), *(pair[i] for pair in ends)]) for i in (0, 1))
    if not len(here):
        return found
    powers = np.multiply.accumulate(np.full(len(key) + 1, _POWER))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(key * powers[: len(key)])])
    head = sums[start[here] + m] - sums[start[here]]
    tail = sums[start[here]] - sums[start[here] - m]
    # The prefix lies directly behind the same rows at the end of the document before.
    equal = head == tail * powers[m - 1]
    if not equal.any():
        return found
    bits = np.concatenate([[0.0], np.cumsum(row_bits(key))])
    need = np.log2(len(key)) + MARGIN_BITS
    for document, rows in zip(here[equal].tolist(), m[equal].tolist(), strict=True):
        # The first row may repeat the one before it. The longest repeat comes last and is kept.
        if bits[start[document] + rows] - bits[start[document] + 1] >= need:
            found[document] = rows
    return found


def _parts(beginnings: DocumentPrefixes) -> list[tuple[int, int]]:
    """Return ranges of documents with a bounded number of rows."""
    at = np.searchsorted(beginnings.start, np.arange(0, beginnings.start[-1], PART_ROWS))
    edges = np.unique([1, *at.tolist(), len(beginnings.length)])
    return [(int(a), int(b)) for a, b in pairwise(edges) if 0 < a < b]


def _ends(beginnings: DocumentPrefixes, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return documents of `first` … `last` − 1 and lengths whose first and last row match the document before."""
    key, start, length, kept = beginnings.keys[0], beginnings.start, beginnings.length, beginnings.kept
    of = np.repeat(np.arange(first, last), kept[first:last])
    rows = np.arange(start[first], start[last]) - start[:-1][of] + 1
    whole = (kept[of - 1] == length[of - 1]) & (length[of - 1] > 0)
    # A repeat that ends with this row ends with the last row of the document before.
    fits = whole & (key[start[first] : start[last]] == key[start[of] - 1])
    fits &= (rows >= LEAST_ROWS) & (rows < length[of]) & (rows < length[of - 1])
    of, rows = of[fits], rows[fits]
    fits = key[start[of]] == key[start[of] - rows]
    return of[fits], rows[fits]


def find_repeats(keys: NDArray[np.uint64], document: NDArray[np.integer], n_layers: int) -> Repeats:
    """Find rows within documents that repeat as many rows directly before them, and no more.

    Parameters
    ----------
    keys : uint64 array ``[row]``
        One key per row.
    document : int array ``[row]``
        Documents are contiguous.
    n_layers : int
        In a single layer rows of one token may be equal everywhere: then most documents must repeat.

    Notes
    -----
    A text may repeat itself. Windows repeat at one distance: among several documents only a distance that
    `SEVERAL` of them share is accepted.
    """
    drop = np.zeros(len(keys), bool)
    found = _candidates(keys, document)
    bits = np.concatenate([[0.0], np.cumsum(row_bits(keys))])
    need = np.log2(max(len(keys), 2)) + MARGIN_BITS
    edges = np.concatenate([[0], np.flatnonzero(np.diff(document)) + 1, [len(keys)]])
    joins: list[tuple[int, int, int]] = []
    for number, lag in found:
        first, last = int(edges[number]), int(edges[number + 1])
        same = keys[first + lag : last] == keys[first : last - lag]
        runs = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(np.int8), [0]])))
        for begin, end in runs.reshape(-1, 2).tolist():
            row = first + lag + begin
            # A text that loops repeats for longer; a few more rows may agree by chance.
            if lag <= end - begin < 1.25 * lag + 2 and bits[row + lag] - bits[row + 1] >= need:
                joins.append((number, row, lag))
    joins = _believed(joins, len(edges) - 1, n_layers)
    for _, row, lag in joins:
        drop[row : row + lag] = True
    return Repeats(drop, len(joins), len({number for number, *_ in joins}))


def _believed(
    joins: list[tuple[int, int, int]], n_documents: int, n_layers: int
) -> list[tuple[int, int, int]]:
    """Keep the joins (document, row, distance) that windows explain: those of one stride in several documents."""
    if n_layers > 1 and n_documents < SEVERAL:
        return joins
    documents: dict[int, set[int]] = defaultdict(set)
    for number, _, lag in joins:
        documents[lag].add(number)
    least = SEVERAL if n_layers > 1 else max(SEVERAL, n_documents // 2 + 1)
    return [one for one in joins if len(documents[one[2]]) >= least]


def _candidates(keys: NDArray[np.uint64], document: NDArray[np.integer]) -> list[tuple[int, int]]:
    """Return documents and distances at which rows recur that occur exactly twice, several of them."""
    number = np.cumsum(np.diff(document, prepend=document[:1]) != 0)
    order = np.lexsort((keys, number))
    same = np.zeros(len(keys) + 1, bool)
    same[1:-1] = (keys[order][1:] == keys[order][:-1]) & (number[order][1:] == number[order][:-1])
    twice = np.flatnonzero(same[1:-1] & ~same[:-2] & ~same[2:]) if len(keys) > 1 else np.empty(0, np.int64)
    lag = order[twice + 1] - order[twice]
    pairs, votes = np.unique(np.stack([number[order[twice]], lag]), axis=1, return_counts=True)
    return [(int(n), int(d)) for n, d in pairs[:, (votes >= LEAST_ROWS // 2) & (pairs[1] >= LEAST_ROWS)].T]
