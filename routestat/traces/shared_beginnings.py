"""Documents that begin alike: samples of one prompt, turns of one conversation, copies; and what most begin with.

Two documents that share their beginning share text, and with it their routing there: they are no independent
measurements and belong to one cluster. A beginning that most documents share says nothing of that kind; it is a
template (a system prompt, a start token), one thing that was measured many times.

Rows can be alike by chance where a router has few states or rests on one of them. What a beginning has in common
counts in bits: how improbable its rows are elsewhere in the trace, each given the row before it. The rows of a
beginning are not counted as evidence of themselves, as only occurrences at other places of documents are counted.

All steps are linear in the rows, but for sorting.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from routestat.traces.beginnings import Beginnings

#: Rows that two documents have to share, beyond a template, to belong together.
SHARED_ROWS = 16
# Documents that must share a template at least: a beginning that two of three share is a bond.
LEAST_DOCUMENTS = 6
# Two documents would agree by chance with a probability of 2**-MARGIN_BITS somewhere in the trace.
MARGIN_BITS = 10.0
# Rows that probabilities are counted from, at most.
CORPUS = 1 << 22
_POWER, _BEFORE, _PLACE = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F))


@dataclass(frozen=True, slots=True, eq=False)
class SharedBeginnings:
    """What documents have in common at their beginnings.

    Attributes
    ----------
    bond : int array ``[document]``
        Documents with the same number share `SHARED_ROWS` rows or more, or are copies; −1: shares with none.
    template : int array ``[document]``
        Rows at its beginning that belong to the template; 0: none.
    """

    bond: NDArray[np.int64]
    template: NDArray[np.int64]


def find_shared(beginnings: Beginnings, shared_rows: int = SHARED_ROWS) -> SharedBeginnings:
    """Find the template, and the documents that share a beginning beyond it.

    Parameters
    ----------
    beginnings : Beginnings
    shared_rows : int
        How many rows two documents have to share beyond the template.
    """
    search = _Search(beginnings)
    template = search.template()
    return SharedBeginnings(search.bonds(template, shared_rows), template)


class _Search:
    """Prefixes of documents as single numbers: the sum of row keys, each times a power that tells its place."""

    def __init__(self, beginnings: Beginnings) -> None:
        self.of, self.start, self.kept = beginnings, beginnings.start[:-1], beginnings.kept
        key = beginnings.key
        longest = int(self.kept.max(initial=0))
        powers = np.multiply.accumulate(np.full(max(longest, 1), _POWER))
        self.place = np.arange(len(key)) - np.repeat(self.start, self.kept)
        # Sums wrap around at 2**64, which is what is wanted: equal rows at equal places have equal sums.
        self.sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(key * powers[self.place])])

    def prefix(self, documents: NDArray, first: NDArray | int, last: NDArray | int) -> NDArray[np.uint64]:
        """One number for rows `first` … `last` − 1 of each document."""
        start = self.start[documents]
        return np.asarray(self.sums[start + last] - self.sums[start + first])

    def template(self) -> NDArray[np.int64]:
        """Rows of the longest beginning that more than half of the documents share, `[document]`."""
        n = len(self.kept)
        shared = np.zeros(n, np.int64)
        need = max(n // 2 + 1, LEAST_DOCUMENTS)
        low, high = 0, int(np.partition(self.kept, n - need)[n - need]) if n >= need else 0
        while low < high:
            half = (low + high + 1) // 2
            low, high = (half, high) if len(self._most(half)) >= need else (low, half - 1)
        if not low:
            return shared
        sharing = self._most(low)
        bits = np.cumsum(self.bits(sharing[:1], np.array([0]), low)[0])
        if n * _divergence(len(sharing) / n, bits[-1]) < 2.0 * MARGIN_BITS:
            return shared
        # Others share a part of it: as much as they could not by chance.
        model = np.full(n, sharing[0])
        at_least, at_most = np.zeros(n, np.int64), np.minimum(self.kept, low)
        while (at_least < at_most).any():
            middle = (at_least + at_most + 1) // 2
            same = self.prefix(np.arange(n), 0, middle) == self.prefix(model, 0, middle)
            at_least, at_most = np.where(same, middle, at_least), np.where(same, at_most, middle - 1)
        clear = np.concatenate([[0.0], bits])[at_least] >= np.log2(n) + MARGIN_BITS
        shared[:] = np.where(clear, at_least, 0)
        shared[sharing] = low
        return shared

    def _most(self, rows: int) -> NDArray[np.int64]:
        """The documents that share the most frequent beginning of so many rows, if more than half of all do."""
        documents = np.flatnonzero(self.kept >= rows)
        found = self.prefix(documents, 0, rows)
        # What more than half of them have in common lies in the middle of the sorted list.
        middle = np.partition(found, len(found) // 2)[len(found) // 2]
        return documents[found == middle]

    def bonds(self, template: NDArray[np.int64], shared_rows: int) -> NDArray[np.int64]:
        """Documents that share a beginning have the same number, others −1."""
        n = len(self.kept)
        bond = np.full(n, -1, np.int64)
        need = 2.0 * np.log2(max(n, 2)) + MARGIN_BITS
        left, rows = np.flatnonzero(self.kept > template), shared_rows
        while len(left):
            long = left[self.kept[left] >= template[left] + rows]
            groups = self._alike(long, template[long], rows)
            weak = []
            for members, bits in groups:
                if bits >= need:
                    bond[members] = members[0]
                else:
                    weak.append(members)
            # Beginnings that many rows could have by chance are followed further.
            left, rows = np.concatenate([*weak, np.empty(0, np.int64)]), 2 * rows
        alone = np.flatnonzero((bond < 0) & (self.kept > template))
        for members, bits in self._alike(alone, template[alone], None):
            if bits >= need:
                bond[members] = members[0]
        return bond

    def _alike(
        self, documents: NDArray[np.int64], template: NDArray[np.int64], rows: int | None
    ) -> list[tuple[NDArray[np.int64], float]]:
        """Documents with the same `rows` rows beyond the template, or the same in all; and how many bits those have."""
        if not len(documents):
            return []
        last = self.kept[documents] if rows is None else template + rows
        found = self.prefix(documents, template, last) + template.astype(np.uint64) * _PLACE
        if rows is None:
            found = found + self.of.length[documents].astype(np.uint64) * _BEFORE
        _, inverse, times = np.unique(found, return_inverse=True, return_counts=True)
        several = np.flatnonzero(times[inverse] > 1)
        several = several[np.argsort(inverse[several], kind="stable")]
        parts = np.split(several, np.flatnonzero(np.diff(inverse[several])) + 1) if len(several) else []
        first = np.array([part[0] for part in parts], np.int64)
        if not len(first):
            return []
        lengths = last[first] - template[first]
        bits = self.bits(documents[first], template[first], int(lengths.max()))
        counted = np.arange(bits.shape[1]) < lengths[:, None]
        return [
            (documents[part], float(sum_))
            for part, sum_ in zip(parts, (bits * counted).sum(axis=1), strict=True)
        ]

    def bits(self, documents: NDArray, first: NDArray, rows: int) -> NDArray[np.float64]:
        """−log2 of the probability of each of `rows` rows from `first` on, given the row before, `[document, row]`.

        Rows beyond a document's end say nothing. A row's frequency after the one before it, shrunk to its frequency
        alone with the weight of one row; occurrences at the same place of a document are left out of both.
        """
        row = self.start[documents][:, None] + first[:, None] + np.arange(rows)
        inside = np.arange(rows) < (self.kept[documents] - first)[:, None]
        asked = row[inside]
        key, place = self.of.key, self.place
        before = np.concatenate([np.zeros(1, np.uint64), key[:-1]])
        before[self.start[self.kept > 0]] = 0
        pair = np.asarray(key + before * _BEFORE, np.uint64)
        alone, after, previous = (self._elsewhere(keys, asked) for keys in (key, pair, before))
        elsewhere = (
            min(len(key), CORPUS) - np.bincount(place[:CORPUS], minlength=place.max() + 1)[place[asked]]
        )
        found = np.zeros(row.shape)
        single = (alone + 1.0) / (elsewhere + 1.0)
        found[inside] = -np.log2((after * (place[asked] > 0) + single) / (previous + 1.0))
        return found

    def _elsewhere(self, keys: NDArray[np.uint64], asked: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often the keys of the asked rows occur in the corpus at another place of a document."""
        marked = keys ^ (self.place.astype(np.uint64) + np.uint64(1)) * _PLACE
        return _times(keys[:CORPUS], keys[asked]) - _times(marked[:CORPUS], marked[asked])


