"""Compiled loop over predictions ``[row, expert]``: the first experts of each, with their probabilities."""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, inlined
from routestat.counting.kernels.predictors import LANES
from routestat.counting.kernels.symmetric import base_of, exponential, inclusion_of_block, turn


@compiled
def first_experts(
    scores: Array, order: Array, link: int, top_k: int, experts: Array, chance: Array
) -> None:  # pragma: no cover - compiled
    """Find the experts that come first, and the probability that each is among the chosen ones.

    Parameters
    ----------
    scores, order : float array ``[row, expert]``
        What probabilities follow from, and what the experts are ordered by: the greatest first, the lower index before
        its equals, as `routestat.counting.kernels.predictors` orders them.
    link : int
        0: the probability of the expert at place p is set to 1 / (1 + p). 1: scores are probabilities. 2: scores are
        log weights of the conditional Bernoulli distribution.
    top_k : int
    experts : int array ``[row, place]``
        Filled; no more places than experts.
    chance : float array ``[row, place]``
        Filled.
    """
    n_experts, places = scores.shape[1], experts.shape[1]
    logs, across = np.zeros((LANES, n_experts)), np.zeros((n_experts + -n_experts % 4, LANES))
    first, last = np.empty((len(across) // 4 + 1, top_k + 1, LANES)), np.empty((top_k + 1, LANES))
    work, given, values = np.empty((8, LANES)), np.empty((len(across), LANES)), np.empty(places)
    limit = min(60.0, 650.0 / top_k)
    for begin in range(0, len(scores), LANES):
        held = min(LANES, len(scores) - begin)
        for b in range(held):
            t = begin + b
            _first(order[t], values, experts[t])
            if link < 2:
                for p in range(places):
                    x = scores[t, experts[t, p]]
                    chance[t, p] = min(max(x, 0.0), 1.0) if link == 1 else 1.0 / (1.0 + p)
                continue
            base = base_of(scores[t], top_k, limit)
            for e in range(n_experts):
                logs[b, e] = min(scores[t, e] - base, limit)
        if link < 2:
            continue
        turn(logs, across)
        for e in range(n_experts):
            exponential(across[e], work[:2])
        inclusion_of_block(across, work, first, last, given)
        for b in range(held):
            for p in range(places):
                chance[begin + b, p] = min(given[experts[begin + b, p], b], 1.0)


@inlined
def _first(order: Array, values: Array, experts: Array) -> None:  # pragma: no cover - compiled
    places, found = len(experts), 0
    for j in range(len(order)):
        x = order[j]
        if found == places and not x > values[places - 1]:
            continue
        at = found if found < places else places - 1
        while at > 0 and x > values[at - 1]:
            values[at], experts[at] = values[at - 1], experts[at - 1]
            at -= 1
        values[at], experts[at] = x, j
        found = min(found + 1, places)
