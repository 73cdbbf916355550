"""Clusters of rows by Ward's rule."""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def ward_blocks(
    profiles: Array, weights: Array, wanted: int, labels: Array
) -> None:  # pragma: no cover - compiled
    """Merge rows of ``profiles[row, place]`` by Ward's rule until `wanted` blocks are left.

    They are numbered from 0 in `labels`. The loss of a merge is w v / (w + v) times the squared distance of the
    weighted means.
    """
    n = len(weights)
    loss = np.empty((n, n))
    for u in range(n):
        for v in range(u):
            square = 0.0
            for b in range(profiles.shape[1]):
                step = profiles[u, b] - profiles[v, b]
                square += step * step
            loss[u, v] = loss[v, u] = square * weights[u] * weights[v] / (weights[u] + weights[v])
    own, active, nearest = weights.copy(), np.ones(n, np.bool_), np.zeros(n, np.int64)
    parent = np.arange(n)
    for u in range(n):
        loss[u, u] = np.inf
        nearest[u] = loss[u].argmin()
    for _ in range(n - wanted):
        p, least = -1, np.inf
        for u in range(n):
            if active[u] and loss[u, nearest[u]] < least:
                p, least = u, loss[u, nearest[u]]
        q = nearest[p]
        p, q = min(p, q), max(p, q)
        for v in range(n):
            if active[v] and v != p and v != q:
                joined = (own[p] + own[v]) * loss[p, v] + (own[q] + own[v]) * loss[q, v] - own[v] * least
                loss[p, v] = loss[v, p] = joined / (own[p] + own[q] + own[v])
            loss[q, v] = loss[v, q] = np.inf
        own[p] += own[q]
        active[q] = False
        for v in range(n):
            if parent[v] == q:
                parent[v] = p
            if active[v]:
                if v == p or nearest[v] == p or nearest[v] == q:
                    nearest[v] = loss[v].argmin()
                elif loss[v, p] < loss[v, nearest[v]]:
                    nearest[v] = p
    number = 0
    for u in range(n):
        if active[u]:
            for v in range(n):
                if parent[v] == u:
                    labels[v] = number
            number += 1
