"""Compiled inclusion and pair probabilities of many conditional-Bernoulli distributions at once."""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, inlined
from routestat.counting.kernels.symmetric import inclusion_of_block, turn

#: Distributions of a block.
LANES = 64


@compiled
def inclusion_of_weights(weights: Array, top_k: int, out: Array) -> None:  # pragma: no cover - compiled
    """P(expert included) ``out[row, expert]`` of finite ``weights[row, expert]``, by sums of positive terms."""
    rows, n_experts = weights.shape
    fours = (n_experts + 3) // 4
    across, given = np.zeros((4 * fours, LANES)), np.empty((4 * fours, LANES))
    first, last = np.empty((fours + 1, top_k + 1, LANES)), np.empty((top_k + 1, LANES))
    work = np.empty((8, LANES))
    for begin in range(0, rows, LANES):
        held = min(LANES, rows - begin)
        turn(weights[begin : begin + held], across)
        inclusion_of_block(across, work, first, last, given)
        for b in range(held):
            for j in range(n_experts):
                out[begin + b, j] = given[j, b]


@compiled
def pairs_of_weights(
    weights: Array, top_k: int, begin: int, end: int, out: Array
) -> None:  # pragma: no cover - compiled
    """P(i and j included) ``out[row, pair]`` for begin <= i < end and j > i, of ``weights[row, expert]``.

    Weights are odds p / (1 - p) whose p sum to about k, which must be 2 or more. One expert is left out by sums of
    positive terms, the other one, of p <= 1/2, by dividing by its factor, which does not amplify rounding errors.
    """
    rows, n = weights.shape
    head, tail = np.zeros((n + 1, top_k + 1)), np.zeros((n + 1, top_k + 1))
    rest, both, few = np.empty((n, top_k - 1)), np.empty(n), np.empty(top_k - 1)
    heavy = np.empty(n, np.int64)
    head[0, 0] = tail[n, 0] = 1.0
    for r in range(rows):
        w = weights[r]
        for e in range(n):
            head[e + 1, 0] = 1.0
            for m in range(1, top_k + 1):
                head[e + 1, m] = head[e, m] + w[e] * head[e, m - 1]
        for e in range(n - 1, -1, -1):
            tail[e, 0] = 1.0
            for m in range(1, top_k - 1):
                tail[e, m] = tail[e + 1, m] + w[e] * tail[e + 1, m - 1]
        for e in range(n):
            for m in range(top_k - 1):
                total = 0.0
                for s in range(m + 1):
                    total += head[e, s] * tail[e + 1, m - s]
                rest[e, m] = total
        n_heavy = 0
        for e in range(n):
            if w[e] > 1.0:
                heavy[n_heavy] = e
                n_heavy += 1
        whole, at = head[n, top_k], 0
        for i in range(begin, end):
            for j in range(i + 1, n):
                both[j] = 1.0
            for m in range(1, top_k - 1):
                coefficient = rest[i, m]
                for j in range(i + 1, n):
                    both[j] = coefficient - w[j] * both[j]
            scale = w[i] / whole
            for h in range(n_heavy):
                j = heavy[h]
                if j > i:
                    both[j] = _without_two(w, i, j, few) if w[i] > 1.0 else _divided(rest[j], w[i])
            # Rounding may leave a probability of exactly zero slightly below it.
            for j in range(i + 1, n):
                out[r, at + j - i - 1] = max(scale * w[j] * both[j], 0.0)
            at += n - 1 - i


@inlined
def _divided(rest: Array, weight: float) -> float:  # pragma: no cover - compiled
    last = 1.0
    for m in range(1, len(rest)):
        last = rest[m] - weight * last
    return last


@inlined
def _without_two(weights: Array, i: int, j: int, out: Array) -> float:  # pragma: no cover - compiled
    """Elementary symmetric polynomial of the others, of the degree of the last of `out`."""
    out[:] = 0.0
    out[0] = 1.0
    for e in range(len(weights)):
        if e != i and e != j:
            for m in range(len(out) - 1, 0, -1):
                out[m] += weights[e] * out[m - 1]
    return out[len(out) - 1]
