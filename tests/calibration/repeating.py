"""Clean traces of models that repeat themselves, and rows that are no measurements planted in them."""

from dataclasses import dataclass, replace

import numpy as np

SHAPES = {
    "8 choose 1, 1 layer": (8, 1, 1),
    "8 choose 1, 2 layers": (8, 1, 2),
    "8 choose 1, 4 layers": (8, 1, 4),
    "8 choose 2, 1 layer": (8, 2, 1),
    "8 choose 2, 2 layers": (8, 2, 2),
    "8 choose 2, 4 layers": (8, 2, 4),
    "64 choose 6, 8 layers": (64, 6, 8),
    "128 choose 8, 8 layers": (128, 8, 8),
}
#: How the text, or the routing itself, repeats.
TEXTS = ("plain", "runs", "heavy runs", "loops", "line loops", "copies", "sticky", "very sticky", "collapsed")
LENGTHS = {"short": (100, 4, 40), "long": (12, 200, 800), "mixed": (40, 4, 400)}
VOCABULARY = 500


@dataclass(frozen=True)
class Recorded:
    """Rows as a reader finds them: experts ``[token, layer, slot]`` and what is known of each token."""

    experts: np.ndarray
    document: np.ndarray
    position: np.ndarray
    decode: np.ndarray
    token: np.ndarray | None
    n_experts: int


def choices(rng, n, n_layers, n_experts, top_k, share):
    """Random experts ``[row, layer, slot]`` where experts have the given shares ``[layer, expert]``."""
    gumbel = rng.gumbel(size=(n, n_layers, n_experts)) + np.log(share)
    return (
        np.argpartition(-gumbel, top_k - 1, axis=2)[..., :top_k] if top_k < n_experts else np.argsort(gumbel)
    )


