"""Whole documents held in memory, for questions with more cells than a table can have.

Counts by token id, or along the states of several routers, have as many cells as tokens. Such
statistics use documents sampled at random by a hash of their number, as many as fit in memory: all of them in
most traces.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.counting.distributed import TraceOnWorkers
from routestat.errors import RoutestatError
from routestat.progress import Progress
from routestat.traces.clusters.units import Units
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

BYTES = 1 << 29
# Knuth's multiplicative constant: neighbouring document numbers land far apart.
_HASH = np.uint64(2654435761)
_HASH_64 = np.uint64(0x9E3779B97F4A7C15)
#: Intervals come from documents: below so many, the beginnings of all are taken instead of fewer documents.
FEW_DOCUMENTS = 64
#: Fewest documents that are kept where all are whole, unless they have more than so many times the rows.
LEAST_WHOLE, MOST_EXCESS = 12, 4


@dataclass(frozen=True)
class Sample:
    """Rows of whole documents.

    Attributes
    ----------
    routers : tuple of Router
    token : int array ``[row]``
        Token ids, −1 unknown.
    document : int array ``[row]``
    follows : bool array ``[row]``
        Whether the row before is the token before, of the same document and window.
    columns : mapping of router name to ``[row]`` states, or ``[row, slot]`` sorted experts
        Also of requested recorded companions, such as ``L00.ahead1``.
    units : Units
    groups, n_documents, n_tokens_in_all : int
    phase : int array ``[row]``
        Places in `PHASES`.
    domains : mapping of document to str
        Of the documents that have one.
    cut : bool
        Whether these are the beginnings of documents.
    """

    routers: tuple[Router, ...]
    token: NDArray[np.int32]
    document: NDArray[np.int32]
    follows: NDArray[np.bool_]
    columns: Mapping[str, NDArray[np.unsignedinteger]]
    units: Units
    groups: int
    n_documents: int
    n_tokens_in_all: int
    phase: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))
    domains: Mapping[int, str] = field(default_factory=dict)
    cut: bool = False

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.token)

    @cached_property
    def group(self) -> NDArray[np.int64]:
        """Each row's group of whole clusters."""
        return self.units.group_of(self.document, self.groups)

    @property
    def known_phase(self) -> NDArray[np.int8]:
        """Each row's phase; the first of `PHASES` where none was read."""
        return self.phase if len(self.phase) == len(self) else np.zeros(len(self), np.int8)

    @property
    def cluster(self) -> NDArray[np.int32]:
        """Each row's cluster."""
        return self.units.cluster_of(self.document)

    @property
    def note(self) -> str:
        """The part of the trace that was sampled; empty if all of it."""
        if len(self) == self.n_tokens_in_all:
            return ""
        if self.cut:
            return f"on {len(self):,} tokens: the beginnings of {self.n_documents:,} documents"
        return f"on {len(self):,} tokens of {self.n_documents:,} documents taken at random"


def take_sample(
    trace: Trace,
    layers: Sequence[int] | None = None,
    groups: int = 256,
    *,
    memory: int = BYTES,
    companions: Sequence[str] = (),
    progress: Progress | None = None,
) -> Sample:
    """Sample whole documents until `memory` bytes are full.

    Parameters
    ----------
    trace : Trace
    layers : sequence of int, optional
    groups : int
        As in `count`.
    memory : int
        Bytes of rows to keep. A first document that is larger is cut.
    companions : sequence of str
        Recorded columns beside the routers that are kept too, such as ``L00.ahead1``.
    progress : callable(rows_done, rows_in_all), optional
    """
    routers = trace.routers(layers)
    names = [*(router.name for router in routers), *companions]
    if isinstance(trace, TraceOnWorkers):
        chosen = trace.over_parts(partial(_chosen_rows, names=names, memory=memory), operator.add, progress)
    else:
        chosen = _chosen_rows(trace, names, memory, progress)
    limit = _most_rows(chosen[0], memory) if chosen else 1
    kept = sum(len(rows["document"]) for rows in chosen)
    parts = chosen or [_nothing(names)]
    whole = {name: np.concatenate([part[name] for part in parts])[:limit] for name in parts[0]}
    document, phase = whole.pop("document"), whole.pop("phase")
    # The last document may have been cut by the limit, and is then removed.
    if kept > limit and document[0] != document[-1]:
        last = int(np.argmax(document == document[-1]))
        whole = {name: values[:last] for name, values in whole.items()}
        document, phase = document[:last], phase[:last]
    return Sample(
        routers,
        whole.pop("token"),
        document,
        whole.pop("follows"),
        whole,
        trace.units,
        groups,
        len(np.unique(document)),
        trace.n_counted,
        phase,
        _domains(trace),
    )


def rows_of(sample: Sample, chosen: NDArray[np.bool_]) -> Sample:
    """Return some rows of a sample; a row whose token before is left out follows none.

    Parameters
    ----------
    sample : Sample
    chosen : bool array ``[row]``
    """
    beside = np.zeros(len(sample), bool)
    beside[1:] = chosen[:-1]
    document = sample.document[chosen]
    return replace(
        sample,
        token=sample.token[chosen],
        document=document,
        follows=(sample.follows & beside)[chosen],
        columns={name: values[chosen] for name, values in sample.columns.items()},
        phase=sample.known_phase[chosen],
        n_documents=len(np.unique(document)),
    )


