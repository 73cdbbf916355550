"""The most frequent paths through all layers: the choices of a token at every layer, as one symbol.

There may be as many paths as tokens, so the counter is bounded: beyond `capacity` distinct paths the rarest are
dropped as in Misra & Gries (1982). The remaining candidates are then counted exactly in a second pass; only a path that
at most `error` tokens took can have been missed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.distributed import TraceOnWorkers
from routestat.counting.experts import expert_rows
from routestat.progress import Progress
from routestat.traces.metadata import Router
from routestat.traces.row_hash import hash_rows
from routestat.traces.store import Trace

CAPACITY = 1 << 18


@dataclass(frozen=True)
class PathCounts:
    """Frequent paths, by falling count.

    Attributes
    ----------
    routers : tuple of Router
    states : unsigned array ``[path, router]``
    tokens, documents : int array ``[path]``
        Tokens that took the path, and documents in which it occurs.
    error : int
        The counts are exact, but a path of at most this many tokens may be absent; 0: none is.
    n_tokens, n_distinct : int
        Tokens with a state at every router, and distinct paths kept.
    """

    routers: tuple[Router, ...]
    states: NDArray[np.unsignedinteger]
    tokens: NDArray[np.int64]
    documents: NDArray[np.int64]
    error: int
    n_tokens: int
    n_distinct: int


@dataclass
class _Table:
    keys: NDArray[np.uint64]
    tokens: NDArray[np.int64]
    documents: NDArray[np.int64]
    states: NDArray[np.unsignedinteger]

    @classmethod
    def empty(cls, reader: "_Reader") -> "_Table":
        states = np.empty((0, reader.columns), reader.dtype)
        return cls(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64), states)

    def merge(self, other: "_Table") -> "_Table":
        keys, first, inverse = np.unique(
            np.concatenate([self.keys, other.keys]), return_index=True, return_inverse=True
        )
        tokens, documents = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
        np.add.at(tokens, inverse, np.concatenate([self.tokens, other.tokens]))
        np.add.at(documents, inverse, np.concatenate([self.documents, other.documents]))
        return _Table(keys, tokens, documents, np.concatenate([self.states, other.states])[first])

    def top(self, n: int) -> "_Table":
        # Ties are broken by key, so that the result does not depend on the order of shards.
        order = np.lexsort((self.keys, -self.tokens))[:n]
        return _Table(self.keys[order], self.tokens[order], self.documents[order], self.states[order])


@dataclass
class _Candidates:
    """The frequent paths of some whole documents; see `PathCounts` for `error`."""

    table: _Table
    error: int
    n_tokens: int

    def added(self, later: "_Candidates", capacity: int) -> "_Candidates":
        """Join those of later documents. Counts of both may be too small, so that the errors add up.

        See Agarwal et al. (2013), Mergeable summaries. ACM Transactions on Database Systems 38.
        """
        table, error = self.table.merge(later.table), self.error + later.error
        if len(table.keys) > capacity:
            table, error = _shrink(table, capacity, error)
        return _Candidates(table, error, self.n_tokens + later.n_tokens)


def count_paths(
    trace: Trace,
    layers: Sequence[int] | None = None,
    n_paths: int = 20,
    capacity: int = CAPACITY,
    progress: Progress | None = None,
) -> PathCounts:
    """Count the `n_paths` most frequent paths through the chosen layers.

    Paths are identified by a 64-bit hash: among a million paths two coincide with probability 3·10⁻⁸. Workers count
    their parts of the trace; beyond `capacity`, `error` and `n_distinct` depend on the number of parts.
    """
    routers = trace.routers(layers)
    if isinstance(trace, TraceOnWorkers):
        size = capacity * sum(router.alphabet.dtype.itemsize for router in routers)
        of_part = partial(_candidates, routers=routers, capacity=capacity)
        found = trace.over_parts(of_part, partial(_Candidates.added, capacity=capacity), progress, size)
    else:
        found = _candidates(trace, routers, capacity, progress)
    best = found.table.top(n_paths)
    if found.error:
        likely = found.table.top(4 * n_paths)
        best = replace(likely, **_over_documents(trace, partial(_recount, routers=routers, keys=likely.keys)))
        best = best.top(n_paths)
    return PathCounts(
        routers,
        best.states,
        best.tokens,
        best.documents,
        found.error,
        found.n_tokens,
        len(found.table.keys),
    )


def _candidates(
    trace: Trace, routers: Sequence[Router], capacity: int, progress: Progress | None = None
) -> _Candidates:
    reader = _Reader(trace, routers)
    table, open_document, open_keys, error, total = _Table.empty(reader), -1, np.empty(0, np.uint64), 0, 0
    for done, document, states, keys in reader:
        total += len(states)
        if len(states):
            same = open_keys if document[0] == open_document else np.empty(0, np.uint64)
            table = table.merge(_summarise(keys, document, states, same))
            seen = np.unique(keys[document == document[-1]])
            # A document that continues in the next batch must not count twice for a path.
            open_keys = np.union1d(same, seen) if document[0] == document[-1] else seen
            open_document = int(document[-1])
            if len(table.keys) > capacity:
                table, error = _shrink(table, capacity, error)
        if progress is not None:
            progress(done, trace.n_counted)
    return _Candidates(table, error, total)


def count_given(
    trace: Trace,
    layers: Sequence[int] | None,
    paths: NDArray[np.integer],
    view: str,
    token_ids: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count tokens and documents (each ``[path]``) that took given paths ``[path, router]``.

    In the view "subset" a path names a state at every router, in the view "expert" an expert that has to be
    among the chosen ones. With `token_ids` ``[path]`` only tokens of the path's id count.
    """
    own = partial(_given, routers=trace.routers(layers), paths=paths, view=view, token_ids=token_ids)
    found = _over_documents(trace, own)
    return found["tokens"], found["documents"]


