"""Compiled loops over tokens with equal ids: back-off through contexts of ids, and what a document showed before."""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, inlined


@compiled
def count_contexts(
    rows: Array, experts: Array, missing: int, contexts: Array, sign: int, table: Array, tokens: Array
) -> None:  # pragma: no cover - compiled
    """Add rows to ``table[context, expert]`` and ``tokens[context]``, or subtract them.

    ``contexts[row, level]`` are numbers of contexts, −1 where a row has none.
    """
    for i in range(len(rows)):
        t = rows[i]
        if experts[t, 0] == missing:
            continue
        for level in range(contexts.shape[1]):
            q = contexts[t, level]
            if q >= 0:
                tokens[q] += sign
                for s in range(experts.shape[1]):
                    table[q, experts[t, s]] += sign


@compiled
def predict_from_contexts(
    rows: Array,
    experts: Array,
    missing: int,
    contexts: Array,
    before: Array,
    most: int,
    load: Array,
    settings: Array,
    table: Array,
    tokens: Array,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Write the probabilities of inclusion ``out[i, expert]`` of some rows.

    ``before[row, level]`` is the latest earlier row of the document with the same context, −1 if there is none; at most
    `most` of them are read. `settings` are the strengths of back-off and of the document, the share of its weight that
    an earlier token keeps when another follows, and the share of what a level learned from the document that is carried
    to the next.
    """
    backed, strength, decay, carry = settings[0], settings[1], settings[2], settings[3]
    n_experts, general = len(load), np.empty(len(load))
    for i in range(len(rows)):
        t, own = rows[i], out[i]
        for j in range(n_experts):
            general[j] = own[j] = load[j]
        for level in range(contexts.shape[1]):
            q = contexts[t, level]
            if q >= 0 and tokens[q] > 0:
                weight = 1.0 / (tokens[q] + backed)
                for j in range(n_experts):
                    learned = own[j] - general[j]
                    general[j] = (table[q, j] + backed * general[j]) * weight
                    own[j] = min(max(general[j] + carry * learned, 0.0), 1.0)
            _add_earlier(own, experts, missing, before[:, level], t, most, strength, decay)


@inlined
def _add_earlier(
    own: Array, experts: Array, missing: int, before: Array, t: int, most: int, strength: float, decay: float
) -> None:  # pragma: no cover - compiled
    """Combine an estimate with the choices of earlier rows of the document, the latest first."""
    s, steps, power, heavy = before[t], 0, 1.0, 0.0
    while s >= 0 and steps < most:
        if experts[s, 0] != missing:
            heavy += power
            power *= decay
        s, steps = before[s], steps + 1
    if heavy == 0.0:
        return
    weight = 1.0 / (heavy + strength)
    for j in range(len(own)):
        own[j] *= strength * weight
    s, steps, power = before[t], 0, weight
    while s >= 0 and steps < most:
        if experts[s, 0] != missing:
            for slot in range(experts.shape[1]):
                own[experts[s, slot]] += power
            power *= decay
        s, steps = before[s], steps + 1
