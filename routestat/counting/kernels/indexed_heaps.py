"""Heaps of experts that know where each expert is: the least valuable one on top.

All heaps are parts of one array. ``place[expert]`` is the place in the heap that holds the expert, −1 outside. An
expert is worth less than another if its value is smaller or, with equal values, if its last use is longer ago.
"""

from routestat.counting.kernels.compiling import Array, within


@within
def worth_less(value: Array, last: Array, a: int, b: int) -> bool:  # pragma: no cover - compiled
    """Whether expert `a` is worth less than `b`."""
    return value[a] < value[b] or (value[a] == value[b] and last[a] < last[b])


@within
def rise(heap: Array, place: Array, value: Array, last: Array, base: int, at: int) -> int:  # pragma: no cover
    """Move the expert at place `at` of the heap that begins at `base` towards the top; return its new place."""
    own = heap[base + at]
    while at > 0:
        parent = (at - 1) >> 1
        other = heap[base + parent]
        if not worth_less(value, last, own, other):
            break
        heap[base + at], place[other] = other, at
        at = parent
    heap[base + at], place[own] = own, at
    return at


@within
def sink(
    heap: Array, place: Array, value: Array, last: Array, base: int, at: int, size: int
) -> None:  # pragma: no cover - compiled
    """Move the expert at place `at` of a heap of `size` experts away from the top."""
    own = heap[base + at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and worth_less(value, last, heap[base + child + 1], heap[base + child]):
            child += 1
        other = heap[base + child]
        if not worth_less(value, last, other, own):
            break
        heap[base + at], place[other] = other, at
        at = child
    heap[base + at], place[own] = own, at


@within
def put(
    heap: Array, place: Array, value: Array, last: Array, base: int, size: int, expert: int
) -> int:  # pragma: no cover - compiled
    """Add an expert, or move one whose value or last use has changed; return the size."""
    at = place[expert]
    if at < 0:
        heap[base + size] = expert
        rise(heap, place, value, last, base, size)
        return size + 1
    at = rise(heap, place, value, last, base, at)
    sink(heap, place, value, last, base, at, size)
    return size


@within
def take_least(
    heap: Array, place: Array, value: Array, last: Array, base: int, size: int
) -> int:  # pragma: no cover - compiled
    """Remove and return the least valuable expert of a heap of `size` experts."""
    least, moved = heap[base], heap[base + size - 1]
    place[least] = -1
    if size > 1:
        heap[base], place[moved] = moved, 0
        sink(heap, place, value, last, base, 0, size - 1)
    return least


@within
def order_anew(
    heap: Array, place: Array, value: Array, last: Array, base: int, size: int
) -> None:  # pragma: no cover - compiled
    """Make a heap of experts whose values have changed."""
    for at in range(size // 2 - 1, -1, -1):
        sink(heap, place, value, last, base, at, size)
