"""Progress of long work, and work on several threads."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
from threadpoolctl import threadpool_limits

#: Called with the units done and the units in all.
Progress = Callable[[int, int], None]
#: Called with what is being done, the units done and the units in all.
Tick = Callable[[str, int, int], None]

T = TypeVar("T")


def silent(what: str, done: int, total: int) -> None:
    """Report nothing: the `Tick` of a caller that shows no progress."""


class CallersThread(Executor):
    """An executor without threads: a job runs when it is submitted, in the thread of the caller."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a job and return its finished future; its exception comes with the result, as from a thread."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def thread_pool(threads: int) -> Executor:
    """Return an executor of so many threads, or of none where one thread does everything."""
    return CallersThread() if threads == 1 else ThreadPoolExecutor(threads)


@contextmanager
def limited_threads(threads: int | None, products: int | None = 1) -> Iterator[None]:
    """Limit the threads of libraries: those that decode shards, and those that multiply matrices.

    Parameters
    ----------
    threads : int, optional
        That decode shards; None leaves them as they are.
    products : int, optional
        That multiply matrices, in each of the threads that call for it; None leaves them as they are. One by default:
        jobs run on threads of their own, and where several of these have several more, they wait for each other.
    """
    decoders = pa.cpu_count()
    pa.set_cpu_count(min(threads or decoders, decoders))
    try:
        with threadpool_limits(limits=products):
            yield
    finally:
        pa.set_cpu_count(decoders)


def in_threads(
    jobs: Sequence[Callable[[], T]], threads: int | None = None, tick: Tick = silent, what: str = ""
) -> tuple[T, ...]:
    """Run independent jobs, several at a time.

    Results do not depend on the number of threads where each job has its own random generator.

    Parameters
    ----------
    jobs : sequence of callable()
    threads : int, optional
        All cores by default. With 1 the jobs run one after the other in the caller's thread.
    tick : callable(what, done, total)
        Called in the caller's thread after each job.
    what : str
        The first argument of `tick`.

    Returns
    -------
    tuple
        The results, in the order of the jobs.

    Raises
    ------
    BaseException
        The exception of a job, or an interrupt of the caller; jobs that have not begun are cancelled.
    """
    threads = threads or os.cpu_count() or 1
    if threads == 1 or len(jobs) < 2:
        return tuple(_in_turn(jobs, tick, what))
    with ThreadPoolExecutor(min(threads, len(jobs))) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                tick(what, done, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tuple(future.result() for future in futures)


def over_threads(jobs: Iterable[Callable[[], T]], threads: int | None = None) -> Iterator[T]:
    """Yield the results of independent jobs in their order; jobs are taken as threads become free.

    No more than two of them for each thread wait, run or have results that were not yet taken, so that jobs that hold
    large tables may come from a generator.

    Parameters
    ----------
    jobs : iterable of callable()
    threads : int, optional
        All cores by default. With 1 the jobs run in the caller's thread.
    """
    threads = threads or os.cpu_count() or 1
    if threads == 1:
        yield from (job() for job in jobs)
        return
    waiting = deque[Future[T]]()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_turn(jobs: Sequence[Callable[[], T]], tick: Tick, what: str) -> list[T]:
    results = []
    for done, job in enumerate(jobs, start=1):
        results.append(job())
        tick(what, done, len(jobs))
    return results
