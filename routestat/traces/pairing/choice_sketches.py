"""The first and last choices of documents, and some between, by which the same text is recognised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.traces.document_rows import DocumentRows, PlaceCounter, first_rows
from routestat.traces.metadata import Router
from routestat.traces.row_hash import hash_rows
from routestat.traces.store import Trace

# Approximate number of choices kept of all documents; and least and most rows of one at either end.
CHOICES, LEAST_ROWS, MOST_ROWS = 1 << 24, 32, 512
# Rows of a stretch between these, and the least distance from one stretch to the next.
STRETCH, LEAST_BETWEEN = 16, 256
#: The number of a choice that is missing.
MISSING = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True, slots=True, eq=False)
class Sketch(DocumentRows):
    """The first and last rows of some documents, and stretches between them.

    Attributes
    ----------
    place : int array ``[row]``
        The place of each row in its document.
    state : uint32 array ``[row, layer]``
        One number per choice; `MISSING` where there is none.
    """

    place: NDArray[np.int64]
    state: NDArray[np.uint32]


def sketch(
    trace: Trace,
    routers: Sequence[Router],
    lengths: Mapping[int, int],
    depth: int,
    between: int | None = None,
) -> Sketch:
    """Read the first and the last `depth` rows of documents, and a few rows every `between` rows.

    Parameters
    ----------
    trace : Trace
    routers : sequence of Router
    lengths : mapping of a document's number to its rows
        Others are skipped.
    depth : int
    between : int, optional
    """
    names = [router.name for router in routers]
    largest = max(lengths, default=0)
    length = np.zeros(largest + 2, np.int64)
    length[list(lengths)] = list(lengths.values())
    documents, places, states = [], [], []
    counter = PlaceCounter()
    for batch in trace.batches(names):
        if not len(batch):
            continue
        document = batch.document
        place = counter.places(document)
        rows = length[np.minimum(document, largest + 1)]
        looked = (place < depth) | (place >= rows - depth)
        if between is not None:
            looked |= place % between < STRETCH
        kept = np.flatnonzero((rows > 0) & looked)
        documents.append(document[kept])
        places.append(place[kept])
        columns = [_numbered(batch.columns[name][kept]) for name in names]
        states.append(np.stack(columns, axis=1) if columns else np.empty((len(kept), 0), np.uint32))
    of = np.concatenate([np.empty(0, np.int32), *documents])
    first = first_rows(of) if len(of) else np.empty(0, np.int64)
    return Sketch(
        of[first],
        length[of[first]],
        np.append(first, len(of)),
        np.concatenate([np.empty(0, np.int64), *places]),
        np.concatenate([np.empty((0, len(names)), np.uint32), *states]),
    )


def _numbered(column: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Return one number for each choice of a router."""
    missing = np.iinfo(column.dtype).max
    if column.ndim == 1:
        slots, absent = [column], column == missing
    else:
        slots, absent = list(column.T), (column == missing).all(axis=1)
    numbers = (hash_rows(slots, len(column)) >> np.uint64(32)).astype(np.uint32)
    return np.where(absent, MISSING, np.minimum(numbers, MISSING - 1))


def depth_for(n_documents: int, n_layers: int) -> int:
    """Return the rows to keep at either end of each of so many documents."""
    return int(np.clip(CHOICES // max(1, 2 * n_documents * n_layers), LEAST_ROWS, MOST_ROWS))


def between_for(n_rows: int, n_layers: int) -> int:
    """Return the distance between stretches for documents with so many rows in all."""
    return max(LEAST_BETWEEN, -(-n_rows * n_layers * STRETCH // CHOICES))
