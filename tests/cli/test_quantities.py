"""Bytes, bandwidths and times as they are typed."""

import pytest

from routestat.cli.quantities import parse_bandwidth, parse_bytes, parse_seconds
from routestat.errors import RoutestatError


@pytest.mark.parametrize(
    ("text", "value"),
    [("352321536", 352321536), ("88MB", 88e6), ("88 mb", 88e6), ("1.5GiB", 1.5 * 2**30), ("2kB", 2000), ("7B", 7),
     ("1e3", 1000)],
)  # fmt: skip
def test_bytes(text, value):
    assert parse_bytes(text, "--expert-bytes") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("25", 25e9), ("0.5", 5e8), ("99999", 99999e9), ("100000", 1e5), ("25e9", 25e9), ("25GB/s", 25e9),
     ("900 MB/s", 9e8), ("1GiB/s", 2**30), ("25GBps", 25e9), ("25GB", 25e9)],
)  # fmt: skip
def test_bandwidths(text, value):
    assert parse_bandwidth(text, "--bandwidth") == value


@pytest.mark.parametrize(
    ("text", "value"), [("0.2ms", 2e-4), ("300us", 3e-4), ("300µs", 3e-4), ("2", 2e-3), ("1s", 1.0)]
)
def test_times(text, value):
    assert parse_seconds(text, "--compute") == pytest.approx(value)


def test_no_time_only_where_it_is_allowed():
    assert parse_seconds("0", "--compute", zero=True) == 0
    with pytest.raises(RoutestatError, match="--stall-budget: expected more than zero, got '0ms'"):
        parse_seconds("0ms", "--stall-budget")
    with pytest.raises(RoutestatError, match="--compute: expected zero or more, got '-1ms'"):
        parse_seconds("-1ms", "--compute", zero=True)


@pytest.mark.parametrize("parse", [parse_bytes, parse_bandwidth, parse_seconds])
@pytest.mark.parametrize("text", ["", "ten", "-3", "nan", "1e999", "1..2", "5 lightyears", "0"])
def test_what_is_no_quantity_is_refused(parse, text):
    with pytest.raises(RoutestatError, match=r"--x: expected .*, got"):
        parse(text, "--x")
