"""Held-out scoring done token by token: refit on the other groups, predict, compare."""

from math import log2

import numpy as np


def score(tables, subsets, n_experts, top_k, prior_of):
    """Sums [group, (tokens, exact, recall, hit, top1, recall at 2k, bits)]; `prior_of(group)` is its alpha [target]."""
    sums = np.zeros((len(tables), 7))
    for g, held_out in enumerate(tables):
        train = sum(table for h, table in enumerate(tables) if h != g)
        for context in range(train.shape[0]):
            law = train[context] + prior_of(g)
            law = law / law.sum()
            inclusion = np.zeros(n_experts)
            for state, p in enumerate(law):
                for expert in subsets[state]:
                    inclusion[expert] += p
            order = sorted(range(n_experts), key=lambda e: (-round(inclusion[e], 12), e))
            best = int(np.argmax(law))
            for state, n in enumerate(held_out[context]):
                actual = set(subsets[state])
                right = len(actual & set(order[:top_k]))
                wide = len(actual & set(order[: 2 * top_k]))
                row = [
                    1,
                    state == best,
                    right / top_k,
                    right > 0,
                    order[0] in actual,
                    wide / top_k,
                    -log2(law[state]),
                ]
                sums[g] += n * np.array(row, float)
    return sums
