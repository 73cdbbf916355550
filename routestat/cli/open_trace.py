"""Opening the trace of a command, read by this process or by workers."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from routestat.counting.counts import DEFAULT_CONTEXTS, Counts
from routestat.counting.distributed import TraceOnWorkers, Workers
from routestat.counting.origin import origins_of, require_same_trace
from routestat.errors import RoutestatError
from routestat.progress import Progress
from routestat.traces.document_stretches import in_stretches
from routestat.traces.held_columns import held_in_memory
from routestat.traces.locations import Location
from routestat.traces.number_ranges import span
from routestat.traces.store import Trace


@contextmanager
def opened_trace(
    path: Location,
    progress: Progress,
    workers: int | None = None,
    scheduler: str | None = None,
    layers: Sequence[int] | None = None,
    **how: Any,
) -> Iterator[Trace]:
    """Open and check a trace as `Trace.open`; a trace of one document comes in stretches.

    What this process reads of the layers stays in memory, if all of it fits: an analysis reads it several times.

    Parameters
    ----------
    path : path
    progress : callable(done, in_all)
        Of the check: rows, or parts that workers checked.
    workers : int, optional
        Start so many workers on this machine, which read the trace.
    scheduler : str, optional
        The address of a running Dask scheduler, whose workers read the trace.
    layers : sequence of int, optional
        Those that will be read (all).
    **how
        Further arguments of `Trace.open`.

    Raises
    ------
    RoutestatError
        Also where Dask is not installed, or no scheduler answers.
    """
    if workers is None and scheduler is None:
        opened = Trace.open(path, progress=progress, **how)
        yield in_stretches(held_in_memory(opened, opened.routers(layers)))
        return
    if workers is not None and scheduler is not None:
        raise RoutestatError("--workers starts workers here, --scheduler uses running ones: give one of them")
    # Workers may have another working directory.
    trace = in_stretches(Trace.open(path.resolve(), verify=False, **how))
    with _running(workers, scheduler) as running:
        there = TraceOnWorkers(trace, running)
        there.check(progress)
        yield there


def counts_from_file(file: Path, trace: Trace, layers: Sequence[int] | None) -> Counts:
    """Load counts that ``count`` or ``merge`` wrote, in place of counting the trace.

    Raises
    ------
    RoutestatError
        If they are not of this trace, these layers and all documents, or lack what `analyze` needs.
    """
    counts, said = Counts.load(file), f"--counts {file}: expected counts"
    origins = origins_of(trace)
    if len(counts.origins) != 1 or not origins:
        raise RoutestatError(f"{said} of one stored trace, got those of {len(counts.origins)}")
    require_same_trace(origins[0], counts.origins[0], said)
    if missing := counts.origins[0].missing:
        raise RoutestatError(f"{said} of the whole trace, {missing} missing; count and merge them too")
    routers = trace.routers(layers)
    if counts.routers != routers:
        wanted, got = (span([router.layer for router in one]) for one in (routers, counts.routers))
        raise RoutestatError(
            f"{said} of layers {wanted}, got {got}; name those with --layers, or count again"
        )
    if absent := [context.name for context in DEFAULT_CONTEXTS if context not in counts.contexts]:
        raise RoutestatError(f"{said} with context {', '.join(absent)}; count again with it")
    return counts


def _running(workers: int | None, scheduler: str | None) -> AbstractContextManager[Workers]:
    try:
        # Only where workers are wanted: Dask takes a second to load, and is not always installed.
        from routestat.counting import cluster  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "routestat":
            raise
        raise RoutestatError(
            f"expected dask and distributed for --workers and --scheduler, got no module {error.name}; "
            "pip install 'routestat[distributed]'"
        ) from None
    if scheduler is None:
        return cluster.local_workers(workers or 1)
    return cluster.workers_of(scheduler)
