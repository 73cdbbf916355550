"""Ridge regressions on histories, built token by token and solved one at a time."""

import itertools
from math import exp, log, log1p

import numpy as np


def history_of(t, follows, experts, sizes, previous, layers, tokens=None, codes=0):
    """Features of row t as one row of zeros and ones; the constant first.

    `experts[layer][row]` is a tuple of experts or None; `layers` are those of the token that are used, in order;
    `previous` are the layers of the previous token, None for not even whether there is one; `tokens[row]` is a code
    or −1, of `codes` in all.
    """
    any_known = [any(layer[row] is not None for layer in experts) for row in range(len(follows))]
    before = t - 1 if follows[t] and any_known[t - 1] else None
    parts = [[1.0]]
    if tokens is not None:
        for row in (t, before):
            part = [0.0] * codes
            if row is not None and tokens[row] >= 0:
                part[tokens[row]] = 1.0
            parts.append(part)
    if previous is not None:
        parts.append([1.0 if before is None else 0.0])
        for layer in previous:
            parts.append(indicators(None if before is None else experts[layer][before], sizes[layer]))
    parts += [indicators(experts[layer][t], sizes[layer]) for layer in layers]
    return np.concatenate(parts)


def indicators(chosen, size):
    """A row of zeros, with ones for the chosen experts."""
    found = np.zeros(size)
    for expert in chosen or ():
        found[expert] = 1.0
    return found


def weights(x, y, penalty):
    """Minimise |y − x w|² + penalty |w|², without the penalty for the first column, by the normal equations."""
    penalties = np.diag([0.0] + [penalty] * (x.shape[1] - 1))
    return np.linalg.solve(x.T @ x + penalties, x.T @ y)


def log_weight(predicted, power, softness, top_k):
    """Power times the log odds of a prediction, with both sides softened."""

    def log_soft(x):
        u = x / softness
        return log(softness) + log(u + log1p(exp(-u)) if u > 0 else log1p(exp(u)))

    return power * (log_soft(predicted) - log_soft(1.0 - predicted * (top_k - 1) / top_k))


def scored(log_weights, chosen, top_k):
    """Exact set, recall at k, recall at 2k, bits of the chosen experts, by listing all subsets."""
    order = sorted(range(len(log_weights)), key=lambda j: (-log_weights[j], j))
    subsets = list(itertools.combinations(range(len(log_weights)), top_k))
    height = np.array([sum(log_weights[j] for j in subset) for subset in subsets])
    share = np.exp(height - height.max())
    share /= share.sum()
    actual = set(chosen)
    right = len(actual & set(order[:top_k]))
    return np.array(
        [
            right == top_k,
            right / top_k,
            len(actual & set(order[: 2 * top_k])) / top_k,
            -np.log2(share[subsets.index(tuple(sorted(chosen)))]),
        ],
        float,
    )