#: Tokens and documents of each path ``[path]``, by those names.
_Numbers = dict[str, NDArray[np.int64]]


def _over_documents(trace: Trace, function: Callable[[Trace], _Numbers]) -> _Numbers:
    """Return a function of a trace that adds over its documents, computed by workers if the trace has some."""
    return trace.over_parts(function, _sum) if isinstance(trace, TraceOnWorkers) else function(trace)


def _sum(first: _Numbers, second: _Numbers) -> _Numbers:
    return {name: numbers + second[name] for name, numbers in first.items()}


def _given(
    trace: Trace,
    routers: Sequence[Router],
    paths: NDArray[np.integer],
    view: str,
    token_ids: NDArray[np.integer] | None = None,
) -> _Numbers:
    tokens = np.zeros(len(paths), np.int64)
    documents: list[set[int]] = [set() for _ in paths]
    names = [router.name for router in routers]
    for batch in trace.counted(names if token_ids is None else [*names, "token"]):
        columns = [batch.columns[name] for name in names]
        if view == "expert":
            columns = [expert_rows(column, router) for column, router in zip(columns, routers, strict=True)]
        for index, path in enumerate(paths):
            alive = np.arange(len(batch))
            if token_ids is not None:
                alive = np.flatnonzero(batch.columns["token"] == token_ids[index])
            for column, wanted in zip(columns, path, strict=True):
                here = column[alive]
                alive = alive[(here == wanted) if here.ndim == 1 else (here == wanted).any(axis=1)]
            tokens[index] += len(alive)
            documents[index].update(np.unique(batch.document[alive]).tolist())
    return {"tokens": tokens, "documents": np.array([len(found) for found in documents], np.int64)}


class _Reader:
    """Batches as (rows done, document, states ``[row, router]``, keys), without rows that miss a state."""

    def __init__(self, trace: Trace, routers: Sequence[Router]) -> None:
        self._trace, self._routers = trace, routers
        ranked = all(router.alphabet.is_ranked for router in routers)
        self.dtype = max(router.alphabet.dtype for router in routers) if ranked else np.dtype(np.uint16)
        self.columns = sum(1 if router.alphabet.is_ranked else router.top_k for router in routers)

    def __iter__(
        self,
    ) -> Iterator[tuple[int, NDArray[np.integer], NDArray[np.unsignedinteger], NDArray[np.uint64]]]:
        done = 0
        for batch in self._trace.counted([router.name for router in self._routers]):
            present = np.ones(len(batch), bool)
            for router in self._routers:
                present &= _present(batch.columns[router.name], router)
            states = np.column_stack([batch.columns[router.name] for router in self._routers]).astype(
                self.dtype
            )
            done += len(batch)
            states = states[present]
            yield done, batch.document[present], states, hash_rows(states.T, len(states))


def _recount(trace: Trace, routers: Sequence[Router], keys: NDArray[np.uint64]) -> _Numbers:
    """Count the paths of these keys."""
    tokens = np.zeros(len(keys), np.int64)
    documents: list[set[int]] = [set() for _ in keys]
    order = np.argsort(keys)
    for _, document, _, found in _Reader(trace, routers):
        hit = np.isin(found, keys)
        place = order[np.searchsorted(keys, found[hit], sorter=order)]
        np.add.at(tokens, place, 1)
        for index in np.unique(place).tolist():
            documents[index].update(np.unique(document[hit][place == index]).tolist())
    return {"tokens": tokens, "documents": np.array([len(one) for one in documents], np.int64)}


def _present(values: NDArray[np.integer], router: Router) -> NDArray[np.bool_]:
    if values.ndim == 2:
        return values[:, 0] != np.iinfo(values.dtype).max
    return values != router.alphabet.missing


def _summarise(
    keys: NDArray[np.uint64],
    document: NDArray[np.integer],
    states: NDArray[np.unsignedinteger],
    continued: NDArray[np.uint64],
) -> _Table:
    """Count a batch; `continued` are the keys its first document has shown before."""
    first_document = document[0]
    order = np.lexsort((document, keys))
    keys, document = keys[order], document[order]
    new_key = np.concatenate(([True], keys[1:] != keys[:-1]))
    new_pair = new_key | np.concatenate(([True], document[1:] != document[:-1]))
    new_pair &= ~((document == first_document) & np.isin(keys, continued))
    place = np.cumsum(new_key) - 1
    documents = np.bincount(place, weights=new_pair).astype(np.int64)
    return _Table(keys[new_key], np.bincount(place).astype(np.int64), documents, states[order][new_key])


def _shrink(table: _Table, capacity: int, error: int) -> tuple[_Table, int]:
    """Keep the `capacity` most frequent paths; all counts are reduced by that of the first one dropped."""
    kept = table.top(capacity + 1)
    cut = int(kept.tokens[-1])
    kept = kept.top(capacity)
    alive = kept.tokens > cut
    return (
        _Table(kept.keys[alive], kept.tokens[alive] - cut, kept.documents[alive], kept.states[alive]),
        error + cut,
    )
