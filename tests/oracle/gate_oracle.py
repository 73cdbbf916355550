"""The recorded gate and the token id scored one token at a time, with every subset listed."""

from math import log, log2

import numpy as np
from scipy.optimize import minimize_scalar

from tests.oracle.forecast_oracle import subset_distribution


def load_without(actual, fold, out, n_experts, top_k, alpha):
    """Inclusion probabilities of the load without the folds `out`, with alpha of each expert."""
    counts = [alpha] * n_experts
    for experts, own in zip(actual, fold, strict=True):
        if own not in out and experts is not None:
            for expert in experts:
                counts[expert] += 1
    return [top_k * count / sum(counts) for count in counts]


def log_weight(p, top_k):
    return log(p / (1 - p * (top_k - 1) / top_k))


def near_log_weights(inclusion, top_k):
    """Two damped steps from `log_weight` towards log weights with these inclusion probabilities."""
    spread = [p * (1 - p) for p in inclusion]
    weights = [log_weight(p, top_k) for p in inclusion]
    for _ in range(2):
        subsets = subset_distribution(weights, top_k)
        for j, (p, own) in enumerate(zip(inclusion, spread, strict=True)):
            reached = sum(probability for subset, probability in subsets.items() if j in subset)
            step = log(p / (1 - p)) - log(reached / (1 - reached))
            weights[j] += (1 - own / sum(spread)) * step
    return weights


def bonus(tokens, load, top_k, precision):
    """The c of greatest penalised likelihood for tokens (recorded, actual) by a search over all subsets."""
    base = [log_weight(p, top_k) for p in load]

    def loss(c):
        nats = 0.5 * precision * c**2
        for named, experts in tokens:
            weights = [w + c * (j in named) for j, w in enumerate(base)]
            nats -= log(subset_distribution(weights, top_k)[tuple(sorted(experts))])
        return nats

    return minimize_scalar(loss, bounds=(-12, 12), method="bounded", options={"xatol": 1e-8}).x


def score(ranks, weights, experts, top_k):
    """Tokens, exact sets, hits, top-1 hit, bits, then the experts found among the first k … 4k."""
    order = sorted(range(len(ranks)), key=lambda j: (-ranks[j], j))
    bits = -log2(subset_distribution(weights, top_k)[tuple(sorted(experts))])
    found = [len(set(order[:m]) & set(experts)) / top_k for m in range(top_k, 4 * top_k + 1)]
    return np.array([1, found[0] == 1, found[0] > 0, order[0] in experts, bits, *found])


def gate_sums(named, actual, fold, n_folds, n_experts, top_k, alpha, precision):
    """Sums of all tokens. `named` and `actual` hold a tuple of experts for each token, or None."""
    total = 0.0
    for f in range(n_folds):
        following = (f + 1) % n_folds
        inner = load_without(actual, fold, (f, following), n_experts, top_k, alpha)
        both = [
            (n, a)
            for n, a, own in zip(named, actual, fold, strict=True)
            if own == following and n is not None and a is not None
        ]
        c = bonus(both, inner, top_k, precision) if both else 0.0
        load = load_without(actual, fold, (f,), n_experts, top_k, alpha)
        for recorded, experts, own in zip(named, actual, fold, strict=True):
            if own == f and experts is not None:
                inside = [recorded is not None and j in recorded for j in range(n_experts)]
                ranks = [p + 10 * here for p, here in zip(load, inside, strict=True)]
                weights = [log_weight(p, top_k) + c * here for p, here in zip(load, inside, strict=True)]
                total = total + score(ranks, weights, experts, top_k)
    return total


def token_inclusion(token, actual, fold, out, wanted, strength, load):
    """Inclusion probabilities for one id without the folds `out`."""
    counts, n = [0] * len(load), 0
    for own, experts, where in zip(token, actual, fold, strict=True):
        if own == wanted and own >= 0 and experts is not None and where not in out:
            n += 1
            for expert in experts:
                counts[expert] += 1
    return [(count + strength * p) / (n + strength) for count, p in zip(counts, load, strict=True)]


def token_sums(token, actual, fold, n_folds, n_experts, top_k, alpha, strengths):
    """Sums of all tokens, and the strength of each fold: the best of all on the next fold."""
    total, chosen = 0.0, []
    for f in range(n_folds):
        following = (f + 1) % n_folds
        inner = load_without(actual, fold, (f, following), n_experts, top_k, alpha)
        losses = []
        for s in strengths:
            loss = 0.0
            for own, experts, where in zip(token, actual, fold, strict=True):
                if where == following and experts is not None:
                    given = token_inclusion(token, actual, fold, (f, following), own, s, inner)
                    loss -= sum(log(given[expert]) for expert in experts)
            losses.append(loss)
        chosen.append(strengths[int(np.argmin(losses))])
        load = load_without(actual, fold, (f,), n_experts, top_k, alpha)
        for own, experts, where in zip(token, actual, fold, strict=True):
            if where == f and experts is not None:
                given = token_inclusion(token, actual, fold, (f,), own, chosen[-1], load)
                weights = near_log_weights(given, top_k)
                total = total + score(given, weights, experts, top_k)
    return total, chosen
