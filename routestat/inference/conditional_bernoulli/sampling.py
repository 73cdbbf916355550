"""Subsets of a conditional-Bernoulli distribution: the most probable ones, and draws."""

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, Integers, read_only

# Cells of one block of rows: bounds the temporaries, whatever the alphabet.
BLOCK_CELLS = 1 << 22


def check_experts(experts: Sequence[int], top_k: int, n_experts: int, layer: int) -> NDArray[np.int64]:
    """Return a set of experts ``[k]`` in ascending order, or raise RoutestatError if the layer cannot choose it."""
    given = np.atleast_1d(np.asarray(experts))
    whole = given.ndim == 1 and given.dtype.kind in "iu"
    chosen = np.unique(given).astype(np.int64) if whole else np.empty(0, np.int64)
    if len(chosen) != top_k or given.size != top_k or chosen[0] < 0 or chosen[-1] >= n_experts:
        raise RoutestatError(
            f"layer {layer} chooses {top_k} different experts of 0 … {n_experts - 1}, got {np.array2string(given)}"
        )
    return chosen


def best_subsets(log_weights: ArrayLike, top_k: int, n: int) -> Integers:
    """Find the n most probable subsets ``[n, k]`` for log weights ``[expert]``; all if there are fewer.

    The most probable comes first. With experts in descending order of weight, every subset but the first k follows
    from one at least as probable by moving one member one place down. A priority queue of such moves therefore
    visits the subsets in order.
    """
    theta = np.asarray(log_weights, np.float64)
    if n < 1:
        raise RoutestatError(f"subsets: expected one or more, got {n}")
    order = np.argsort(-theta, kind="stable")
    sorted_theta = theta[order].tolist()
    start = tuple(range(top_k))
    queue, met = [(-sum(sorted_theta[:top_k]), start)], {start}
    found: list[tuple[int, ...]] = []
    while queue and len(found) < n:
        _, places = heapq.heappop(queue)
        found.append(places)
        for at, place in enumerate(places):
            limit = places[at + 1] if at + 1 < top_k else len(sorted_theta)
            moved = (*places[:at], place + 1, *places[at + 1 :])
            if place + 1 < limit and moved not in met:
                met.add(moved)
                heapq.heappush(queue, (-sum(sorted_theta[p] for p in moved), moved))
    return read_only(np.sort(order[np.array(found)], axis=1))


def draw_subsets(log_weights: Floats, top_k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw one subset ``[row, slot]``, ascending, for every row of log weights ``[row, expert]``; exact.

    Experts are included one after the other with their probability given how many are still to be included.
    """
    rows, n_experts = log_weights.shape
    drawn = np.zeros((rows, top_k), np.int64)
    block = max(1, BLOCK_CELLS // ((n_experts + 1) * (top_k + 1)))
    limit = min(60.0, 650.0 / top_k)
    for start in range(0, rows, block):
        theta = log_weights[start : start + block]
        pivot = np.partition(theta, n_experts - top_k, axis=1)[:, n_experts - top_k, None]
        weight = np.exp(np.clip(theta - pivot, -limit, limit))
        # The summed weight of the subsets of m of the experts from e on.
        tails = np.zeros((n_experts + 1, len(theta), top_k + 1))
        tails[:, :, 0] = 1.0
        for e in range(n_experts - 1, -1, -1):
            tails[e, :, 1:] = tails[e + 1, :, 1:] + weight[:, e, None] * tails[e + 1, :, :-1]
        left, row = np.full(len(theta), top_k), np.arange(len(theta))
        for e in range(n_experts):
            some = np.maximum(left, 1)
            # When as many experts as slots remain the probability is one: the sum has a single term.
            chance = weight[:, e] * tails[e + 1, row, some - 1] / np.maximum(tails[e, row, some], 1e-300)
            taken = np.flatnonzero((rng.random(len(theta)) < chance) & (left > 0))
            drawn[start + taken, top_k - left[taken]] = e
            left[taken] -= 1
    return drawn
