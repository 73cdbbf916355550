"""Bytes, bandwidths and times as they are typed: ``88MB``, ``25GB/s``, ``0.2ms``."""

import math
import re

from routestat.errors import RoutestatError

_DECIMAL = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
_BINARY = {"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}
_BYTES = {"b": 1.0, **_DECIMAL, **_BINARY}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}
#: A bandwidth without a unit is GB/s below this, and bytes per second from it on.
MOST_GIGABYTES = 100_000.0


def parse_bytes(text: str, option: str) -> float:
    """Read bytes from ``352321536``, ``88MB`` or ``84MiB``.

    Parameters
    ----------
    text, option : str
        What was typed, and for the message the option's name.

    Raises
    ------
    RoutestatError
        If it is no such number, or not above zero.
    """
    number, unit = _number_and_unit(text, option, "bytes, such as 352321536 or 88MB")
    if unit and unit not in _BYTES:
        raise RoutestatError(f"{option}: expected a unit among kB, MB, GB, KiB, MiB and GiB, got {text!r}")
    return _positive(number * _BYTES.get(unit, 1.0), text, option)


def parse_bandwidth(text: str, option: str) -> float:
    """Read bytes per second from ``25`` (GB/s), ``25GB/s`` or ``25000000000``.

    Raises
    ------
    RoutestatError
        As for `parse_bytes`.
    """
    number, unit = _number_and_unit(text, option, "a bandwidth, such as 25 (GB/s) or 900MB/s")
    if not unit:
        return _positive(number * (1e9 if number < MOST_GIGABYTES else 1.0), text, option)
    size = unit.removesuffix("/s").removesuffix("ps")
    if size not in _BYTES:
        raise RoutestatError(f"{option}: expected a unit such as GB/s, MB/s or GiB/s, got {text!r}")
    return _positive(number * _BYTES[size], text, option)


def parse_seconds(text: str, option: str, *, zero: bool = False) -> float:
    """Read seconds from ``0.2ms``, ``300us``, ``1s`` or a number of milliseconds.

    Parameters
    ----------
    text, option : str
    zero : bool
        Whether no time at all is allowed.

    Raises
    ------
    RoutestatError
        If it is no such number, or not above zero.
    """
    number, unit = _number_and_unit(text, option, "a time, such as 0.2ms or 300us")
    if unit and unit not in _SECONDS:
        raise RoutestatError(f"{option}: expected a unit among s, ms and us, got {text!r}")
    if zero and number == 0:
        return 0.0
    return _positive(
        number * _SECONDS.get(unit, 1e-3), text, option, "zero or more" if zero else "more than zero"
    )


def _number_and_unit(text: str, option: str, example: str) -> tuple[float, str]:
    found = re.fullmatch(r"\s*([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*([a-zµμ/]*)\s*", text.lower())
    try:
        if found is None:
            raise ValueError
        return float(found[1]), found[2]
    except ValueError:
        raise RoutestatError(f"{option}: expected {example}, got {text!r}") from None


def _positive(value: float, text: str, option: str, expected: str = "more than zero") -> float:
    if not 0 < value < math.inf:
        raise RoutestatError(f"{option}: expected {expected}, got {text!r}")
    return value
