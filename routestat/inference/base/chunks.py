"""Long axes taken in parts, so that temporary arrays take little memory whatever the table's width."""

from collections.abc import Iterator

#: Numbers of one temporary array: 32 MB in double precision.
CELLS = 4_000_000

#: Of one that is multiplied with its transpose: 2 MB. The product takes as long to be made symmetric and added as one
#: of a hundred columns or so.
MULTIPLIED = 262_144


def chunks(length: int, cells: int, at_once: int | None = None) -> Iterator[slice]:
    """Yield slices of an axis of this length, each place of which takes so many cells."""
    step = max(1, (at_once or CELLS) // max(1, cells))
    yield from (slice(first, min(first + step, length)) for first in range(0, length, step))
