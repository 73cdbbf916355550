"""Progress: of the whole run where its stages are known, and never more than one line every few seconds."""

import io

import pytest
from rich.console import Console

from routestat.cli.progress_bars import EVERY, ProgressBars, words_of_seconds


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def bars_on(clock, terminal=False):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100)
    return ProgressBars(console, clock), text


def test_lines_come_every_few_seconds_and_count_the_whole_run(clock):
    bars, text = bars_on(clock)
    with bars:
        bars.expect({"counting": 10.0, "fitting": 30.0})
        for second in range(1, 11):
            clock.now = 100.0 + second
            bars("counting", second, 10)
        for second in range(1, 31):
            clock.now = 110.0 + second
            bars("fitting", second, 30)
    lines = text.getvalue().splitlines()
    assert len(lines) == 40 / EVERY
    assert lines[0] == "12 % done, about 35 s left: counting, 5 of 10"
    assert lines[1] == "25 % done, about 30 s left: counting, 10 of 10"
    assert lines[-1] == "100 % done, about 0 s left: fitting, 30 of 30"


def test_the_time_left_follows_the_speed_that_was_found(clock):
    bars, text = bars_on(clock)
    with bars:
        bars.expect({"counting": 10.0, "fitting": 30.0})
        # Three times as slow as expected.
        clock.now = 130.0
        bars("counting", 10, 10)
    # (30 + 2) / (10 + 2) times the 30 expected seconds that are left; 30 s of those 110 are over.
    assert text.getvalue() == "27 % done, about 1 min 20 s left: counting, 10 of 10\n"


def test_a_stage_that_takes_far_longer_than_expected_has_its_own_time_left(clock):
    bars, text = bars_on(clock)
    with bars:
        bars.expect({"counting": 10.0, "fitting": 1.0, "mapping": 1000.0})
        clock.now += 10
        bars("counting", 10, 10)
        clock.now += 250
        bars("fitting", 5, 10)
    found = text.getvalue().splitlines()[-1]
    # Fitting has 248 s left: 500 times 0.5 s with weight 250 of 252, or once. Mapping: (10 + 4 · 2.5 + 2) / (10.5 + 2)
    # times 1000 s.
    assert found == "11 % done, about 33 min 28 s left: fitting, 5 of 10"


def test_stages_that_take_turns_are_timed_apart(clock):
    bars, text = bars_on(clock)
    with bars:
        bars.expect({"counting": 20.0, "fitting": 20.0})
        for part in range(1, 3):
            clock.now += 5
            bars("counting", part, 4)
            clock.now += 20
            bars("fitting", part, 4)
    # Counting takes what was expected, fitting four times that; each also has a little of the other's slowness.
    assert "about 53 s left: fitting, 2 of 4" in text.getvalue().splitlines()[-1]


def test_the_share_never_falls_where_a_stage_begins_again(clock):
    bars, text = bars_on(clock)
    with bars:
        bars.expect({"counting": 10.0, "fitting": 10.0})
        clock.now += 10
        bars("counting", 8, 10)
        clock.now += 10
        bars("counting", 1, 10)
    shares = [int(line.split(" %")[0]) for line in text.getvalue().splitlines()]
    assert shares == [40, 41]


def test_without_a_plan_a_stage_has_its_own_time_left(clock):
    bars, text = bars_on(clock)
    with bars:
        bars("reading", 0, 100)
        clock.now += 6
        bars("reading", 25, 100)
    assert text.getvalue() == "25 % done, about 18 s left: reading, 25 of 100\n"


def test_short_runs_print_nothing(clock):
    bars, text = bars_on(clock)
    with bars:
        clock.now += EVERY - 0.1
        bars("reading", 1, 2)
    assert text.getvalue() == ""


def test_a_terminal_shows_the_whole_run_and_the_stage(clock):
    bars, text = bars_on(clock, terminal=True)
    with bars:
        bars.expect({"counting": 10.0, "fitting": 30.0})
        clock.now += 10
        bars("counting", 10, 10)
        bars("fitting", 3, 30)
        bars._bars.refresh()
    shown = text.getvalue()
    assert "in all" in shown
    # (10 + 2) / (13 + 2) times the 27 expected seconds that are left.
    assert "about 22 s left" in shown
    assert "3 of 30" in shown


def test_times_in_words():
    assert [words_of_seconds(s) for s in (0.4, 59.4, 61, 3725)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 2 min",
    ]
