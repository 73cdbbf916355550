"""Compiled loops over choices of k of E experts: scores of predictors, and likelihoods of tempered models.

P(S) ∝ Π weights: its normaliser is the elementary symmetric polynomial of the weights. It is computed for a block of
tokens at a time, with the tokens along the last axis, so that every step is one operation on a row of the block.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, inlined, within
from routestat.counting.kernels.symmetric import (
    base_of,
    exponential,
    inclusion_of_block,
    nth_largest,
    take_four,
    turn,
)

#: Tokens of a block.
LANES = 64
#: Products of k numbers of this size or of its inverse, and their sums, stay within a double.
_WIDE = 1e280


@compiled
def complete_rows(
    features: Array,
    target: Array,
    starts: Array,
    stops: Array,
    missing: int,
    waiting: Array,
    rows: Array,
) -> int:  # pragma: no cover - compiled
    """Find the `waiting` rows that have all features and a target; they no longer wait.

    ``rows[i]`` is filled run by run; the number of rows is returned.
    """
    found = 0
    for r in range(len(starts)):
        for t in range(starts[r], stops[r]):
            if target[t, 0] == missing or not waiting[t]:
                continue
            least = 0
            for slot in range(features.shape[1]):
                least = min(least, features[t, slot])
            if least >= 0:
                waiting[t] = False
                rows[found] = t
                found += 1
    return found


@compiled
def score_predictions(
    rows: Array,
    cell: Array,
    folds: Array,
    features: Array,
    target: Array,
    bias: Array,
    weights: Array,
    start: Array,
    steps: Array,
    link: int,
    bins: int,
    sums: Array,
) -> None:  # pragma: no cover - compiled
    """Predict the experts of some rows from their features, and sum the scores.

    Expert j scores ``bias[fold, j] + Σ weights[fold, feature, j]`` over the row's features. `link` says what a
    score is: 0 a rank only, 1 an inclusion probability, 2 a log weight of the conditional Bernoulli distribution; then
    `start` and `steps` hold the exponentials of `bias` and `weights`, so that a token needs products and no
    exponential; otherwise they are the same. ``folds[cell]`` is the fold of a cell; ``sums[cell]`` collects tokens,
    exact sets, hits, bits and squared errors, then the chosen experts by their rank among the first 4k, then three
    columns for each of the `bins` of the reliability curve: experts, their probabilities, those chosen.
    """
    n_experts, top_k = bias.shape[1], target.shape[1]
    scores, across = np.empty((LANES, n_experts)), np.zeros((n_experts + -n_experts % 4, LANES))
    first, last = np.empty((len(across) // 4 + 1, top_k + 1, LANES)), np.empty((top_k + 1, LANES))
    work, given = np.empty((8, LANES)), np.empty((len(across), LANES))
    logs, inside = np.empty(n_experts), np.empty(LANES, np.bool_)
    limit = min(60.0, 650.0 / top_k)
    ratio, most = np.exp(limit), _WIDE ** (1.0 / top_k)
    for begin in range(0, len(rows), LANES):
        held = min(LANES, len(rows) - begin)
        for b in range(held):
            t, c = rows[begin + b], cell[begin + b]
            _combine(scores[b], start[folds[c]], steps[folds[c]], features[t], link == 2)
            inside[b] = link < 2 or _in_range(scores[b], target[t], most)
            if inside[b]:
                _add_hits(scores[b], target[t], sums[c])
            else:
                _combine(logs, bias[folds[c]], weights[folds[c]], features[t], link < 0)
                _add_hits(logs, target[t], sums[c])
                base = nth_largest(logs, top_k)
                for e in range(n_experts):
                    scores[b, e] = np.exp(min(logs[e] - base, limit))
        if link == 0:
            continue
        if link == 1:
            _to_odds(scores[:held])
        turn(scores[:held], across)
        if bins > 0:
            inclusion_of_block(across, work, first, last, given)
            last[:] = first[len(first) - 1]
        else:
            last[0], last[1:] = 1.0, 0.0
            for e in range(0, len(across), 4):
                take_four(across, e, work[:4], last)
        for b in range(held):
            t, c = rows[begin + b], cell[begin + b]
            least, product = np.inf, 1.0
            for s in range(top_k):
                least = min(least, scores[b, target[t, s]])
                product *= scores[b, target[t, s]]
            # The largest weight is at most the sum of all, the k-th largest at least the least of any k.
            largest = last[1, b]
            if inside[b] and largest <= ratio * least and largest <= most and product >= 1.0 / _WIDE:
                sums[c, 3] += (np.log(last[top_k, b]) - np.log(product)) / np.log(2.0)
            else:
                _combine(logs, bias[folds[c]], weights[folds[c]], features[t], link < 0)
                sums[c, 3] += _bits(logs, target[t], link, limit)
            if bins > 0:
                _add_inclusion(given, b, n_experts, target[t], bins, sums[c])


@compiled
def combine_rows(
    rows: Array,
    cell: Array,
    folds: Array,
    features: Array,
    target: Array,
    bias: Array,
    weights: Array,
    start: Array,
    steps: Array,
    link: int,
    order: Array,
    scores: Array,
) -> None:  # pragma: no cover - compiled
    """Write the predictions that `score_predictions` scores, ``scores[i, expert]`` for row ``rows[i]``.

    ``order[i, expert]`` is what it orders the experts by, so that experts are tied here where they are tied there.
    """
    most = _WIDE ** (1.0 / target.shape[1])
    for i in range(len(rows)):
        t, f = rows[i], folds[cell[rows[i]]]
        _combine(order[i], start[f], steps[f], features[t], link == 2)
        if link < 2:
            scores[i] = order[i]
            continue
        _combine(scores[i], bias[f], weights[f], features[t], link < 0)
        if not _in_range(order[i], target[t], most):
            order[i] = scores[i]


@compiled
def score_rows(
    scores: Array, target: Array, cell: Array, link: int, bins: int, sums: Array
) -> None:  # pragma: no cover - compiled
    """Sum the scores of predictions known as numbers ``scores[row, expert]``; as in `score_predictions`."""
    n_experts, top_k = scores.shape[1], target.shape[1]
    logs, across = np.zeros((LANES, n_experts)), np.zeros((n_experts + -n_experts % 4, LANES))
    first, last = np.empty((len(across) // 4 + 1, top_k + 1, LANES)), np.empty((top_k + 1, LANES))
    work, given = np.empty((8, LANES)), np.empty((len(across), LANES))
    chosen = np.empty(LANES)
    limit = min(60.0, 650.0 / top_k)
    for begin in range(0, len(scores), LANES):
        held = min(LANES, len(scores) - begin)
        for b in range(held):
            t = begin + b
            _add_hits(scores[t], target[t], sums[cell[t]])
            if link == 0:
                continue
            if link == 2:
                for e in range(n_experts):
                    logs[b, e] = scores[t, e]
            else:
                for e in range(n_experts):
                    p = min(max(scores[t, e], 1e-12), 1.0 - 1e-12)
                    logs[b, e] = np.log(p) - np.log1p(-p)
            base = base_of(logs[b], top_k, limit)
            chosen[b] = 0.0
            for e in range(n_experts):
                logs[b, e] = min(logs[b, e] - base, limit)
            for s in range(top_k):
                chosen[b] += logs[b, target[t, s]]
        if link == 0:
            continue
        turn(logs, across)
        for e in range(n_experts):
            exponential(across[e], work[:2])
        if bins > 0:
            inclusion_of_block(across, work, first, last, given)
            last[:] = first[len(first) - 1]
        else:
            last[0], last[1:] = 1.0, 0.0
            for e in range(0, len(across), 4):
                take_four(across, e, work[:4], last)
        for b in range(held):
            c = cell[begin + b]
            sums[c, 3] += (np.log(last[top_k, b]) - chosen[b]) / np.log(2.0)
            if bins > 0:
                _add_inclusion(given, b, n_experts, target[begin + b], bins, sums[c])


@within
def _combine(
    score: Array, start: Array, steps: Array, features: Array, multiply: bool
) -> None:  # pragma: no cover - compiled
    """Add the rows ``steps[feature]`` to `start`, or multiply with them; four at a time, which saves storing sums."""
    n, whole = len(score), len(features) - len(features) % 4
    for j in range(n):
        score[j] = start[j]
    for i in range(0, whole, 4):
        a, b, c, d = (
            steps[features[i]],
            steps[features[i + 1]],
            steps[features[i + 2]],
            steps[features[i + 3]],
        )
        if multiply:
            for j in range(n):
                score[j] = score[j] * a[j] * b[j] * c[j] * d[j]
        else:
            for j in range(n):
                score[j] = score[j] + a[j] + b[j] + c[j] + d[j]
    for i in range(whole, len(features)):
        a = steps[features[i]]
        if multiply:
            for j in range(n):
                score[j] *= a[j]
        else:
            for j in range(n):
                score[j] += a[j]


@inlined
def _in_range(score: Array, subset: Array, most: float) -> bool:  # pragma: no cover - compiled
    """Whether products of k of the scores, those of a subset among them, are doubles of full precision."""
    inside, product, largest = True, 1.0, score[0]
    for s in range(len(subset)):
        inside = inside and 1.0 / _WIDE <= score[subset[s]] <= _WIDE
        product *= score[subset[s]]
    for j in range(1, len(score)):
        largest = max(largest, score[j])
    return inside and largest <= most and product >= 1.0 / _WIDE


@inlined
def _add_hits(score: Array, subset: Array, total: Array) -> None:  # pragma: no cover - compiled
    """Add where the experts of a subset are in the order of the scores; the lower index wins a tie."""
    top_k, right = len(subset), 0
    for s in range(top_k):
        at = subset[s]
        x = score[at]
        above, reached = 0, 0
        for j in range(len(score)):
            above += score[j] > x
            reached += score[j] >= x
        if reached > above + 1:
            for j in range(at):
                above += score[j] == x
        right += above < top_k
        if above < 4 * top_k:
            total[5 + above] += 1
    total[0] += 1
    total[1] += right == top_k
    total[2] += right > 0


@inlined
def _add_inclusion(
    given: Array, lane: int, n_experts: int, subset: Array, bins: int, total: Array
) -> None:  # pragma: no cover - compiled
    """Add the squared errors of a token's probabilities of inclusion, and their bins."""
    at = 5 + 4 * len(subset)
    error = float(len(subset))
    for j in range(n_experts):
        p = min(max(given[j, lane], 0.0), 1.0)
        place = at + 3 * min(int(np.sqrt(p) * bins), bins - 1)
        total[place] += 1.0
        total[place + 1] += p
        error += p * p
    for s in range(len(subset)):
        p = min(max(given[subset[s], lane], 0.0), 1.0)
        total[at + 3 * min(int(np.sqrt(p) * bins), bins - 1) + 2] += 1.0
        error -= 2.0 * p
    total[4] += error


