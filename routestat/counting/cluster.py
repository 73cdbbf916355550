"""Workers of a Dask cluster: processes of this machine, or those of a scheduler on others.

The only file that imports Dask, and imported only where a cluster is wanted.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import dask
import pyarrow as pa
from distributed import Client, Future, LocalCluster, as_completed
from distributed.comm.core import CommClosedError
from distributed.core import rpc
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker
from distributed.security import Security

from routestat.errors import RoutestatError, TraceError
from routestat.progress import Progress
from routestat.traces.manifest import MANIFEST, sha256_of
from routestat.traces.parts import Part, part_of
from routestat.traces.store import Trace
from routestat.traces.validation import first_line

#: Seconds to wait for a scheduler to answer, and then for its first worker.
CONNECT, FIRST_WORKER = 5, 30
#: A part that fails is tried again so many times, on any worker; one whose worker dies too.
RETRIES = 2
#: Parts per worker: several, so that the last ones finish together and little is lost with a worker; one where a result
#: has more bytes than this, because to make, send and add it takes longer than that.
PARTS_EACH, LARGE = 4, 64 << 20

T = TypeVar("T")


@contextmanager
def local_workers(n: int) -> Iterator["DaskWorkers"]:
    """Start `n` worker processes on this machine, and stop them at the end."""
    _quiet()
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        LocalCluster(
            n_workers=n,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(_SetUp())
        yield DaskWorkers(client, n)


@contextmanager
def workers_of(scheduler: str) -> Iterator["DaskWorkers"]:
    """Use the workers of a running scheduler.

    Raises
    ------
    RoutestatError
        If no scheduler answers at the address, or it has no workers.
    """
    _quiet()
    try:
        # Before the client: one that reached something else could not be closed.
        kind = asyncio.run(_kind_of(scheduler))
    # Whatever else may listen at the address answers in its own way.
    except Exception as error:
        why = f"nothing in {CONNECT} s" if isinstance(error, TimeoutError) else first_line(error)
        raise RoutestatError(
            f"--scheduler {scheduler}: no Dask scheduler answers ({why}); expected an address such as "
            "tcp://host:8786 of a running `dask scheduler`"
        ) from None
    if kind != "Scheduler":
        raise RoutestatError(
            f"--scheduler {scheduler}: expected the address of a scheduler, got that of a {kind}"
        )
    with Client(scheduler) as client:
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER)
        except TimeoutError:
            raise RoutestatError(
                f"--scheduler {scheduler}: it has no workers after {FIRST_WORKER} s; start some with: dask worker "
                f"{scheduler}"
            ) from None
        yield DaskWorkers(client, max(sum(client.nthreads().values()), 1))


class _SetUp(WorkerPlugin):
    """Workers decode with one thread, since each core has a worker, and do not react to Ctrl-C.

    It reaches all processes of a terminal: the one that began them ends them.
    """

    def setup(self, worker: Any) -> None:
        pa.set_cpu_count(1)
        # Signals are set in main threads only, which is that of a worker with a process of its own.
        with suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)


class DaskWorkers:
    """The workers of a Dask client; see `Workers`.

    Parameters
    ----------
    client : distributed.Client
    n : int
        Tasks they run at a time.
    """

    def __init__(self, client: Client, n: int) -> None:
        self._client, self._n = client, n

    def run(
        self,
        trace: Trace,
        function: Callable[[Part], T],
        combine: Callable[[T, T], T],
        progress: Progress | None = None,
        size: int = 0,
    ) -> T:
        """Return the results of a function on all parts of a trace, combined in their order.

        Raises
        ------
        RoutestatError
            If a part fails on every try, or the scheduler is gone.
        """
        of = self._n * (1 if size > LARGE else PARTS_EACH)
        parts: dict[Future, int] = {}
        # Sent to one worker, and passed on from there; were it lost, the scheduler would send it again.
        shared = self._submit(_same, (trace, function))

        def summed(first: int, last: int) -> Future:
            """Submit parts and sums such that a sum is due before the next part: few results wait in memory."""
            if first == last:
                future = self._submit(_of_part, shared, first, of)
                parts[future] = first
                return future
            middle = (first + last) // 2
            return self._submit(combine, summed(first, middle), summed(middle + 1, last))

        whole = summed(1, of)
        try:
            for done, future in enumerate(as_completed(list(parts)), start=1):
                if future.status != "finished":
                    self._explain(future, f"part {parts[future]}/{of}")
                if progress is not None:
                    progress(done, of)
            whole.exception()
            if whole.status != "finished":
                self._explain(whole, "the sum of the parts")
            return whole.result()
        except (CommClosedError, CancelledError, TimeoutError):
            raise RoutestatError("the scheduler is gone: start it again, and then this command") from None

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        return self._client.submit(function, *arguments, pure=False, retries=RETRIES)

    def _explain(self, future: Future, what: str) -> None:
        """Raise the error of a future that failed."""
        if future.status in ("cancelled", "lost"):
            raise CancelledError
        error = future.exception()
        if isinstance(error, RoutestatError):
            raise type(error)(first_line(error)) from None
        if isinstance(error, KilledWorker):
            raise RoutestatError(
                f"{what}: the workers it was given to died, {error.allowed_failures + 1} in all; "
                "give workers more memory, or count fewer layers"
            ) from None
        raise RoutestatError(
            f"{what} failed on the workers ({type(error).__name__}: {first_line(error)})"
        ) from None


def _same(shared: T) -> T:
    return shared


def _of_part(shared: tuple[Trace, Callable[[Part], T]], number: int, of: int) -> T:
    """Run a function on one part: the work of a worker."""
    trace, function = shared
    _require_visible(trace)
    return function(part_of(trace, number, of))


def _require_visible(trace: Trace) -> None:
    """Refuse a trace that this machine does not see, or sees another one in its place."""
    if trace.folder is None:
        raise TraceError("a trace in memory cannot be read by workers: write it to a folder, and open that")
    manifest = trace.folder / MANIFEST
    if not manifest.is_file():
        where = "put it where all workers see it, such as a shared folder or s3://"
        raise TraceError(
            f"{trace.folder}: the worker on {socket.gethostname()} does not see this trace; {where}"
        )
    if not trace.identity.startswith(sha256_of(manifest)):
        raise TraceError(
            f"{trace.folder}: the worker on {socket.gethostname()} sees another trace there; use one copy for all"
        )


async def _kind_of(address: str) -> str:
    """Return what answers at an address: ``Scheduler``, ``Worker`` or ``Nanny``."""
    there = rpc(address, connection_args=Security().get_connection_args("client"))
    try:
        return str((await asyncio.wait_for(there.identity(), CONNECT))["type"])
    finally:
        await there.close_rpc()


def _quiet() -> None:
    """Keep Dask's log off stderr, which is for progress and one line per error; the errors are raised as well."""
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.split(".", 1)[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
