"""Predictors that are contexts, scored row by row: the distribution of each from the tokens of all other groups."""

import itertools
from math import log2

import numpy as np

from tests.oracle.backoff_oracle import Rule, Token, halves_of, slow_fits
from tests.oracle.forecast_oracle import token_back

BINS = 20


def states_of(alphabet, experts):
    """The place of each row's subset among all subsets in order, −1 where it is missing."""
    subsets = {
        subset: at for at, subset in enumerate(itertools.combinations(range(alphabet[0]), alphabet[1]))
    }
    return [-1 if min(row) < 0 else subsets[tuple(sorted(row))] for row in experts.tolist()]


def tokens_of(trace, token_id, place, alphabet, held_out):
    """The rows with a known target, and each as a `Token` with what is known of its past.

    `trace` is (document, position, window, experts[row, column, slot]) with −1 for what is missing.
    """
    document, position, window, experts = trace
    columns = [states_of(alphabet, experts[:, column]) for column in range(experts.shape[1])]
    rows, found = [], []
    for t, target in enumerate(columns[place]):
        if target < 0:
            continue
        known = {"token id": int(token_id[t])} if token_id[t] >= 0 else {}
        for back in range(1, place + 1):
            if columns[place - back][t] >= 0:
                known[f"layer-{back}"] = columns[place - back][t]
        for back in (1, 2):
            before = token_back(document, position, window, t, back)
            if before is not None and columns[place][before] >= 0:
                known[f"token-{back}"] = columns[place][before]
        rows.append(t)
        found.append(Token(target, int(held_out[t]), known))
    return rows, found


def scores(tokens, columns, alphabet, rule: Rule | None = None):
    """Of each token: its scores as in `SUMS` with the shares found with k … 4k, and its experts by bin [bin, 3]."""
    n_experts, top_k = alphabet
    subsets = list(itertools.combinations(range(n_experts), top_k))
    nested = [columns[:n] for n in range(len(columns) + 1)]
    half, fits = halves_of(tokens), slow_fits(tokens, nested, len(subsets), rule=rule)
    sums, bins = [], np.zeros((len(tokens), BINS, 3))
    for t, token in enumerate(tokens):
        counted = [other for other in tokens if other.group != token.group]
        step = max(i for i, names in enumerate(nested) if token.context(names) is not None)
        distribution = fits[half[token.group]].distribution(step, counted, token.context(nested[step]))
        inclusion = [
            sum(p for p, s in zip(distribution, subsets, strict=True) if j in s) for j in range(n_experts)
        ]
        order = sorted(range(n_experts), key=lambda j, p=inclusion: (-round(p[j], 12), j))
        actual = set(subsets[token.target])
        best = max(range(len(subsets)), key=lambda z, p=distribution: (round(p[z], 12), -z))

        def share(m, actual=actual, order=order):
            return len(actual & set(order[:m])) / top_k

        for j, p in enumerate(inclusion):
            bins[t, min(int(p**0.5 * BINS), BINS - 1)] += [1, p, j in actual]
        sums.append(
            [
                1,
                best == token.target,
                share(top_k) > 0,
                order[0] in actual,
                -log2(distribution[token.target]),
                sum((p - (j in actual)) ** 2 for j, p in enumerate(inclusion)) / n_experts,
                share(min(top_k + 3, 4 * top_k)),
                share(2 * top_k),
                *(share(m) for m in range(top_k, 4 * top_k + 1)),
            ]
        )
    return np.array(sums), bins
