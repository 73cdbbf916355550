"""Compiled exponentials and elementary symmetric polynomials, for a block of tokens along the last axis.

A row of a block is one operation of the processor's vector unit for several tokens. The polynomials take experts four
at a time, which saves three of four times that sums are loaded and stored.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, inlined, within

_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
#: Added to a number, it leaves the nearest whole number in the last bits.
_ROUND = 6755399441055744.0


@inlined
def exponential(row: Array, work: Array) -> None:  # pragma: no cover - compiled
    """Replace numbers below 700 by their exponentials, those below −700 by nearly zero; `work` holds two rows.

    exp x = 2ⁿ exp r with |r| ≤ ln 2 / 2 and Taylor's polynomial of degree 13: relative errors below 4·10⁻¹⁶. A call
    of the library for each number would cost several times as much.
    """
    whole, scale = work[0], work[1]
    bits, power = whole.view(np.int64), scale.view(np.int64)
    for b in range(len(row)):
        whole[b] = max(row[b], -700.0) * _LOG2E + _ROUND
    for b in range(len(row)):
        power[b] = (bits[b] + 1023) << 52
    for b in range(len(row)):
        n = whole[b] - _ROUND
        r = max(row[b], -700.0) - n * _LN2_HIGH - n * _LN2_LOW
        p = 1.6059043836821613e-10
        p = p * r + 2.08767569878681e-09
        p = p * r + 2.505210838544172e-08
        p = p * r + 2.755731922398589e-07
        p = p * r + 2.7557319223985893e-06
        p = p * r + 2.48015873015873e-05
        p = p * r + 0.0001984126984126984
        p = p * r + 0.001388888888888889
        p = p * r + 0.008333333333333333
        p = p * r + 0.041666666666666664
        p = p * r + 0.16666666666666666
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        row[b] = p * scale[b]


@within
def take_four(weights: Array, at: int, work: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Multiply the polynomials ``out[degree, lane]`` by those of four experts, the rows from `at` on of the weights.

    `work` has four rows.
    """
    elementary(weights, at, work)
    advance(work, out)


@inlined
def elementary(weights: Array, at: int, out: Array) -> None:  # pragma: no cover - compiled
    """Elementary symmetric polynomials ``out[degree − 1, lane]`` of four rows of weights."""
    u, v, x, y = weights[at], weights[at + 1], weights[at + 2], weights[at + 3]
    one, two, three, four = out[0], out[1], out[2], out[3]
    for b in range(len(u)):
        left, right = u[b] + v[b], x[b] + y[b]
        pair, other = u[b] * v[b], x[b] * y[b]
        one[b] = left + right
        two[b] = pair + other + left * right
        three[b] = pair * right + other * left
        four[b] = pair * other


