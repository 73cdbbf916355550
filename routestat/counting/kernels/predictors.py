"""Compiled loops over choices of k of E experts: scores of predictors, and likelihoods of tempered models.

P(S) ∝ Π weights: its normaliser is the elementary symmetric polynomial of the weights. It is computed for a block of
tokens at a time, with the tokens along the last axis, so that every step is one operation on a row of the block.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, inlined, within
from routestat.counting.kernels.symmetric import nth_largest, take_four, turn

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
    groups: Array,
    first: int,
    missing: int,
    waiting: Array,
    rows: Array,
    group: Array,
) -> int:  # pragma: no cover - compiled
    """Find the `waiting` rows from `first` on that have all features and a target; they no longer wait.

    ``rows[i]`` and ``group[i]`` are filled run by run; the number of rows is returned.
    """
    found = 0
    for r in range(len(starts)):
        for t in range(max(starts[r], first), stops[r]):
            if target[t, 0] == missing or not waiting[t]:
                continue
            least = 0
            for slot in range(features.shape[1]):
                least = min(least, features[t, slot])
            if least >= 0:
                waiting[t] = False
                rows[found], group[found] = t, groups[r]
                found += 1
    return found


@compiled
def score_predictions(
    rows: Array,
    group: Array,
    folds: Array,
    features: Array,
    target: Array,
    bias: Array,
    weights: Array,
    start: Array,
    steps: Array,
    link: int,
    sums: Array,
) -> None:  # pragma: no cover - compiled
    """Predict the experts of some rows from their features, and sum the scores.

    Expert j scores ``bias[fold, j] + Σ weights[fold, feature, j]`` over the row's features. `link` says what a
    score is: 0 a rank only, 1 an inclusion probability, 2 a log weight of the conditional Bernoulli distribution; then
    `start` and `steps` hold the exponentials of `bias` and `weights`, so that a token needs products and no
    exponential; otherwise they are the same. ``sums[group]`` collects tokens, exact sets, shares of the k recalled,
    hits, top-1 hits, shares recalled with 2k, bits.
    """
    n_experts, top_k = bias.shape[1], target.shape[1]
    scores, across = np.empty((LANES, n_experts)), np.zeros((n_experts + -n_experts % 4, LANES))
    symmetric, four = np.empty((top_k + 1, LANES)), np.empty((4, LANES))
    logs, inside = np.empty(n_experts), np.empty(LANES, np.bool_)
    limit = min(60.0, 650.0 / top_k)
    ratio, most = np.exp(limit), _WIDE ** (1.0 / top_k)
    for begin in range(0, len(rows), LANES):
        held = min(LANES, len(rows) - begin)
        for b in range(held):
            t, g = rows[begin + b], group[begin + b]
            _combine(scores[b], start[folds[g]], steps[folds[g]], features[t], link == 2)
            inside[b] = link < 2 or _in_range(scores[b], target[t])
            if inside[b]:
                _add_hits(scores[b], target[t], sums[g])
            else:
                _combine(logs, bias[folds[g]], weights[folds[g]], features[t], link < 0)
                _add_hits(logs, target[t], sums[g])
        if link == 0:
            continue
        if link == 1:
            _to_odds(scores[:held])
        turn(scores[:held], across)
        symmetric[0], symmetric[1:] = 1.0, 0.0
        for j in range(0, len(across), 4):
            take_four(across, j, four, symmetric)
        for b in range(held):
            t, g = rows[begin + b], group[begin + b]
            least, product = np.inf, 1.0
            for s in range(top_k):
                least = min(least, scores[b, target[t, s]])
                product *= scores[b, target[t, s]]
            # The largest weight is at most the sum of all, the k-th largest at least the least of any k.
            largest = symmetric[1, b]
            if inside[b] and largest <= ratio * least and largest <= most and product >= 1.0 / _WIDE:
                sums[g, 6] += (np.log(symmetric[top_k, b]) - np.log(product)) / np.log(2.0)
            else:
                _combine(logs, bias[folds[g]], weights[folds[g]], features[t], link < 0)
                sums[g, 6] += _bits(logs, target[t], link, limit)


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
def _in_range(score: Array, subset: Array) -> bool:  # pragma: no cover - compiled
    """Whether the products of a subset's experts are doubles of full precision."""
    inside = True
    for s in range(len(subset)):
        inside = inside and 1.0 / _WIDE <= score[subset[s]] <= _WIDE
    return inside


@inlined
def _add_hits(score: Array, subset: Array, total: Array) -> None:  # pragma: no cover - compiled
    """Add what the k and the 2k largest scores hold of a subset; the lower index wins a tie."""
    top_k, right, more, first = len(subset), 0, 0, 0
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
        more += above < 2 * top_k
        first += above == 0
    total[0] += 1
    total[1] += right == top_k
    total[2] += right / top_k
    total[3] += right > 0
    total[4] += first
    total[5] += more / top_k


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
