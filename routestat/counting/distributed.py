"""Additive statistics of a trace whose parts are read by workers, in other processes or on other machines."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from routestat.errors import TraceError
from routestat.progress import Progress
from routestat.traces.parts import Part, SameTrace, check_part
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
        size: int = 0,
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
        size : int
            Bytes of a result: large ones are better few.
        """
        ...


class TraceOnWorkers(SameTrace):
    """A trace of which additive statistics are counted by workers; everything else reads it here.

    Parameters
    ----------
    trace : Trace
        A store, opened under a path or URL that the workers see too.
    workers : Workers
    """

    def __init__(self, trace: Trace, workers: Workers) -> None:
        super().__init__(trace)
        self._workers = workers

    def over_parts(
        self,
        function: Callable[[Part], T],
        combine: Callable[[T, T], T],
        progress: Progress | None = None,
        size: int = 0,
    ) -> T:
        """Return the results of a function on all parts, combined in their order, see `Workers.run`."""
        return self._workers.run(self._trace, function, combine, progress, size)

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