def clean(rng, shape, text, lengths, known, noise=None):
    """A trace without anything that is no measurement."""
    n_experts, top_k, n_layers = SHAPES[shape]
    documents, least, most = LENGTHS[lengths]
    length = rng.integers(least, most, documents)
    document = np.repeat(np.arange(documents), length)
    position = np.concatenate([np.arange(n) for n in length])
    concentration = 0.05 if text == "collapsed" else 5.0
    share = rng.dirichlet(np.full(n_experts, concentration), n_layers) + 1e-4
    token = np.concatenate([tokens_of(rng, n, text) for n in length])
    noise = rng.choice([0.0, 0.02, 0.2]) if noise is None else noise
    table = choices(rng, VOCABULARY, n_layers, n_experts, top_k, share)
    experts = np.sort(table[token], axis=2)
    fresh = rng.random(len(token)) < noise
    # Choices of a token differ from place to place, in all layers together or in some.
    other = np.sort(choices(rng, int(fresh.sum()), n_layers, n_experts, top_k, share), axis=2)
    some = rng.random((len(other), n_layers, 1)) < rng.choice([0.2, 1.0])
    experts[fresh] = np.where(some, other, experts[fresh])
    if text in ("sticky", "very sticky"):
        stay = rng.random(len(token)) < (0.9 if text == "sticky" else 0.98)
        stay[position == 0] = False
        last = np.maximum.accumulate(np.where(stay, 0, np.arange(len(token))))
        experts = experts[last]
    if text == "copies":
        experts, token = copied(rng, document, experts, token)
    decode = position >= np.repeat(length // 2, length) if rng.random() < 0.5 else np.zeros(len(token), bool)
    return Recorded(experts, document, position, decode, token if known else None, n_experts)


def tokens_of(rng, n, text):
    """Token ids of a document: Zipf, with runs or loops."""
    token = np.minimum(rng.zipf(1.3, n) - 1, VOCABULARY - 1)
    if text in ("runs", "copies"):
        stay = rng.random(n) < 0.2
        stay[0] = False
        return token[np.maximum.accumulate(np.where(stay, 0, np.arange(n)))]
    if text == "heavy runs":
        for start in np.flatnonzero(rng.random(n) < 0.02):
            token[start : start + int(2 * rng.pareto(1.5) + 2)] = token[start]
    if text in ("loops", "line loops") and rng.random() < 0.3:
        start, period = rng.integers(n // 2, n), rng.integers(2, 12)
        token[start:] = np.resize(token[start : start + period], n - start)
    if text == "line loops":
        # Tables and rules: runs of one token, of any length up to a line.
        for start in np.flatnonzero(rng.random(n) < 0.01):
            token[start : start + rng.integers(2, 40)] = rng.integers(20)
    return token


def copied(rng, document, experts, token):
    """A third of the documents begin like an earlier one, as far as both go."""
    experts, token = experts.copy(), token.copy()
    first = np.searchsorted(document, np.arange(document[-1] + 2))
    for one in range(1, document[-1] + 1):
        if rng.random() < 1 / 3:
            other = rng.integers(one)
            n = min(first[one + 1] - first[one], first[other + 1] - first[other])
            experts[first[one] : first[one] + n] = experts[first[other] : first[other] + n]
            token[first[one] : first[one] + n] = token[first[other] : first[other] + n]
    return experts, token


def planted(rng, trace, kind, size):
    """The trace with rows that are no measurements, and which those are ``[row]``.

    `size` is how many rows there are at each place.
    """
    experts, n = trace.experts.copy(), len(trace.document)
    token = None if trace.token is None else trace.token.copy()
    _, n_layers, top_k = experts.shape
    documents = np.unique(trace.document)
    share = np.full((n_layers, trace.n_experts), 1.0 / trace.n_experts)

    def constant():
        return np.sort(choices(rng, 1, n_layers, trace.n_experts, top_k, share)[0], axis=1)

    pad = constant()
    if kind in ("warm-up", "padding right", "padding left", "padding right, own", "zero tail"):
        picked = documents[:1] if kind == "warm-up" else documents[rng.random(len(documents)) < 0.7]
        sizes = np.zeros(len(documents), int)
        sizes[picked] = size if kind == "warm-up" else rng.integers(max(size // 2, 1), size + 1, len(picked))
        value = {one: constant() if kind.endswith("own") else pad for one in picked}
        if kind == "zero tail":
            value = dict.fromkeys(picked, np.tile(np.arange(top_k), (n_layers, 1)))
        return grown(trace, sizes, value, kind in ("warm-up", "padding left"))
    marked = np.zeros(n, bool)
    if kind == "stuck":
        one = documents[int(np.argmax(np.bincount(trace.document)))]
        rows = np.flatnonzero(trace.document == one)
        start = rows[len(rows) // 4]
        marked[start : start + min(size, len(rows) // 2)] = True
        experts[marked] = experts[start]
    elif kind == "decode":
        marked = trace.position >= np.repeat(np.bincount(trace.document) // 2, np.bincount(trace.document))
        values = np.stack([constant() for _ in range(size)])
        experts[marked] = values[rng.integers(size, size=int(marked.sum()))]
        return replace(trace, experts=experts, decode=marked, token=token), marked
    elif kind == "alike":
        marked = rng.random(n) < size / n
        values = np.stack([np.tile(constant()[:1], (n_layers, 1)) for _ in range(3)])
        experts[marked] = values[rng.integers(3, size=int(marked.sum()))]
    return replace(trace, experts=experts, token=token), marked


def grown(trace, sizes, value, left):
    """The trace with `sizes` ``[document]`` more rows at the start or the end of its documents."""
    parts = []
    for one, size in enumerate(sizes):
        rows = trace.document == one
        size = int(size)
        filler = np.tile(value.get(one, trace.experts[0]), (size, 1, 1)).astype(trace.experts.dtype)
        token = np.full(size, VOCABULARY)  # the padding's own
        known = None if trace.token is None else trace.token[rows]
        own = (trace.experts[rows], known, trace.decode[rows], np.zeros(int(rows.sum()), bool))
        more = (filler, token, np.full(size, bool(trace.decode[rows][-1] and not left)), np.ones(size, bool))
        both = (more, own) if left else (own, more)
        parts.append(
            [None if a is None or b is None else np.concatenate([a, b]) for a, b in zip(*both, strict=True)]
        )
    columns = [None if part[0] is None else np.concatenate(part) for part in zip(*parts, strict=True)]
    length = np.array([len(part[0]) for part in parts])
    document = np.repeat(np.arange(len(length)), length)
    position = np.concatenate([np.arange(n) for n in length])
    return Recorded(columns[0], document, position, columns[2], columns[1], trace.n_experts), columns[3]
