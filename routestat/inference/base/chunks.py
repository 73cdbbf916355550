"""Long axes taken in parts, so that temporary arrays take little memory whatever the table's width."""

from collections.abc import Iterator

#: Numbers of one temporary array: 32 MB in double precision.
CELLS = 4_000_000


def chunks(length: int, cells: int) -> Iterator[slice]:
    """Yield slices of an axis of this length, each place of which takes so many cells."""
    step = max(1, CELLS // max(1, cells))
    yield from (slice(first, min(first + step, length)) for first in range(0, length, step))
