"""Scoring done token by token."""

import itertools
from math import log2

import numpy as np


def token_back(document, position, window, t, lag):
    """The row `lag` tokens before row t in one run of its document and window, or None."""
    for row in range(t, t - lag, -1):
        if row == 0 or document[row] != document[row - 1] or position[row] != position[row - 1] + 1:
            return None
        if window and position[row] % window == 0:
            return None
    return t - lag


def features_of(trace, sources, t):
    """Features of row t, or None where one of `sources` (column, n_experts, lag) is missing.

    `trace` is (document, position, window, experts[row, column, slot]) with −1 for what is missing.
    """
    document, position, window, experts = trace
    found, offset = [], 0
    for column, n_experts, lag in sources:
        row = token_back(document, position, window, t, lag)
        if row is None or (experts[row, column] < 0).any():
            return None
        found += [offset + e for e in experts[row, column].tolist()]
        offset += n_experts
    return found


def subset_distribution(log_weights, top_k):
    """P(subset) of the conditional-Bernoulli distribution by listing all of them."""
    subsets = list(itertools.combinations(range(len(log_weights)), top_k))
    height = np.array([sum(log_weights[e] for e in s) for s in subsets])
    weight = np.exp(height - height.max())
    return dict(zip(subsets, weight / weight.sum(), strict=True))


def decisions(trace, column, levels, folds):
    """Sums per group of a chain of predictors for one column, one token at a time, and of each bin of probabilities.

    `levels` are (sources, bias[fold, j], weights[fold, feature, j], link); each answers what those before cannot.
    Columns: tokens, exact sets, hits, first expert right, bits, mean squared error of the experts, the shares of the
    chosen among the first k + 3 and 2k, then among the first k, k + 1, …, 4k.
    """
    document, _, _, experts = trace
    top_k, n_experts = experts.shape[2], levels[0][1].shape[1]
    sums = np.zeros((len(folds), 8 + 3 * top_k + 1))
    bins = np.zeros((len(folds), 20, 3))
    for t in range(len(document)):
        if (experts[t, column] < 0).any():
            continue
        group = document[t] % len(folds)
        for sources, bias, weights, link in levels:
            features = features_of(trace, sources, t)
            if features is None:
                continue
            score = bias[folds[group]] + weights[folds[group]][features].sum(axis=0)
            order = sorted(range(n_experts), key=lambda j: (-score[j], j))
            actual = set(experts[t, column].tolist())

            def share(m, actual=actual, order=order):
                return len(actual & set(order[:m])) / top_k

            bits = error = 0.0
            if link != "rank":
                log_weights = score if link == "log-weight" else np.log(score / (1 - score))
                found = subset_distribution(log_weights, top_k)
                bits = -log2(found[tuple(sorted(actual))])
                for j in range(n_experts):
                    p = sum(q for subset, q in found.items() if j in subset)
                    error += (p - (j in actual)) ** 2 / n_experts
                    bins[group, min(int(p**0.5 * 20), 19)] += [1, p, j in actual]
            sums[group] += [
                1,
                share(top_k) == 1,
                share(top_k) > 0,
                order[0] in actual,
                bits,
                error,
                share(min(top_k + 3, 4 * top_k)),
                share(2 * top_k),
                *(share(m) for m in range(top_k, 4 * top_k + 1)),
            ]
            break
    return sums, bins


def design_rows(trace, column, sources):
    """Indicators [row, feature] and [row, j] of the tokens that have all sources, and the tokens' rows."""
    document, _, _, experts = trace
    width = sum(n for _, n, _ in sources)
    x, y, rows = [], [], []
    for t in range(len(document)):
        features = features_of(trace, sources, t)
        if features is None or (experts[t, column] < 0).any():
            continue
        x.append(np.bincount(features, minlength=width))
        y.append(experts[t, column])
        rows.append(t)
    return np.array(x).reshape(-1, width), np.array(y), np.array(rows)