@inlined
def advance(four: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Multiply the polynomials ``out[degree, lane]`` by those of four experts."""
    degree, lanes = len(out) - 1, out.shape[1]
    for m in range(degree, 3, -1):
        for i in range(lanes):
            out[m, i] += (
                four[0, i] * out[m - 1, i]
                + four[1, i] * out[m - 2, i]
                + four[2, i] * out[m - 3, i]
                + four[3, i] * out[m - 4, i]
            )
    if degree > 2:
        for i in range(lanes):
            out[3, i] += four[0, i] * out[2, i] + four[1, i] * out[1, i] + four[2, i]
    if degree > 1:
        for i in range(lanes):
            out[2, i] += four[0, i] * out[1, i] + four[1, i]
    for i in range(lanes):
        out[1, i] += four[0, i]


@inlined
def leave_four(first: Array, last: Array, rest: Array) -> None:  # pragma: no cover - compiled
    """Combine the experts before and after four: ``rest[d]`` is their polynomial of degree k − 1 − d."""
    lanes = rest.shape[1]
    top_k = len(last) - 1
    rest[:] = 0.0
    for d in range(min(4, top_k)):
        degree = top_k - 1 - d
        for s in range(0, degree, 2):
            for b in range(lanes):
                rest[d, b] += first[s, b] * last[degree - s, b] + first[s + 1, b] * last[degree - s - 1, b]
        if degree % 2 == 0:
            for b in range(lanes):
                rest[d, b] += first[degree, b] * last[0, b]


@inlined
def included(
    weight: Array, at: int, rest: Array, whole: Array, given: Array
) -> None:  # pragma: no cover - compiled
    """Probabilities of inclusion of four experts, in ``given[at … at + 3]``: sums of positive terms."""
    lanes = given.shape[1]
    for i in range(4):
        own, row = weight[at + i], given[at + i]
        u, v, w = weight[at + (i + 1) % 4], weight[at + (i + 2) % 4], weight[at + (i + 3) % 4]
        alone, fewer = rest[0], rest[1]
        # In two loops, because the compiler keeps rows apart in a loop of few only.
        for b in range(lanes):
            row[b] = alone[b] + (u[b] + v[b] + w[b]) * fewer[b]
        fewer, least = rest[2], rest[3]
        for b in range(lanes):
            row[b] += (u[b] * v[b] + (u[b] + v[b]) * w[b]) * fewer[b] + u[b] * v[b] * w[b] * least[b]
        for b in range(lanes):
            row[b] = own[b] * row[b] / whole[b]


@within
def inclusion_of_block(
    weight: Array, work: Array, first: Array, last: Array, given: Array
) -> None:  # pragma: no cover - compiled
    """Probabilities of inclusion ``given[expert, lane]``, by sums of positive terms, which cannot cancel.

    The number of experts in `weight` ``[expert, lane]`` is a multiple of four; those that do not exist have weight
    zero. `work` has eight rows. Fills `first` ``[four, degree, lane]`` with the polynomials of the experts before
    each four; those of all are in its last row. `last` is as long, for those of the experts after them.
    """
    four, rest = work[:4], work[4:8]
    fours, degrees, lanes = len(first) - 1, first.shape[1], first.shape[2]
    first[0] = 0.0
    first[0, 0] = 1.0
    last[:] = 0.0
    last[0] = 1.0
    for q in range(fours):
        for s in range(degrees):
            for b in range(lanes):
                first[q + 1, s, b] = first[q, s, b]
        take_four(weight, 4 * q, four, first[q + 1])
    for q in range(fours - 1, -1, -1):
        leave_four(first[q], last, rest)
        included(weight, 4 * q, rest, first[fours, degrees - 1], given)
        take_four(weight, 4 * q, four, last)


@within
def turn(rows: Array, across: Array) -> None:  # pragma: no cover - compiled
    """Write ``rows[lane, expert]`` as ``across[expert, lane]``, eight experts at a time."""
    lanes, n = rows.shape
    for first in range(0, n - n % 8, 8):
        for b in range(lanes):
            for j in range(8):
                across[first + j, b] = rows[b, first + j]
    for j in range(n - n % 8, n):
        for b in range(lanes):
            across[j, b] = rows[b, j]


@within
def nth_largest(numbers: Array, n: int) -> float:  # pragma: no cover - compiled
    """Return the n-th largest number; equal ones count several times."""
    for j in range(len(numbers)):
        above, same = 0, 0
        for i in range(len(numbers)):
            above += numbers[i] > numbers[j]
            same += numbers[i] == numbers[j]
        if above < n <= above + same:
            return numbers[j]
    return np.nan


@inlined
def base_of(logs: Array, top_k: int, limit: float) -> float:  # pragma: no cover - compiled
    """Return what log weights are taken relative to, so that neither products of k nor their sum leave a double.

    The largest where all are close to it, otherwise the k-th largest.
    """
    least = most = logs[0]
    for e in range(1, len(logs)):
        least, most = min(least, logs[e]), max(most, logs[e])
    return nth_largest(logs, top_k) if (most - least) * top_k > limit else most
