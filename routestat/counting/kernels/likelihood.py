"""Compiled likelihood of tempered models of k of E experts, with its gradient, for a block of tokens at a time.

Tokens lie along the last axis, so that every step is one operation on a row of the block.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, inlined
from routestat.counting.kernels.symmetric import exponential, inclusion_of_block, nth_largest, turn

#: Tokens of a block.
LANES = 64


@compiled
def sum_parts(
    features: Array,
    models: Array,
    base: Array,
    bias: Array,
    weights: Array,
    spans: Array,
    parts: Array,
) -> None:  # pragma: no cover - compiled
    """Write the parts of the log weights of tokens to ``parts[block, part, expert, lane]``.

    The parts of row t, by its ``model = models[t]``: ``base[model, j]``, and for each further one, which ``spans``
    gives as (name, first slot, end slot), ``bias[name, model, j]`` plus the ``weights[name, model, feature, j]``
    of the features in those slots.
    """
    n_experts = base.shape[1]
    rows = np.empty((LANES, n_experts))
    for block in range(len(parts)):
        begin = block * LANES
        held = min(LANES, len(models) - begin)
        for p in range(len(spans) + 1):
            for b in range(held):
                row, t, m = rows[b], begin + b, models[begin + b]
                if p == 0:
                    for j in range(n_experts):
                        row[j] = base[m, j]
                    continue
                name = spans[p - 1, 0]
                for j in range(n_experts):
                    row[j] = bias[name, m, j]
                for i in range(spans[p - 1, 1], spans[p - 1, 2]):
                    more = weights[name, m, features[t, i]]
                    for j in range(n_experts):
                        row[j] += more[j]
            turn(rows[:held], parts[block, p])


@compiled
def tempered_log_likelihood(
    parts: Array,
    chosen: Array,
    target: Array,
    models: Array,
    exponents: Array,
    wanted: Array,
    value: Array,
    slope: Array,
    curve: Array,
) -> None:  # pragma: no cover - compiled
    """Compute the log likelihood and gradient of conditional Bernoulli models with log weights Σ exponent · part.

    The parts are the `chosen` ones of ``parts[block, part, expert, lane]``. To ``value[model]`` and
    ``slope[model, part]`` is added what is exact, to ``curve[model, part, part]`` minus the Hessian with an
    approximation of the covariance after Hájek, Σ c (d − d̄)(d − d̄)' with c = p(1 − p(k − 1)/k): exact for k = 1. It
    affects the steps only; where they end is determined by the gradient. Models that are not ``wanted[model]`` are
    left out; the rows of a model follow each other.
    """
    lanes = parts.shape[3]
    n_experts, top_k, n_parts = parts.shape[2], target.shape[1], len(chosen)
    fours = (n_experts + 3) // 4
    # Four experts at a time: those beyond the last have weight zero.
    weight = np.zeros((4 * fours, LANES))
    power, centre = np.empty((n_parts, LANES)), np.empty(LANES)
    first, last = np.empty((fours + 1, top_k + 1, LANES)), np.empty((top_k + 1, LANES))
    work, given, spread = np.empty((8, LANES)), np.empty((4 * fours, LANES)), np.empty((2, LANES))
    total, mean = np.empty(LANES), np.empty((n_parts, LANES))
    expected, square = np.empty((n_parts, LANES)), np.empty((n_parts, n_parts, LANES))
    limit = min(60.0, 650.0 / top_k)
    for block in range(len(parts)):
        begin = block * LANES
        held = min(LANES, len(models) - begin)
        some = False
        for b in range(held):
            some = some or wanted[models[begin + b]]
        if not some:
            continue
        power[:] = 0.0
        for b in range(held):
            for p in range(n_parts):
                power[p, b] = exponents[models[begin + b], p]
        _mix(parts[block], chosen, power, weight[:n_experts])
        _centre(weight[:n_experts], target[begin : begin + held], limit, centre)
        for b in range(held):
            for s in range(top_k):
                value[models[begin + b]] += min(weight[target[begin + b, s], b] - centre[b], limit)
        for j in range(n_experts):
            row = weight[j]
            for b in range(lanes):
                row[b] = min(row[b] - centre[b], limit)
            exponential(row, work)
        inclusion_of_block(weight, work, first, last, given)
        whole = first[fours, top_k]
        total[:] = 0.0
        mean[:], expected[:], square[:] = 0.0, 0.0, 0.0
        _add_experts(parts[block], chosen, given, top_k, spread, total, mean, expected, square)
        for b in range(held):
            m = models[begin + b]
            value[m] -= np.log(whole[b])
            for p in range(n_parts):
                slope[m, p] -= expected[p, b]
                for s in range(top_k):
                    slope[m, p] += parts[block, chosen[p], target[begin + b, s], b]
                for q in range(p + 1):
                    both = square[p, q, b]
                    if total[b] > 0.0:
                        both -= mean[p, b] * mean[q, b] / total[b]
                    curve[m, p, q] += both
                    if p != q:
                        curve[m, q, p] += both


@inlined
def _mix(parts: Array, chosen: Array, power: Array, weight: Array) -> None:  # pragma: no cover - compiled
    lanes = power.shape[1]
    for j in range(len(weight)):
        for b in range(lanes):
            weight[j, b] = 0.0
        for p in range(len(chosen)):
            at = chosen[p]
            for b in range(lanes):
                weight[j, b] += power[p, b] * parts[at, j, b]


@inlined
def _centre(weight: Array, target: Array, limit: float, centre: Array) -> None:  # pragma: no cover - compiled
    """Choose what log weights ``weight[expert, lane]`` are taken relative to, so that no sum leaves a double.

    The mean over the token's experts; where a weight is far above these, the k-th largest.
    """
    lanes = len(centre)
    largest, own = np.empty(LANES), np.empty(len(weight))
    largest[:] = -np.inf
    for j in range(len(weight)):
        row = weight[j]
        for b in range(lanes):
            largest[b] = row[b] if row[b] > largest[b] else largest[b]
    centre[:] = 0.0
    top_k = target.shape[1]
    for b in range(len(target)):
        least = np.inf
        for s in range(top_k):
            least = min(least, weight[target[b, s], b])
            centre[b] += weight[target[b, s], b] / top_k
        if not largest[b] - least <= limit:
            for j in range(len(own)):
                own[j] = weight[j, b]
            centre[b] = nth_largest(own, top_k)


@inlined
def _add_experts(
    parts: Array,
    chosen: Array,
    given: Array,
    top_k: int,
    spread: Array,
    total: Array,
    mean: Array,
    expected: Array,
    square: Array,
) -> None:  # pragma: no cover - compiled
    """Add experts, included with the probabilities ``given[expert, lane]``, to the gradient and the curvature.

    Loops index whole arrays: making a row of an array costs as much as a loop over it.
    """
    lanes = given.shape[1]
    share = (top_k - 1) / top_k
    for i in range(parts.shape[1]):
        for b in range(lanes):
            spread[0, b] = given[i, b] * max(1.0 - given[i, b] * share, 0.0)
        for b in range(lanes):
            total[b] += spread[0, b]
        for p in range(len(chosen)):
            at = chosen[p]
            for b in range(lanes):
                expected[p, b] += given[i, b] * parts[at, i, b]
            for b in range(lanes):
                spread[1, b] = spread[0, b] * parts[at, i, b]
            for b in range(lanes):
                mean[p, b] += spread[1, b]
            for q in range(p + 1):
                to = chosen[q]
                for b in range(lanes):
                    square[p, q, b] += spread[1, b] * parts[to, i, b]
