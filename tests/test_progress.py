import threading
import time
from contextlib import suppress

import pyarrow as pa
import pytest

from routestat.progress import in_threads, limited_threads, over_threads, silent, thread_pool


@pytest.mark.parametrize("threads", [None, 1, 2, 5])
def test_results_keep_the_order_of_the_jobs(threads):
    def job(number):
        time.sleep(0.001 * (8 - number))
        return number * number

    results = in_threads([lambda n=n: job(n) for n in range(8)], threads)
    assert results == tuple(n * n for n in range(8))


def test_no_jobs_have_no_results():
    assert in_threads([], 4) == ()


@pytest.mark.parametrize("threads", [1, 3])
def test_every_job_is_reported_once_from_the_callers_thread(threads):
    ticks = []

    def tick(what, done, total):
        ticks.append((what, done, total, threading.current_thread()))

    in_threads([int] * 6, threads, tick, "counting")
    here = threading.current_thread()
    assert ticks == [("counting", done, 6, here) for done in range(1, 7)]


def test_one_thread_is_the_callers_own():
    assert set(in_threads([threading.get_ident] * 4, 1)) == {threading.get_ident()}


def test_several_threads_run_at_the_same_time():
    barrier = threading.Barrier(3, timeout=30)
    assert sorted(in_threads([barrier.wait] * 3, 3)) == [0, 1, 2]


def test_no_more_threads_run_than_were_given():
    running, most, lock = 0, 0, threading.Lock()

    def job():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    in_threads([job] * 20, 2)
    assert most == 2


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_of_a_job_passes_through_and_the_rest_is_not_begun(threads, error):
    begun = []

    def job(number):
        begun.append(number)
        if number == 0:
            raise error("no")
        time.sleep(0.05)

    with pytest.raises(error):
        in_threads([lambda n=n: job(n) for n in range(200)], threads)
    assert len(begun) < 100


def test_an_interrupt_of_the_caller_cancels_what_has_not_begun():
    begun = []

    def job():
        begun.append(1)
        time.sleep(0.01)

    def tick(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads([job] * 200, 2, tick)
    assert len(begun) < 100


def test_silent_reports_nothing(capsys):
    silent("counting", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_pool_of_one_thread_is_the_caller_s():
    with thread_pool(1) as pool:
        assert pool.submit(threading.get_ident).result() == threading.get_ident()
        failed = pool.submit(int, "x")
        with pytest.raises(ValueError, match="invalid literal"):
            failed.result()
    with thread_pool(2) as pool:
        assert pool.submit(threading.get_ident).result() != threading.get_ident()


@pytest.mark.parametrize("threads", [None, 1, 2, 5])
def test_results_over_threads_come_in_the_order_of_the_jobs(threads):
    def job(number):
        time.sleep(0.001 * (number * 5 % 7))
        return number * number

    assert list(over_threads((lambda n=n: job(n) for n in range(9)), threads)) == [n * n for n in range(9)]


@pytest.mark.parametrize("threads", [1, 3])
def test_jobs_are_not_taken_far_ahead_of_their_results(threads):
    taken = []

    def jobs():
        for number in range(40):
            taken.append(number)
            yield lambda n=number: n

    for number in over_threads(jobs(), threads):
        assert len(taken) <= number + 2 * threads
    assert len(taken) == 40


def test_jobs_over_threads_run_at_the_same_time():
    barrier = threading.Barrier(3, timeout=30)
    assert len(list(over_threads([barrier.wait] * 3, 3))) == 3


@pytest.mark.parametrize("threads", [1, 3])
def test_the_exception_of_a_job_ends_the_others(threads):
    ran = []

    def job(number):
        if number == 2:
            raise ValueError("third")
        time.sleep(0.01)
        ran.append(number)

    with pytest.raises(ValueError, match="third"):
        list(over_threads((lambda n=n: job(n) for n in range(60)), threads))
    assert len(ran) < 20


@pytest.mark.parametrize(("threads", "inside"), [(None, 6), (1, 1), (4, 4), (9, 6)])
def test_limited_threads_are_those_before_afterwards(threads, inside):
    before = pa.cpu_count()
    pa.set_cpu_count(6)
    try:
        with suppress(KeyError), limited_threads(threads):
            assert pa.cpu_count() == inside
            raise KeyError
        assert pa.cpu_count() == 6
    finally:
        pa.set_cpu_count(before)