@inlined
def _to_odds(scores: Array) -> None:  # pragma: no cover - compiled
    for b in range(len(scores)):
        score = scores[b]
        for j in range(len(score)):
            p = min(max(score[j], 1e-12), 1.0 - 1e-12)
            score[j] = p / (1.0 - p)


@inlined
def _bits(score: Array, subset: Array, link: int, limit: float) -> float:  # pragma: no cover - compiled
    """−log2 P(subset) of log weights or inclusion probabilities of any size.

    Weights are taken relative to the k-th largest, so that neither the products nor their sum leave a double.
    """
    symmetric = np.zeros(len(subset) + 1)
    symmetric[0] = 1.0
    log_weights = np.empty(len(score))
    for j in range(len(score)):
        p = min(max(score[j], 1e-12), 1.0 - 1e-12)
        log_weights[j] = score[j] if link == 2 else np.log(p) - np.log1p(-p)
    base = nth_largest(log_weights, len(subset))
    for j in range(len(score)):
        weight = np.exp(min(log_weights[j] - base, limit))
        for m in range(len(symmetric) - 1, 0, -1):
            symmetric[m] += weight * symmetric[m - 1]
    nats = np.log(symmetric[len(symmetric) - 1])
    for s in range(len(subset)):
        nats -= min(log_weights[subset[s]] - base, limit)
    return nats / np.log(2.0)
