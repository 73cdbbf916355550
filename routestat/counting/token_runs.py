"""Runs of consecutive tokens of one document, which define "the previous token"."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.compiling import read_only
from routestat.counting.kernels.runs import cut_runs
from routestat.traces.alphabet import smallest_unsigned
from routestat.traces.batch import Batch
from routestat.traces.clusters.units import Units


@dataclass(frozen=True)
class Runs:
    """Runs of a batch: rows ``starts[r] … stops[r] − 1`` are consecutive tokens of a document in ``groups[r]``.

    ``fresh[r]`` is whether a document begins there. Sorted by group, so that a group's table is loaded into the
    cache once, not once per document.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    groups: NDArray[np.int64]
    fresh: NDArray[np.bool_]


def find_runs(
    document: NDArray[np.int32],
    position: NDArray[np.int32],
    window: int,
    units: Units,
    groups: int,
    previous: int = -1,
) -> Runs:
    """Cut rows into runs where the document changes, a position is skipped, or a window of the model begins.

    `units` give the group of a document; `previous` is the document of the row before, −1 if there is none.
    """
    starts, fresh = np.empty(len(document), np.int64), np.empty(len(document), np.bool_)
    n = cut_runs(read_only(document), read_only(position), window, previous, starts, fresh)
    starts, fresh = starts[:n].copy(), fresh[:n].copy()
    stops = np.append(starts[1:], len(document))
    group = units.group_of(document[starts], groups)
    # Narrow integers are sorted by radix: runs may be as many as tokens.
    order = np.argsort(group.astype(smallest_unsigned(groups)), kind="stable")
    return Runs(starts[order], stops[order], group[order], fresh[order])


@dataclass(frozen=True)
class Tail:
    """The last rows that were read, kept so that runs continue across batches."""

    document: NDArray[np.int32]
    position: NDArray[np.int32]
    columns: dict[str, NDArray]

    @classmethod
    def empty(cls) -> "Tail":
        """Make a tail before any row was read."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), {})

    def after(self, batch: Batch, rows: int) -> "Tail":
        """Return the last `rows` rows after `batch` has been read."""
        joined = self.seam(batch, len(batch)) if len(batch) < rows else batch
        keep = slice(max(len(joined) - rows, 0), None)
        return Tail(
            joined.document[keep].copy(),
            joined.position[keep].copy(),
            {name: values[keep].copy() for name, values in joined.columns.items()},
        )

    def seam(self, batch: Batch, rows: int) -> Batch:
        """Return the tail followed by the first `rows` rows of `batch`."""
        if not len(self.document):
            return Batch(
                batch.document[:rows], batch.position[:rows], {n: v[:rows] for n, v in batch.columns.items()}
            )
        return Batch(
            np.concatenate([self.document, batch.document[:rows]]),
            np.concatenate([self.position, batch.position[:rows]]),
            {name: np.concatenate([self.columns[name], v[:rows]]) for name, v in batch.columns.items()},
        )

    def last(self, rows: int) -> "Tail":
        """Return only the last `rows` of these rows."""
        keep = slice(max(len(self.document) - rows, 0), None)
        return Tail(self.document[keep], self.position[keep], {n: v[keep] for n, v in self.columns.items()})
