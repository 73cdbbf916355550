"""Random steps and predictions for tests of replayed caches."""

from itertools import pairwise

import numpy as np

from routestat.forecast.kept_predictions import KeptPredictions
from routestat.serving.steps import Steps
from routestat.traces.metadata import Router


def steps_of(unions, n_experts, *, unit=None, first=None, phase=None):
    """Return steps of one token each at one layer, with these experts."""
    n, k = len(unions), max(len(union) for union in unions)
    choices = np.full((n, 1, k), -1, np.int16)
    for t, union in enumerate(unions):
        choices[t, 0, : len(union)] = sorted(union)
    return many_steps(
        choices, (Router(0, n_experts, k),), np.arange(n + 1), unit=unit, first=first, phase=phase
    )


def many_steps(choices, routers, start, *, unit=None, first=None, phase=None, next_row=None, row=None):
    """Return steps with these choices ``[token, layer, slot]``; all tokens are of one document by default."""
    n, n_steps = len(choices), len(start) - 1
    unit = np.zeros(n_steps, np.int32) if unit is None else np.asarray(unit, np.int32)
    phase = np.zeros(n_steps, np.int8) if phase is None else np.asarray(phase, np.int8)
    n_units = int(unit.max()) + 1
    if first is None:
        first = np.r_[True, unit[1:] != unit[:-1]]
    tokens = np.zeros((n_units, 2), np.int64)
    np.add.at(tokens, (unit, phase), np.diff(start))
    return Steps(
        tuple(routers), choices, np.arange(n) if row is None else row,
        np.append(np.arange(1, n), -1) if next_row is None else next_row,
        np.asarray(start, np.int64), phase, unit, np.asarray(first), n_units, 1, 1, tokens,
        np.ones(n_units, np.int64), 0,
    )  # fmt: skip


def random_steps(seed, *, n_steps=40, most=3, routers=None, missing=0.1):
    """Return steps of one to `most` tokens, with units, batches, phases and missing choices; two sizes of layers."""
    rng = np.random.default_rng(seed)
    routers = routers or (Router(0, 6, 2), Router(3, 9, 3), Router(4, 6, 2), Router(7, 6, 1))
    start = np.append(0, np.cumsum(rng.integers(1, most + 1, n_steps)))
    n = int(start[-1])
    choices = np.full((n, len(routers), max(router.top_k for router in routers)), -1, np.int16)
    for place, router in enumerate(routers):
        favoured = rng.dirichlet(np.ones(router.n_experts))
        for t in range(n):
            if rng.random() >= missing:
                own = rng.choice(
                    router.n_experts,
                    router.top_k,
                    replace=False,
                    p=(favoured + 0.05) / (1 + 0.05 * router.n_experts),
                )
                choices[t, place, : router.top_k] = np.sort(own)
    cuts = np.sort(rng.choice(np.arange(1, n_steps), 4, replace=False))
    unit = np.searchsorted(cuts, np.arange(n_steps), side="right")
    first = np.r_[True, unit[1:] != unit[:-1]] | (rng.random(n_steps) < 0.1)
    row = rng.permutation(n)
    next_row = np.where(rng.random(n) < 0.2, -1, rng.permutation(n))
    return many_steps(
        choices, routers, start, unit=unit, first=first, phase=rng.integers(0, 2, n_steps), row=row,
        next_row=next_row,
    )  # fmt: skip


def random_predictions(steps, seed, *, places=4, horizon=0):
    """Return predictions that are right more often than by chance, with missing ones and equal scores."""
    rng = np.random.default_rng(seed)
    n = len(steps.row)
    experts = np.full((n, len(steps.routers), places), -1, np.int16)
    score = np.zeros(experts.shape, np.float16)
    for layer, router in enumerate(steps.routers):
        for r in range(n):
            if rng.random() < 0.1:
                continue
            size = min(places, router.n_experts)
            experts[r, layer, :size] = rng.permutation(router.n_experts)[:size]
            score[r, layer, :size] = np.sort(rng.integers(1, 9, size))[::-1] / 16
    return KeptPredictions("random", horizon, experts, score, 0.5)


def random_pins(steps, capacity, scope, seed):
    """Return as many pinned experts of every unit as the cache has slots."""
    rng = np.random.default_rng(seed)
    offsets = steps.offsets
    pinned = np.zeros((steps.n_units, int(offsets[-1])), bool)
    for own in pinned:
        if scope == "pool":
            own[rng.permutation(len(own))[: int(capacity * len(steps.routers))]] = True
        else:
            for a, b in pairwise(offsets):
                own[a + rng.permutation(b - a)[: int(capacity)]] = True
    return pinned