def at_most(sample: Sample, rows: int) -> Sample:
    """Return about so many rows of a sample: whole documents, or the beginnings of all if they are few.

    Parameters
    ----------
    sample : Sample
    rows : int
        Documents are chosen by a hash of their number; on average half as many rows remain, or more. Where fewer than
        `FEW_DOCUMENTS` documents would, the same share of every one is kept instead, from its beginning on.

    Raises
    ------
    RoutestatError
        If `rows` is not above zero.
    """
    if rows < 1:
        raise RoutestatError(f"rows: expected 1 or more, got {rows}")
    every = -(-len(sample) // rows)
    if every < 2:
        return sample
    kept = sample.document.astype(np.uint64) * _HASH_64 >> np.uint64(33) < np.uint64((1 << 31) // every)
    numbers, length = np.unique(sample.document, return_counts=True)
    cut = len(np.unique(sample.document[kept])) < min(FEW_DOCUMENTS, len(numbers))
    if cut:
        first = np.cumsum(length) - length
        order = np.argsort(sample.document, kind="stable")
        kept[order] = np.arange(len(sample)) < np.repeat(first - (-length // every), length)
    return replace(rows_of(sample, kept), cut=sample.cut or cut)


def whole_documents(sample: Sample, rows: int) -> Sample:
    """Return at most so many rows of a sample: whole documents in the order of a hash of their number.

    Parameters
    ----------
    sample : Sample
    rows : int
        `LEAST_WHOLE` documents are kept also where they have more, up to `MOST_EXCESS` times as many; where even
        these are more, the beginnings of these documents.

    Raises
    ------
    RoutestatError
        If `rows` is not above zero.
    """
    if rows < 1:
        raise RoutestatError(f"rows: expected 1 or more, got {rows}")
    if len(sample) <= rows:
        return sample
    numbers, length = np.unique(sample.document, return_counts=True)
    order = np.argsort(numbers.astype(np.uint64) * _HASH_64 >> np.uint64(33), kind="stable")
    most = max(LEAST_WHOLE, int(np.count_nonzero(np.cumsum(length[order]) <= rows)))
    kept = np.isin(sample.document, numbers[order[:most]])
    chosen = rows_of(sample, kept)
    return at_most(chosen, MOST_EXCESS * rows) if len(chosen) > MOST_EXCESS * rows else chosen


def _domains(trace: Trace) -> dict[int, str]:
    if "domain" not in trace.documents.column_names:
        return {}
    numbers, words = (trace.documents.column(name).to_pylist() for name in ("document", "domain"))
    return {number: str(word) for number, word in zip(numbers, words, strict=True) if word is not None}


def _chosen_rows(
    trace: Trace, names: Sequence[str], memory: int, progress: Progress | None = None
) -> list[dict[str, NDArray[Any]]]:
    """Read the rows of the documents that the hash chooses, batch by batch, until there are more than fit in `memory`.

    What is chosen depends on the whole trace, also where these are the rows of a part of it.
    """
    found: list[dict[str, NDArray[Any]]] = []
    kept = done = 0
    previous = (-1, -1)
    for batch in trace.counted([*names, "token", "phase"]):
        follows = _follows(batch.document, batch.position, trace.meta.window, previous)
        previous = int(batch.document[-1]), int(batch.position[-1])
        limit = _most_rows(batch.columns, memory)
        every = np.uint64(max(1, -(-trace.n_counted // limit)))
        chosen = (batch.document.astype(np.uint64) * _HASH >> np.uint64(16)) % every == 0
        if (n := int(chosen.sum())) and kept <= limit:
            rows = {name: batch.columns[name][chosen] for name in (*names, "token")}
            phase = np.zeros(len(batch), np.int8) if batch.phase is None else batch.phase
            found.append(
                rows
                | {
                    "document": batch.document[chosen],
                    "follows": follows[chosen],
                    "phase": phase[chosen],
                }
            )
            kept += n
        done += len(batch)
        if progress is not None:
            progress(done, trace.n_counted)
    return found


def _most_rows(columns: Mapping[str, NDArray[Any]], memory: int) -> int:
    """Return how many rows fit in `memory`: choices, token ids, documents, and whether a row follows."""
    fixed = ("document", "follows", "phase")
    width = sum(values[:1].nbytes for name, values in columns.items() if name not in fixed)
    return max(1, memory // (5 + width))


def _nothing(names: Sequence[str]) -> dict[str, NDArray[Any]]:
    empty = np.empty(0, np.int32)
    return {**dict.fromkeys(names, empty), "token": empty, "document": empty} | {
        "follows": np.empty(0, bool),
        "phase": np.empty(0, np.int8),
    }


def _follows(
    document: NDArray[np.integer], position: NDArray[np.integer], window: int, previous: tuple[int, int]
) -> NDArray[np.bool_]:
    before = np.concatenate([[previous[0]], document[:-1]]), np.concatenate([[previous[1]], position[:-1]])
    follows = (document == before[0]) & (position == before[1] + 1)
    return follows & (position % window > 0) if window else follows
