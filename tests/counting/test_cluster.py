"""Workers of a real Dask cluster: the same integers, also where a worker is killed in the middle."""

import os
import re
import signal
from functools import partial

import pytest

pytest.importorskip("distributed")

from distributed import LocalCluster

from routestat import RoutestatError, Trace, count
from routestat.counting import cluster
from routestat.counting.distributed import TraceOnWorkers
from routestat.counting.document_sample import take_sample
from routestat.errors import TraceError
from tests.counting.stored_traces import same_counts, write_store


@pytest.fixture(scope="module")
def workers():
    with cluster.local_workers(2) as started:
        yield started


@pytest.fixture
def trace(tmp_path):
    return Trace.open(write_store(tmp_path / "t"), verify=False)


def rows(part):
    return [part.rows.number]


def killing(part, mark, only):
    """Kill the worker that runs this part: once, where there is no mark yet, or every time."""
    if part.rows.number == 5 and not (only and mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return [part.rows.number]


def failing(part):
    if part.rows.number == 3:
        raise ZeroDivisionError("no such thing\nand more")
    return [part.rows.number]


def refusal(workers, trace, function, kind=RoutestatError):
    with pytest.raises(kind) as caught:
        workers.run(trace, function, list.__add__)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_workers_count_what_one_process_counts(workers, trace):
    spread, done = TraceOnWorkers(trace, workers), []
    spread.check()
    assert same_counts(count(trace), count(spread, progress=lambda *at: done.append(at)))
    assert done == [(place, 8) for place in range(1, 9)]
    first, second = take_sample(trace), take_sample(spread)
    assert first.document.tolist() == second.document.tolist()


def test_results_keep_the_order_of_the_parts(workers, trace):
    assert workers.run(trace, rows, list.__add__) == list(range(1, 9))


def test_a_worker_that_is_killed_is_replaced_and_its_part_counted_again(workers, trace, tmp_path):
    mark = tmp_path / "mark"
    assert workers.run(trace, partial(killing, mark=mark, only=True), list.__add__) == list(range(1, 9))
    assert mark.exists()
    assert same_counts(count(trace), count(TraceOnWorkers(trace, workers)))


def test_a_part_that_always_fails_is_one_line(workers, trace):
    said = refusal(workers, trace, failing)
    assert said == "part 3/8 failed on the workers (ZeroDivisionError: no such thing)"


def test_a_trace_that_workers_do_not_see(workers, trace, tmp_path):
    (tmp_path / "t").rename(tmp_path / "elsewhere")
    assert "does not see this trace; put it where all workers see it" in refusal(
        workers, trace, rows, TraceError
    )
    write_store(tmp_path / "t", seed=3)
    assert "sees another trace there; use one copy for all" in refusal(workers, trace, rows, TraceError)


def test_a_shard_that_vanishes_is_named(workers, trace, tmp_path):
    (tmp_path / "t" / "shard-00002.arrow").unlink()
    with pytest.raises(TraceError, match=r"shard-00002\.arrow: no longer there"):
        count(TraceOnWorkers(trace, workers))


def test_a_part_that_kills_every_worker_is_one_line(workers, trace, tmp_path, monkeypatch):
    monkeypatch.setattr(workers._client.cluster.scheduler, "allowed_failures", 0)
    said = refusal(workers, trace, partial(killing, mark=tmp_path / "mark", only=False))
    # Dask also gives up parts that waited for the same worker.
    assert re.match(r"part \d/8: the workers it was given to died, 1 in all; give workers more memory", said)


def test_workers_of_a_running_scheduler(workers, trace):
    with cluster.workers_of(workers._client.scheduler.address) as found:
        assert same_counts(count(trace), count(TraceOnWorkers(trace, found)))


def test_a_scheduler_that_does_not_answer_or_has_no_workers(workers, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    monkeypatch.setattr(cluster, "FIRST_WORKER", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense", "ftp://127.0.0.1:9"):
        with (
            pytest.raises(RoutestatError, match="no Dask scheduler answers") as caught,
            cluster.workers_of(address),
        ):
            pass
        assert str(caught.value).startswith(f"--scheduler {address}: ")
    one = next(iter(workers._client.nthreads()))
    with pytest.raises(RoutestatError, match="of a scheduler, got that of a Worker"), cluster.workers_of(one):
        pass
    with LocalCluster(n_workers=0, dashboard_address=":0") as empty:
        address = empty.scheduler_address
        with pytest.raises(RoutestatError, match="it has no workers after"), cluster.workers_of(address):
            pass