def _times(keys: NDArray[np.uint64], asked: NDArray[np.uint64]) -> NDArray[np.int64]:
    values, inverse = np.unique(asked, return_inverse=True)
    at = np.minimum(np.searchsorted(values, keys), len(values) - 1)
    return np.asarray(np.bincount(at[values[at] == keys], minlength=len(values))[inverse])


def _divergence(share: float, bits: float) -> float:
    """Kullback–Leibler divergence in bits of a share from a chance of 2**-bits; 0 where the share is not larger."""
    chance = 2.0**-bits
    if not share > chance:
        return 0.0
    rest = (1.0 - share) * np.log2((1.0 - share) / (1.0 - chance)) if share < 1.0 else 0.0
    return float(share * (np.log2(share) + bits) + rest)


def joined(*labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected parts ``[document]`` of documents that share a label of any kind; a label below 0 joins nothing.

    A part is named by the place of its first document.
    """
    n = len(labels[0])
    rows, columns, width = [], [], n
    for label in labels:
        known = np.flatnonzero(label >= 0)
        _, inverse = np.unique(label[known], return_inverse=True)
        rows.append(known)
        columns.append(width + inverse)
        width += int(inverse.max(initial=-1)) + 1
    a, b = np.concatenate(rows), np.concatenate(columns)
    links = sparse.coo_array((np.ones(len(a), np.int8), (a, b)), shape=(width, width))
    part = sparse.csgraph.connected_components(links, directed=False)[1][:n]
    _, first, inverse = np.unique(part, return_index=True, return_inverse=True)
    return np.asarray(first[inverse])
