"""Compiled loops over one-hot features: tokens that have two of them, and sums of their weights.

A block is a set of features of which a token has either a fixed number or none: ``members[row, slot]`` holds their
numbers within the block, or −1 in the first slot where the token has none.
"""

import numpy as np
from numba import types
from numba.extending import intrinsic

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def add_pairs(
    first: Array, second: Array, start: int, stop: int, at: int, to: int, pairs: Array
) -> None:  # pragma: no cover - compiled
    """Count the rows ``start … stop − 1`` by a feature of each of two blocks, in ``pairs[at + i, to + j]``."""
    one = pairs.dtype.type(1)
    for t in range(start, stop):
        if first[t, 0] < 0 or second[t, 0] < 0:
            continue
        for a in range(first.shape[1]):
            x = at + first[t, a]
            for b in range(second.shape[1]):
                pairs[x, to + second[t, b]] += one


@compiled
def add_weights(
    members: Array, start: int, stop: int, weights: Array, at: int, out: Array
) -> None:  # pragma: no cover - compiled
    """Add the rows ``weights[at + feature]`` of the features of a block to ``out[row − start]``."""
    slots, width = members.shape[1], out.shape[1]
    even = slots - slots % 2
    for t in range(start, stop):
        if members[t, 0] < 0:
            continue
        row = t - start
        for s in range(0, even, 2):
            x, y = at + members[t, s], at + members[t, s + 1]
            for j in range(width):
                out[row, j] += weights[x, j] + weights[y, j]
        if even < slots:
            x = at + members[t, even]
            for j in range(width):
                out[row, j] += weights[x, j]


@compiled
def interpolate(
    values: Array, first: int, low: float, step: float, knots: Array, out: Array
) -> None:  # pragma: no cover - compiled
    """Write a piecewise linear function of ``values[row, first + j]`` to ``out[row, j]``.

    ``knots[i]`` is its value at ``low + i · step``; beyond the ends it goes on with the slope there.
    """
    last, scale = len(knots) - 2, 1.0 / step
    for t in range(len(out)):
        for j in range(out.shape[1]):
            x = (values[t, first + j] - low) * scale
            i = min(max(int(x), 0), last)
            out[t, j] = knots[i] + (knots[i + 1] - knots[i]) * (x - i)


@intrinsic
def _ones(typing: Array, word: Array) -> Array:  # pragma: no cover - compiled
    """Return the type and the instruction that counts the bits of a word."""

    def generate(context: Array, builder: Array, signature: Array, arguments: Array) -> Array:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@compiled
def pack(members: Array, start: int, stop: int, bits: Array) -> None:  # pragma: no cover - compiled
    """Set bit ``row − start`` of ``bits[feature, word]`` for the features of a block."""
    for t in range(start, stop):
        if members[t, 0] < 0:
            continue
        word, bit = (t - start) >> 6, np.uint64(1) << np.uint64((t - start) & 63)
        for s in range(members.shape[1]):
            bits[members[t, s], word] |= bit


@compiled
def add_common_bits(
    first: Array, second: Array, at: int, to: int, pairs: Array
) -> None:  # pragma: no cover - compiled
    """Add the number of bits that two features share to ``pairs[at + i, to + j]``."""
    words = first.shape[1]
    for i in range(len(first)):
        for j in range(len(second)):
            n = np.uint64(0)
            for w in range(words):
                n += _ones(first[i, w] & second[j, w])
            pairs[at + i, to + j] += pairs.dtype.type(n)
