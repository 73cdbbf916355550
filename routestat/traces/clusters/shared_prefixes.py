"""Documents with a shared prefix: samples of one prompt, turns of one conversation, copies; and the template.

Two documents that share a prefix share text, and with it their routing there: they are not independent
measurements and belong to one cluster. A prefix that most documents share is different; it is a
template (a system prompt, a start token), one text that was measured many times.

Rows can be equal by chance where a router has few states or prefers one of them. A shared prefix
is measured in bits: how improbable its rows are elsewhere in the trace, each given the row before it. The rows of a
prefix are not evidence for themselves, as only occurrences at other places of documents are counted.

All steps except sorting are linear in the rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from routestat.traces.clusters.document_prefixes import DocumentPrefixes

#: Rows that two documents must share, beyond a template, to be joined. Fewer rows join documents of which they are
#: a fifth: these numbers, for documents that are no longer than five times that.
SHARED_ROWS, SHORT_ROWS, SHORT_SHARE = 32, (8, 12, 16, 24), 0.2
# Least number of documents that share a template: a prefix of two of three documents joins them.
LEAST_DOCUMENTS = 6
# Share of the rows of a template that a document must have; choices of the same text may differ by rounding.
ALIKE = {"token ids": 1.0, "choices": 0.75}
# Two documents agree by chance with a probability of at most 2**-MARGIN_BITS anywhere in the trace.
MARGIN_BITS = 10.0
# Least information of a row given the row before, as a share of its information alone.
LEAST_SHARE = 0.3
# Most rows from which probabilities are estimated; and rows of one prefix whose bits are summed.
CORPUS, MOST_ROWS = 1 << 20, 1 << 12
_POWER, _BEFORE, _PLACE = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F))


@dataclass(frozen=True, slots=True, eq=False)
class SharedPrefixes:
    """The shared prefixes of documents.

    Attributes
    ----------
    bond : int array ``[document]``
        Documents with the same number share `SHARED_ROWS` rows or more, or are copies; −1: none.
    template : int array ``[document]``
        Rows at its beginning that belong to the template; 0: none.
    """

    bond: NDArray[np.int64]
    template: NDArray[np.int64]


def find_shared_prefixes(beginnings: DocumentPrefixes) -> SharedPrefixes:
    """Find the template, and the documents that share a prefix beyond it.

    With several keys per row, the template is the one with most rows, and a bond by any key
    counts.

    Parameters
    ----------
    beginnings : Beginnings
    """
    place = np.arange(beginnings.start[-1]) - np.repeat(beginnings.start[:-1], beginnings.kept)
    # One at a time: each needs as much memory as the keys it looks at.
    templates = (_Search(beginnings, key, place).template() for key in beginnings.keys)
    template = max(templates, key=lambda found: int(found.sum()))
    bonds = [_Search(beginnings, key, place).bonds(template) for key in beginnings.keys]
    # A document without any bond is named −1 by all.
    alone = np.max(bonds, axis=0, initial=-1) < 0
    return SharedPrefixes(np.where(alone, -1, connected_parts(*bonds)), template)


class _Search:
    """Prefixes compared by one key.

    A prefix is one number: the sum of row keys, each times a power for its place.
    """

    def __init__(
        self, beginnings: DocumentPrefixes, key: NDArray[np.uint64], place: NDArray[np.int64]
    ) -> None:
        self.of, self.key, self.place = beginnings, key, place
        self.start, self.kept = beginnings.start[:-1], beginnings.kept
        longest = int(self.kept.max(initial=0))
        powers = np.multiply.accumulate(np.full(max(longest, 1), _POWER))
        # Sums wrap around at 2**64, as intended: equal rows at equal places have equal sums.
        self.sums = np.zeros(len(key) + 1, np.uint64)
        np.cumsum(key * powers[place], out=self.sums[1:])

    def prefix(
        self,
        documents: NDArray[np.integer],
        first: NDArray[np.integer] | int,
        last: NDArray[np.integer] | int,
    ) -> NDArray[np.uint64]:
        """Return one number for rows `first` … `last` − 1 of each document."""
        start = self.start[documents]
        return np.asarray(self.sums[start + last] - self.sums[start + first])

    def template(self) -> NDArray[np.int64]:
        """Return the rows of the longest prefix that more than half of the documents share, ``[document]``."""
        n, alike = len(self.kept), ALIKE[self.of.by]
        nothing = np.zeros(n, np.int64)
        need = max(n // 2 + 1, LEAST_DOCUMENTS)
        rows, agree = self._most_have(need, alike) if n >= need else (0, nothing)
        if not rows:
            return nothing
        sharing = np.flatnonzero((agree >= alike * rows) & (self.kept >= rows))
        model = sharing[np.argmax(agree[sharing])]
        bits = np.cumsum(self.bits(np.array([model]), np.array([0]), rows)[0])
        # Only a part of the rows has to agree, in any of the ways to choose that part.
        chance = alike * bits[-1] - rows * _entropy(alike)
        # −log2 of the probability that so many documents agree by chance.
        if n * _divergence(len(sharing) / n, max(chance, 0.0)) < 2.0 * MARGIN_BITS:
            return nothing
        # Other documents have its first rows, if more of them than by chance.
        at_least = self._in_common(model, rows)
        template = np.where(np.append(0.0, bits)[at_least] >= np.log2(n) + MARGIN_BITS, at_least, 0)
        template[sharing] = rows
        return np.asarray(template)

    def _most_have(self, need: int, alike: float) -> tuple[int, NDArray[np.int64]]:
        """Return how many rows at least `need` documents share, and in how many of them each document agrees."""
        agree, rows = np.zeros(len(self.kept), np.int64), 0
        for row in range(int(np.partition(self.kept, -need)[-need])):
            here = np.flatnonzero(self.kept > row)
            values = self.key[self.start[here] + row]
            # A value that more than half of them share lies in the middle of the sorted list.
            same = here[values == np.partition(values, len(values) // 2)[len(values) // 2]]
            agree[same] += 1
            if len(same) < need or np.count_nonzero((agree >= alike * (row + 1)) & (self.kept > row)) < need:
                agree[same] -= 1
                break
            rows = row + 1
        return rows, agree

    def _in_common(self, model: int, rows: int) -> NDArray[np.int64]:
        """Return how many first rows every document shares with the model, at most `rows`, ``[document]``."""
        everyone = np.arange(len(self.kept))
        low, high = np.zeros(len(everyone), np.int64), np.minimum(self.kept, rows)
        while (low < high).any():
            middle = (low + high + 1) // 2
            same = self.prefix(everyone, 0, middle) == self.prefix(np.full(len(everyone), model), 0, middle)
            low, high = np.where(same, middle, low), np.where(same, high, middle - 1)
        return low

    def bonds(self, template: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the same number for documents that share a prefix, −1 for others."""
        own = self.kept - template
        long, copies, *short = np.full((2 + len(SHORT_ROWS), len(own)), -1, np.int64)
        left, rows = np.flatnonzero(own > 0), SHARED_ROWS
        while len(left):
            # Prefixes that are shared by chance are extended.
            left, rows = self._bind(long, left, template, rows), 2 * rows
        for bond, rows in zip(short, SHORT_ROWS, strict=True):
            self._bind(bond, np.flatnonzero(own * SHORT_SHARE <= rows), template, rows)
        self._bind(copies, np.flatnonzero(own > 0), template, None)
        return np.where(np.max([long, copies, *short], axis=0) < 0, -1, connected_parts(long, copies, *short))

    def _bind(
        self,
        bond: NDArray[np.int64],
        documents: NDArray[np.int64],
        template: NDArray[np.int64],
        rows: int | None,
    ) -> NDArray[np.int64]:
        """Join documents that share `rows` rows, if not by chance; return those that may share by chance."""
        if rows is not None:
            documents = documents[self.kept[documents] >= template[documents] + rows]
        need = 2.0 * np.log2(max(len(bond), 2)) + MARGIN_BITS
        weak = [np.empty(0, np.int64)]
        for members, bits in self._alike(documents, template[documents], rows):
            if bits >= need:
                bond[members] = members[0]
            else:
                weak.append(members)
        return np.concatenate(weak)

    def _alike(
        self, documents: NDArray[np.int64], template: NDArray[np.int64], rows: int | None
    ) -> list[tuple[NDArray[np.int64], float]]:
        """Return documents with the same `rows` rows beyond the template, or the same in all, and their bits."""
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
        lengths = np.minimum(last[first] - template[first], MOST_ROWS)
        sums = self._sums(documents[first], template[first], lengths)
        return [(documents[part], float(sum_)) for part, sum_ in zip(parts, sums, strict=True)]

    def _sums(
        self, documents: NDArray[np.int64], first: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the bits of rows from `first` on, ``[document]``; a bounded number is processed at a time."""
        step = max(1, CORPUS // int(lengths.max()))
        sums = []
        for start in range(0, len(documents), step):
            part = slice(start, start + step)
            bits = self.bits(documents[part], first[part], int(lengths[part].max()))
            sums.append((bits * (np.arange(bits.shape[1]) < lengths[part, None])).sum(axis=1))
        return np.concatenate(sums)

    def bits(
        self, documents: NDArray[np.integer], first: NDArray[np.integer], rows: int
    ) -> NDArray[np.float64]:
        """Compute the bits of `rows` rows from `first` on, each given the row before, ``[document, row]``.

        Rows beyond a document's end have none. A row's frequency after the one before it is shrunk to its frequency
        alone with the weight of one row; occurrences at the same place of a document are excluded. A text that
        occurs at another place of other documents (behind another template) would predict itself in this way: a
        row that does not repeat the one before has at least `LEAST_SHARE` of the bits of its frequency alone.
        """
        row = self.start[documents][:, None] + first[:, None] + np.arange(rows)
        inside = np.arange(rows) < (self.kept[documents] - first)[:, None]
        queried = row[inside]
        key, place = self.key, self.place
        before = np.concatenate([np.zeros(1, np.uint64), key[:-1]])
        before[self.start[self.kept > 0]] = 0
        pair = np.asarray(key + before * _BEFORE, np.uint64)
        alone, after, previous = (self._elsewhere(keys, queried) for keys in (key, pair, before))
        elsewhere = (
            min(len(key), CORPUS) - np.bincount(place[:CORPUS], minlength=place.max() + 1)[place[queried]]
        )
        found = np.zeros(row.shape)
        single, earlier = ((times + 1.0) / (elsewhere + 1.0) for times in (alone, previous))
        given = -np.log2((after * (place[queried] > 0) + single) / (previous + 1.0))
        # Of rows that repeat the one before only the first counts: documents may stay in one choice.
        fresh = -np.log2(np.minimum(1.0, single / np.maximum(1.0 - earlier, single)))
        fresh[key[queried] == before[queried]] = 0.0
        found[inside] = np.maximum(given, LEAST_SHARE * fresh)
        return found

    def _elsewhere(self, keys: NDArray[np.uint64], queried: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the keys of these rows in the corpus at other places of documents."""
        marked = keys ^ (self.place.astype(np.uint64) + np.uint64(1)) * _PLACE
        return _times(keys[:CORPUS], keys[queried]) - _times(marked[:CORPUS], marked[queried])


def _times(keys: NDArray[np.uint64], queried: NDArray[np.uint64]) -> NDArray[np.int64]:
    values, inverse = np.unique(queried, return_inverse=True)
    at = np.minimum(np.searchsorted(values, keys), len(values) - 1)
    return np.asarray(np.bincount(at[values[at] == keys], minlength=len(values))[inverse])


def _divergence(share: float, bits: float) -> float:
    """Compute the Kullback–Leibler divergence in bits of a share from a chance of 2**-bits, 0 if not larger."""
    chance = 2.0**-bits
    if not share > chance:
        return 0.0
    rest = (1.0 - share) * np.log2((1.0 - share) / (1.0 - chance)) if share < 1.0 else 0.0
    return float(share * (np.log2(share) + bits) + rest)


def _entropy(share: float) -> float:
    """Compute the entropy of a coin, in bits."""
    return 0.0 if share >= 1.0 else -share * np.log2(share) - (1.0 - share) * np.log2(1.0 - share)


def connected_parts(*labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the connected parts ``[document]`` of documents that share a label; a label below 0 joins nothing.

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
