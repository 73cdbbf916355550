"""The content of a document as a few numbers, by which it is found in another trace even with missing rows.

The content of a document is a polynomial of its rows' keys, ``sum key[i] * POWER**i``. Rows at either end can be
subtracted, as the keys of the first and the last few rows are kept.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.progress import Progress
from routestat.traces.batch import Batch
from routestat.traces.row_hash import hash_rows
from routestat.traces.store import Trace

#: Rows that may be missing at the start (a start token) and at the end (engines do not forward the last tokens).
HEAD, TAIL = 2, 8
_POWER = 0x9E3779B97F4A7C15
_ROWS = 0xD6E8FEB86659FD93
_INVERSE = pow(_POWER, -1, 1 << 64)

#: Returns a key of each row of a batch, and which of them are known.
Keys = Callable[[Batch], tuple[NDArray[np.uint64], NDArray[np.bool_]]]


@dataclass(frozen=True)
class Content:
    """The rows of one document as numbers; documents with equal rows have equal contents.

    Attributes
    ----------
    rows : int
    whole : int
        The polynomial.
    head, tail : tuple of int
        Keys of the first rows and of the last, at most `HEAD` and `TAIL`.
    unknown : int
        Rows without a token id.
    """

    rows: int
    whole: int
    head: tuple[int, ...]
    tail: tuple[int, ...]
    unknown: int


class Contents:
    """The contents of several documents, which can be reduced by their first and last rows.

    Parameters
    ----------
    contents : sequence of Content

    Examples
    --------
    >>> rows = contents_of([Batch(np.zeros(12, np.int32), np.arange(12, dtype=np.int32), {})], lambda b: (
    ...     np.arange(100, 112).astype(np.uint64), np.ones(12, bool)))
    >>> part = contents_of([Batch(np.zeros(10, np.int32), np.arange(10, dtype=np.int32), {})], lambda b: (
    ...     np.arange(101, 111).astype(np.uint64), np.ones(10, bool)))
    >>> bool(Contents([rows[0]]).without(1, 1) == Contents([part[0]]).without(0, 0))
    True
    """

    def __init__(self, contents: Sequence[Content]) -> None:
        self.rows = np.array([one.rows for one in contents], np.int64)
        self._whole = np.array([one.whole for one in contents], np.uint64)
        self._head = np.array([(*one.head, *[0] * HEAD)[:HEAD] for one in contents], np.uint64).reshape(
            -1, HEAD
        )
        tails = [((0,) * TAIL + one.tail)[-TAIL:] for one in contents]
        self._tail = np.array(tails, np.uint64).reshape(-1, TAIL)
        self._last = np.array([pow(_POWER, max(one.rows - 1, 0), 1 << 64) for one in contents], np.uint64)

    def without(self, first: int, last: int) -> NDArray[np.uint64]:
        """Return the polynomials without so many rows at either end; undefined for documents with fewer rows."""
        total = self._whole.copy()
        for place in range(first):
            total -= self._head[:, place] * np.uint64(pow(_POWER, place, 1 << 64))
        for place in range(last):
            total -= self._tail[:, -1 - place] * self._last * np.uint64(pow(_INVERSE, place, 1 << 64))
        # The number of rows is included, as unequal numbers of zeros are not equal contents.
        left = (self.rows - first - last).astype(np.uint64) * np.uint64(_ROWS)
        return np.asarray(total * np.uint64(pow(_INVERSE, first, 1 << 64)) ^ left)


@dataclass(frozen=True)
class Document:
    """A document of a trace; `content` is of its token ids, None where not all of these are known."""

    number: int
    name: str | None
    domain: str | None
    tokens: int
    content: Content | None


@dataclass
class _Reading:
    rows: int = 0
    whole: int = 0
    head: tuple[int, ...] = ()
    tail: tuple[int, ...] = ()
    unknown: int = 0

    def add(self, keys: NDArray[np.uint64], powers: NDArray[np.uint64], unknown: int) -> None:
        part = int((keys * powers[: len(keys)]).sum(dtype=np.uint64))
        self.whole = (self.whole + part * pow(_POWER, self.rows, 1 << 64)) % (1 << 64)
        if len(self.head) < HEAD:
            self.head += tuple(keys[: HEAD - len(self.head)].tolist())
        self.tail = (*self.tail, *keys[-TAIL:].tolist())[-TAIL:]
        self.rows += len(keys)
        self.unknown += unknown


def contents_of(batches: Iterable[Batch], keys: Keys) -> dict[int, Content]:
    """Compute the content of every document, in the order of the rows.

    Parameters
    ----------
    batches : iterable of Batch
        Documents are contiguous.
    keys : callable(batch) -> keys, known
    """
    found: dict[int, _Reading] = {}
    powers = np.ones(1, np.uint64)
    for batch in batches:
        if not len(batch):
            continue
        if len(powers) < len(batch):
            steps = np.full(len(batch), _POWER, np.uint64)
            steps[0] = 1
            powers = np.multiply.accumulate(steps)
        key, known = keys(batch)
        edges = (np.flatnonzero(np.diff(batch.document)) + 1).tolist()
        for first, last in zip([0, *edges], [*edges, len(batch)], strict=True):
            unknown = int(last - first - np.count_nonzero(known[first:last]))
            found.setdefault(int(batch.document[first]), _Reading()).add(key[first:last], powers, unknown)
    return {
        number: Content(one.rows, one.whole, one.head, one.tail, one.unknown) for number, one in found.items()
    }


def token_keys(batch: Batch) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return keys of rows by their token ids."""
    token = batch.columns["token"]
    return hash_rows([token], len(batch)), np.asarray(token >= 0)


def documents_of(trace: Trace, progress: Progress | None = None) -> list[Document]:
    """Return every document that has tokens, in the order of the rows; one pass over the token ids."""

    def batches() -> Iterable[Batch]:
        done = 0
        for batch in trace.batches(["token"]):
            yield batch
            done += len(batch)
            if progress is not None:
                progress(done, trace.n_tokens)

    names, domains = _facts(trace, "name"), _facts(trace, "domain")
    return [
        Document(number, names.get(number), domains.get(number), one.rows, one if not one.unknown else None)
        for number, one in contents_of(batches(), token_keys).items()
    ]


def _facts(trace: Trace, column: str) -> dict[int, str | None]:
    if column not in trace.documents.column_names:
        return {}
    numbers = trace.documents.column("document").to_pylist()
    return dict(zip(numbers, trace.documents.column(column).to_pylist(), strict=True))


def documents_of_domain(documents: Sequence[Document], domain: str | None, option: str) -> list[Document]:
    """Return the documents of one domain; all of them if None.

    Raises
    ------
    RoutestatError
        If the trace has no such domain; names those it has.
    """
    if domain is None:
        return list(documents)
    chosen = [document for document in documents if document.domain == domain]
    if not chosen:
        known = sorted({document.domain for document in documents if document.domain})
        has = f"there are {', '.join(known)}" if known else "its documents name none"
        raise RoutestatError(f"{option} {domain}: no document of that domain; {has}")
    return chosen
