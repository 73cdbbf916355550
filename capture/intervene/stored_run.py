"""The recorded choices of a natural or a forced run, read back from its trace."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.progress import Progress
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.store import Trace


@dataclass(frozen=True)
class StoredRun:
    """The columns of a trace that are compared, in memory.

    Attributes
    ----------
    store : Path
    meta : TraceMeta
    n_documents : int
        Documents with tokens.
    document, position, token, cluster : int array ``[row]``
        The cluster is the independent unit: documents that share text are in one.
    columns : dict of int arrays
        By router name: states ``[row]``, or sorted experts ``[row, slot]`` where subsets have no index.
    """

    store: Path
    meta: TraceMeta
    n_documents: int
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    token: NDArray[np.int32]
    cluster: NDArray[np.int32]
    columns: dict[str, NDArray[np.unsignedinteger]]

    def trace(self, routers: Sequence[Router], rows: NDArray[np.bool_] | None = None) -> Trace:
        """Return some routers, and some rows, as a trace in memory."""
        kept = slice(None) if rows is None else rows
        states = {router.name: self.columns[router.name][kept] for router in routers}
        where = self.document[kept], self.position[kept]
        # The same clusters in every part of the trace; its template has been left out already.
        cluster, meta = self.cluster[kept], TraceMeta(tuple(routers))
        return Trace.from_arrays(meta, *where, states, clusters=cluster, template="keep")


def read_run(store: Path, routers: Sequence[Router], progress: Progress | None = None) -> StoredRun:
    """Open a trace, check all of it, and read the columns of some routers.

    Raises
    ------
    RoutestatError
        If it is damaged, not complete, or empty.
    """
    trace = Trace.open(store, progress=progress)
    if not trace.complete:
        raise RoutestatError(f"{store}: this run did not finish; continue with --resume")
    if not trace.n_tokens:
        raise RoutestatError(f"{store}: the documents hold no tokens, so that there is no effect to estimate")
    names = [router.name for router in routers]
    batches = list(trace.counted(["token", *names]))
    document = np.concatenate([batch.document for batch in batches])
    return StoredRun(
        store,
        trace.meta,
        len(np.unique(document)),
        document,
        np.concatenate([batch.position for batch in batches]),
        np.concatenate([batch.columns["token"] for batch in batches]),
        trace.units.cluster_of(document),
        {name: np.concatenate([batch.columns[name] for batch in batches]) for name in names},
    )
