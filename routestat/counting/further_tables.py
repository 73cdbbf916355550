"""Further tables of a trace that was counted already, with the same groups, in as many passes as needed."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counting_pass import MEMORY, TableKey, cell_type, count_keys, in_passes, table_bytes
from routestat.counting.counts import Counts
from routestat.errors import RoutestatError
from routestat.progress import Progress
from routestat.traces.metadata import Router
from routestat.traces.store import Trace


def count_further_tables(
    trace: Trace,
    counts: Counts,
    wanted: Sequence[tuple[Context, Router]],
    *,
    memory: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[NDArray[np.unsignedinteger]]:
    """Count further tables of the routers of `counts`, in its view and with exactly its groups.

    The number of groups is decided once, by `count`. Where further tables do not fit in memory together, they are
    counted in parts, one pass over the trace each, and never with fewer groups: tables with other groups
    cannot be compared.

    Parameters
    ----------
    trace : Trace
        That `counts` is of.
    counts : Counts
    wanted : sequence of (Context, target Router)
        Each once; the tables are yielded in this order.
    memory : int, optional
        Bytes for the tables of one pass, by default as for `count`. One table is always counted.
    threads : int, optional
        All cores by default.
    progress : callable(rows_done, rows_in_all), optional
        Rows of all passes together.

    Yields
    ------
    unsigned array ``[group, context…, target]``

    Raises
    ------
    RoutestatError
        Before anything is counted, if a target does not have such a source.
    """
    keys = [(context, _sources(counts, context, target), target) for context, target in wanted]
    return _counted(trace, counts, _parts(keys, trace, counts, memory or MEMORY), threads, progress)


def _counted(
    trace: Trace,
    counts: Counts,
    parts: Sequence[Sequence[TableKey]],
    threads: int | None,
    progress: Progress | None,
) -> Iterator[NDArray[np.unsignedinteger]]:
    for number, part in enumerate(parts):
        names = {router.name for _, sources, target in part for router in (*sources, target)}
        routers = [router for router in counts.routers if router.name in names]

        def advance(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(parts) * total)

        tables, *_ = count_keys(trace, routers, part, counts.states, counts.groups, threads, advance)
        for context, _, target in part:
            yield tables.pop((context, target.name))


def _sources(counts: Counts, context: Context, target: Router) -> tuple[Router, ...]:
    found = [counts.source(target, -layer) for layer, _ in context.sources]
    known = tuple(router for router in found if router is not None)
    if len(known) < len(found):
        raise RoutestatError(
            f"{target.name} has no context {context.name} among the counted layers; leave that table out"
        )
    return known


def _parts(keys: Sequence[TableKey], trace: Trace, counts: Counts, memory: int) -> list[list[TableKey]]:
    """As many tables as fit in memory, in order.

    If several passes are needed, each gets half the memory: the caller still holds the last table of a pass, and with
    it all of that pass's memory, while the next one is counted.
    """
    sizes = [table_bytes(key, counts.states, counts.groups, cell_type(trace)) for key in keys]
    most = memory if sum(sizes) <= memory else memory // 2
    return in_passes(keys, sizes, most)
