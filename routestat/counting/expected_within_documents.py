"""Expected tables if layers were independent within every document: an additive statistic of one pass."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.distributed import TraceOnWorkers
from routestat.counting.experts import expert_rows
from routestat.counting.kernels.compiling import read_only
from routestat.counting.kernels.document_tables import close_document, within_documents
from routestat.progress import Progress
from routestat.traces.batch import Batch
from routestat.traces.metadata import Router
from routestat.traces.store import Trace


class _Pair:
    """One adjacent pair: its expectation ``[group, source, target]`` and the margins of the open document."""

    def __init__(self, source: Router, target: Router, groups: int, states: str) -> None:
        self.routers = source, target
        self.states = states
        shape = tuple(r.n_experts if states == "expert" else r.alphabet.size for r in self.routers)
        self.limits = np.array(shape)
        self.rows, self.columns = np.zeros(shape[0]), np.zeros(shape[1])
        self.tokens = 0
        self.table = np.zeros((groups, *shape))

    def feed(self, batch: Batch, starts: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        source, target = (self._column(batch, router) for router in self.routers)
        self.tokens = within_documents(
            source, target, starts, groups, self.limits, self.rows, self.columns, self.tokens, self.table
        )

    def close(self, group: int) -> None:
        close_document(self.rows, self.columns, self.tokens, self.table[group])
        self.tokens = 0

    def _column(self, batch: Batch, router: Router) -> NDArray[np.unsignedinteger]:
        values = batch.columns[router.name]
        return expert_rows(values, router) if self.states == "expert" else read_only(values[:, None])


def count_within(
    trace: Trace, counts: Counts, progress: Progress | None = None, targets: Sequence[Router] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return the expected tables of adjacent routers if they were independent inside each document.

    Parameters
    ----------
    trace : Trace
    counts : Counts
        Of this trace, with ``Context.layer(1)``: gives routers, groups and view. Where every group is one
        document, its margins suffice and the trace is not read.
    progress : callable(rows_done, rows_in_all), optional
    targets : sequence of Router, optional
        Count only the pairs that end in these.

    Returns
    -------
    dict of target router's name to float array ``[group, source, target]``
        Additive over documents and groups; sums to the table's tokens (k·k times them in the expert view).
    """
    pairs = [pair for pair in pairwise(counts.routers) if targets is None or pair[1] in targets]
    if counts.documents.max(initial=0) <= 1:
        return {
            target.name: expected_of_margins(counts.table(Context.layer(1), target)) for _, target in pairs
        }
    if isinstance(trace, TraceOnWorkers):
        of_part = partial(_expected, pairs=pairs, groups=counts.groups, states=counts.states)
        size = 8 * counts.groups * sum(a.n_experts * b.n_experts for a, b in pairs)
        return trace.over_parts(of_part, _added, progress, size)
    return _expected(trace, pairs, counts.groups, counts.states, progress)


def _expected(
    trace: Trace,
    pairs: Sequence[tuple[Router, Router]],
    groups: int,
    states: str,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float64]]:
    tables = [_Pair(source, target, groups, states) for source, target in pairs]
    names = list(dict.fromkeys(router.name for pair in pairs for router in pair))
    previous, group, done = -1, 0, 0
    for batch in trace.counted(names):
        starts, documents = _documents(batch.document)
        own = trace.units.group_of(documents, groups)
        if previous >= 0 and int(batch.document[0]) != previous:
            for pair in tables:
                pair.close(group)
        for pair in tables:
            pair.feed(batch, starts, own)
        previous, group = int(documents[-1]), int(own[-1])
        done += len(batch)
        if progress is not None:
            progress(done, trace.n_counted)
    for pair in tables:
        pair.close(group)
    return {pair.routers[1].name: pair.table for pair in tables}


def _added(
    first: dict[str, NDArray[np.float64]], second: dict[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    return {name: table + second[name] for name, table in first.items()}


def _documents(document: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the first row of each document, with the end of the last, and the document numbers."""
    first = np.flatnonzero(np.concatenate([[True], document[1:] != document[:-1]]))
    return np.append(first, len(document)), document[first]


def expected_of_margins(table: NDArray[np.unsignedinteger]) -> NDArray[np.float64]:
    """Compute the expectation of groups of one document each; the k·k cells of a token cancel."""
    cells = table.astype(np.float64)
    size = cells.sum(axis=(1, 2))[:, None, None]
    product = cells.sum(axis=2)[:, :, None] * cells.sum(axis=1)[:, None, :]
    return np.divide(product, size, out=np.zeros_like(cells), where=size > 0)
