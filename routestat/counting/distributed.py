"""Additive statistics of a trace whose parts are read by workers, in other processes or on other machines."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from routestat.errors import TraceError
from routestat.progress import Progress
from routestat.traces.dummy_rows.not_measured import NotMeasured
from routestat.traces.parts import Part, check_part
from routestat.traces.store import Trace

T = TypeVar("T")


class Workers(Protocol):
    """Whatever runs a function on all parts of a trace and combines the results."""

    def run(
        self,
        trace: Trace,
        function: Callable[[Part], T],
        combine: Callable[[T, T], T],
        progress: Progress | None = None,
    ) -> T:
        """Return the results of all parts, combined in their order.

        Parameters
        ----------
        trace : Trace
        function : callable(part)
            Can be pickled, as can its result.
        combine : callable(result, result of later parts)
            Associative.
        progress : callable(parts_done, parts_in_all), optional
        """
        ...


class TraceOnWorkers(Trace):
    """A trace of which additive statistics are counted by workers; everything else reads it here.

    Parameters
    ----------
    trace : Trace
        A store, opened under a path or URL that the workers see too.
    workers : Workers
    """

    def __init__(self, trace: Trace, workers: Workers) -> None:
        self._trace, self._workers = trace, workers
        super().__init__(
            trace.meta,
            trace.documents,
            (),
            trace.n_tokens,
            trace.columns,
            trace.complete,
            trace.units,
            trace.template,
            dummy_rows=trace.dummy_rows,
        )
        self.note, self.folder, self.identity = trace.note, trace.folder, trace.identity

    @property
    def not_measured(self) -> NotMeasured:
        """Dummy rows and layers of the trace."""
        return self._trace.not_measured

    @property
    def n_stored(self) -> int:
        """Rows as stored."""
        return self._trace.n_stored

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows, read here."""
        return self._trace.record_batches(columns)

    def shards_between(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the names of the shards that hold any of the rows `start` … `stop` − 1."""
        return self._trace.shards_between(start, stop)

    def over_parts(
        self, function: Callable[[Part], T], combine: Callable[[T, T], T], progress: Progress | None = None
    ) -> T:
        """Return the results of a function on all parts, combined in their order, see `Workers.run`."""
        return self._workers.run(self._trace, function, combine, progress)

    def check(self, progress: Progress | None = None) -> None:
        """Check all rows and shards, as `Trace.open` does.

        Raises
        ------
        TraceError
            As `Trace.open`.
        """
        self.over_parts(check_part, _of_others if not self.note else _together, progress)


def _of_others(first: set[int], second: set[int]) -> set[int]:
    if twice := first & second:
        raise TraceError(
            f"document {min(twice)} continues after another began; the rows of a document must be contiguous"
        )
    return first | second


def _together(first: set[int], second: set[int]) -> set[int]:
    return first | second
