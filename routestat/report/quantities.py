"""Bytes and seconds as text, with the unit that suits their size."""

import math
from collections.abc import Callable

from routestat.report.numbers import NONE, number

#: Decimal units, as bandwidths and memories are sold.
_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def data_size(value: float | None, digits: int = 3) -> str:
    """Format a number of bytes: ``1.76 GB``; – where undefined."""
    return _scaled(value, digits, _BYTES, "bytes")


def duration(value: float | None, digits: int = 3) -> str:
    """Format a number of seconds: ``3.52 ms``; – where undefined."""
    return _scaled(value, digits, _SECONDS, "s")


def between(low: float, high: float, words: Callable[[float], str]) -> str:
    """Format limits with their unit once, if it is the same: ``34.4 … 36.0 ms``.

    Parameters
    ----------
    low, high : float
    words : callable(float)
        Formats a value, such as `data_size`.
    """
    first, last = words(low), words(high)
    _, _, unit = last.partition(" ")
    return f"{first.removesuffix(f' {unit}') if unit else first} … {last}"


def _scaled(value: float | None, digits: int, units: tuple[tuple[float, str], ...], otherwise: str) -> str:
    if value is None or not math.isfinite(value):
        return NONE
    for size, unit in units:
        # Rounded first: 999.9 kB with three digits is 1 MB.
        if abs(float(f"{value:.{digits - 1}e}")) >= size:
            return f"{number(value / size, digits)} {unit}"
    if otherwise == "s" and value:
        return f"{number(value * 1e9, digits)} ns"
    return f"{number(value, digits)} {otherwise}"
