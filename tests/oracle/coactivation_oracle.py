"""k of E without replacement, subset by subset."""

from itertools import combinations

import numpy as np


def subset_distribution(log_weights, top_k):
    """Probability of every subset in the order of combinations, and P(i and j) with P(i) on its diagonal."""
    n = len(log_weights)
    subsets = list(combinations(range(n), top_k))
    heights = np.array([sum(log_weights[i] for i in subset) for subset in subsets], float)
    distribution = np.exp(heights - heights.max())
    distribution /= distribution.sum()
    pairs = np.zeros((n, n))
    for subset, p in zip(subsets, distribution, strict=True):
        for i in subset:
            for j in subset:
                pairs[i, j] += p
    return distribution, pairs


def pair_tables(groups, rows, n_groups, n_experts):
    """Pairs [group, pair], inclusions [group, expert] and tokens [group], token by token."""
    names = {pair: at for at, pair in enumerate(combinations(range(n_experts), 2))}
    pairs, inclusions = np.zeros((n_groups, len(names)), int), np.zeros((n_groups, n_experts), int)
    tokens = np.zeros(n_groups, int)
    for group, row in zip(groups, rows, strict=True):
        if min(row) < 0:
            continue
        tokens[group] += 1
        for expert in row:
            inclusions[group, expert] += 1
        for i, j in combinations(sorted(int(e) for e in row), 2):
            pairs[group, names[i, j]] += 1
    return pairs, inclusions, tokens
