"""Prefixes of all documents as 64-bit keys of their rows, from which shared prefixes are found."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routestat.traces.batch import Batch
from routestat.traces.document_rows import DocumentRows, count_within, first_rows
from routestat.traces.metadata import TraceMeta
from routestat.traces.row_hash import hash_rows

# Rows kept in all, and at least of one document: longer prefixes are not compared further.
ROWS = 1 << 24
LEAST_ROWS = 64
# Layers whose choices are compared one by one. Rounding in an engine changes a few choices in a hundred, so
# that rows of the same text hardly ever agree in all layers, but often in one, most of all in the first.
SINGLE_LAYERS = 8


@dataclass(frozen=True, slots=True, eq=False)
class DocumentPrefixes(DocumentRows):
    """The first rows of all documents, document after document.

    Attributes
    ----------
    keys : tuple of uint64 arrays ``[row]``
        Rows with equal keys are equal: in their token id; or in their choices in all layers, then in each of the first
        few.
    by : {"token ids", "choices"}
    """

    keys: tuple[NDArray[np.uint64], ...]
    by: str


@dataclass
class PrefixCollector:
    """A collector of the prefixes batch by batch.

    Parameters
    ----------
    meta : TraceMeta
    n_documents : int
        Their approximate number, which determines how many rows of each are kept.
    by : {"token ids", "choices"}
        Whether rows are compared by token ids or by choices.
    """

    meta: TraceMeta
    n_documents: int
    by: str
    all_known: bool = True
    _keys: list[list[NDArray[np.uint64]]] = field(default_factory=list)
    _documents: list[NDArray[np.int32]] = field(default_factory=list)
    _rows: list[NDArray[np.int64]] = field(default_factory=list)
    _last: int = -1
    _done: int = 0

    @property
    def depth(self) -> int:
        """Rows kept of one document at most."""
        return max(LEAST_ROWS, ROWS // max(self.n_documents, 1))

    def add(self, batch: Batch) -> None:
        """Add the next rows; documents are contiguous, as in every trace."""
        if not len(batch):
            return
        document = batch.document
        first = first_rows(document)
        rows = np.diff(np.append(first, len(document)))
        goes_on = int(document[0]) == self._last
        # Rows of the first document that earlier batches held.
        before = np.zeros(len(first), np.int64)
        before[0] = self._done if goes_on else 0
        take = np.clip(self.depth - before, 0, rows)
        kept = np.repeat(first, take) + count_within(take)
        self._keys.append(self._keys_of(batch, kept))
        self._documents.append(document[first[1:] if goes_on else first])
        if goes_on:
            self._rows[-1][-1] += rows[0]
        fresh = rows[1:] if goes_on else rows
        if len(fresh):
            self._rows.append(fresh)
        self._last, self._done = int(document[-1]), int(before[-1] + rows[-1])

    def finished(self) -> DocumentPrefixes:
        """Return the result, after every batch has been added."""
        length = np.concatenate([*self._rows, np.empty(0, np.int64)])
        start = np.concatenate([[0], np.cumsum(np.minimum(length, self.depth))])
        parts = [list(part) for part in zip(*self._keys, strict=True)] or [[np.empty(0, np.uint64)]]
        # Joined one by one, and each part released: keys of a long trace are large.
        self._keys.clear()
        keys = tuple(_taken(part) for part in parts)
        numbers = np.concatenate([*self._documents, np.empty(0, np.int32)])
        return DocumentPrefixes(numbers, length, start, keys, self.by)

    def _keys_of(self, batch: Batch, kept: NDArray[np.int64]) -> list[NDArray[np.uint64]]:
        if self.by == "token ids":
            token = batch.columns["token"][kept]
            self.all_known &= bool((token >= 0).all())
            return [hash_rows([token], len(kept))]
        columns = [batch.columns[router.name][kept] for router in self.meta.routers]
        flat = [list(column.T) if column.ndim == 2 else [column] for column in columns]
        together = [slot for slots in flat for slot in slots]
        single = flat[:SINGLE_LAYERS] if len(flat) > 1 else []
        return [hash_rows(slots, len(kept)) for slots in (together, *single)]


def _taken(parts: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return the parts as one array and empty the list."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole
