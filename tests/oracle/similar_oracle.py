"""Averages over similar tokens, one token and one expert at a time."""

import math

import numpy as np


def context(token, follows, t, length):
    """The ids of a context, the token's own first; None before the window."""
    found = []
    for lag in range(length):
        if any(not follows[t - back] for back in range(lag)):
            found.append(None)
        else:
            found.append(int(token[t - lag]))
    return tuple(found)


def cached(t, rows, experts, n_experts, out, load, settings, carry, levels=3):
    """Inclusion of every expert at row `t`, from back-off and what the document had before.

    `experts[row]` is a set, empty where the choice is missing; `out` are the folds that are left out.
    """
    backed, strength, decay = settings
    general = list(load)
    own = list(load)
    for level in range(1, levels + 1):
        here = context(rows.token, rows.follows, t, level)
        others = [
            s
            for s in range(len(rows))
            if rows.fold[s] not in out and experts[s] and context(rows.token, rows.follows, s, level) == here
        ]
        if others:
            before = list(general)
            for e in range(n_experts):
                count = sum(e in experts[s] for s in others)
                general[e] = (count + backed * before[e]) / (len(others) + backed)
                own[e] = min(max(general[e] + carry * (own[e] - before[e]), 0.0), 1.0)
        earlier = [
            s
            for s in range(t - 1, -1, -1)
            if rows.sample.document[s] == rows.sample.document[t]
            and experts[s]
            and context(rows.token, rows.follows, s, level) == here
        ]
        weights = [decay**age for age in range(len(earlier))]
        for e in range(n_experts):
            count = sum(w for w, s in zip(weights, earlier, strict=True) if e in experts[s])
            own[e] = (count + strength * own[e]) / (sum(weights) + strength)
    return np.array(own)


def overlap(one, other, top_k):
    return len(one & other) / top_k


def same_id(t, rows, choices, prior, out, most, constants, fixed):
    """The averages of every router at row `t`, with all candidates where there are fewer than `most`.

    `choices[router][row]` are sets of experts, ``prior[router][expert]`` the predictions without these tokens.
    """
    per_id, own, age, kept, neutral = fixed
    top_k, layers = 2, len(choices)
    same = [s for s in range(len(rows)) if rows.token[s] == rows.token[t]]
    others = [s for s in same if rows.fold[s] not in out]
    earlier = [s for s in same if s < t and rows.sample.document[s] == rows.sample.document[t]][::-1]
    assert len(others) <= most
    base = {}
    for s in others + earlier:
        base[s] = 0.0 if s in others else own - age * earlier.index(s)
        for lag in range(1, 7):
            if (
                context(rows.token, rows.follows, s, lag + 1)[lag]
                != context(rows.token, rows.follows, t, lag + 1)[lag]
            ):
                break
            base[s] += per_id
        if rows.follows[s] and rows.follows[t]:
            shares = [overlap(c[s - 1], c[t - 1], top_k) for c in choices]
            base[s] += constants["previous"] * sum(shares) / layers
    found = []
    for layer in range(layers):
        weights = {}
        for s, start in base.items():
            alike = 0.0
            for before in range(layer):
                alike *= kept
                if choices[before][s] and choices[before][t]:
                    alike += constants["slope"] * (
                        overlap(choices[before][s], choices[before][t], top_k) - neutral
                    )
            if choices[layer][s]:
                weights[s] = math.exp(start + alike)
        total = sum(weights.values()) + constants["strength"]
        found.append(
            [
                (sum(w for s, w in weights.items() if e in choices[layer][s]) + constants["strength"] * p)
                / total
                for e, p in enumerate(prior[layer])
            ]
        )
    return np.concatenate(found)


def same_history(t, rows, choices, prior, candidates, constants, fixed):
    """The corrected predictions of every router at row `t`.

    ``prior[row]`` are predictions ``[router][expert]``: of row `t` and the document's earlier rows those of the model
    that is corrected, of candidates those that were made without them.
    """
    kept, neutral, middle, least = fixed
    top_k, layers = 2, len(choices)
    earlier = [s for s in range(t) if rows.sample.document[s] == rows.sample.document[t]]
    found = []
    for layer in range(layers):
        total, moved = constants["strength"], np.zeros(len(prior[t][layer]))
        for s in [*candidates, *earlier]:
            if layer == 0 or not choices[layer][s]:
                continue
            powers = [kept ** (layer - 1 - before) for before in range(layer)]
            near = sum(
                p * overlap(choices[before][s], choices[before][t], top_k) for before, p in enumerate(powers)
            ) / sum(powers)
            last = 0.0
            if rows.follows[s] and rows.follows[t]:
                last = sum(overlap(c[s - 1], c[t - 1], top_k) for c in choices) / layers
            share = constants["previous"]
            height = constants["gamma"] * (near + share * last - neutral - share * middle)
            if height <= least:
                continue
            weight = math.exp(height)
            total += weight
            actual = np.array([e in choices[layer][s] for e in range(len(moved))], float)
            moved += weight * (actual - prior[s][layer])
        found.append(prior[t][layer] + moved / total)
    return np.concatenate(found)
