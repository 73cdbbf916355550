"""A trace in batches of expert rows, with the features of predictors at every token."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.counting.experts import expert_rows
from routestat.counting.kernels.runs import lagged_features
from routestat.counting.token_runs import Runs, Tail, find_runs
from routestat.progress import Progress, thread_pool
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: A router, and the number of tokens back at which its choice is read.
Source = tuple[Router, int]


@dataclass(frozen=True, slots=True)
class ExpertBatch:
    """The expert rows of a batch, after the last rows of the previous batch, which serve as context only."""

    columns: dict[str, NDArray[np.unsignedinteger]]
    runs: Runs
    first: int
    row: int

    def features(self, sources: Sequence[Source]) -> NDArray[np.int32]:
        """Features ``[row, slot]`` of the sources, −1 where there is none."""
        rows = len(next(iter(self.columns.values())))
        out = np.empty((rows, sum(router.top_k for router, _ in sources)), np.int32)
        slot = offset = 0
        for router, lag in sources:
            lagged_features(
                self.columns[router.name],
                self.runs.starts,
                self.runs.stops,
                lag,
                missing_of(router),
                offset,
                slot,
                out,
            )
            slot, offset = slot + router.top_k, offset + router.n_experts
        return out


def missing_of(router: Router) -> int:
    """Return the value that marks a missing expert of this router."""
    return int(np.iinfo(router.alphabet.expert_dtype).max)


def feed_expert_batches(
    trace: Trace,
    routers: Sequence[Router],
    reach: int,
    groups: int,
    tasks: Sequence[Any],
    feed: Callable[..., None],
    threads: int | None,
    progress: Progress | None,
) -> None:
    """Feed every batch of the trace to every task; a task runs in one thread at a time."""
    chosen = {router.name: router for router in routers}
    tail, done, before = Tail.empty(), 0, trace.n_counted_before
    with thread_pool(threads or os.cpu_count() or 1) as pool:
        for batch in trace.counted(list(chosen)) if chosen else ():
            first = len(tail.document)
            whole = tail.seam(batch, len(batch)) if first else batch
            rows = pool.map(expert_rows, (whole.columns[n] for n in chosen), chosen.values())
            columns = dict(zip(chosen, rows, strict=True))
            runs = find_runs(whole.document, whole.position, trace.meta.window, trace.units, groups)
            list(pool.map(partial(feed, piece=ExpertBatch(columns, runs, first, before + done)), tasks))
            tail = tail.after(batch, reach) if reach else tail
            done += len(batch)
            if progress is not None:
                progress(done, trace.n_counted)
