"""Three layers token by token: joint counts, expectations and clustered z, from their definitions."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np


def count(tokens):
    """Counts by cell and group, and documents by cell; `tokens` are (document, group, xs, ys, zs)."""
    cells, documents = defaultdict(Counter), defaultdict(set)
    for document, group, xs, ys, zs in tokens:
        for cell in itertools.product(xs, ys, zs):
            cells[cell][group] += 1
            documents[cell].add(document)
    return cells, {cell: len(found) for cell, found in documents.items()}


def scores(tokens, cell, model):
    """Scores of the groups of one cell, its expectation and the variance of independent tokens."""
    groups = sorted({token[1] for token in tokens})
    x, y, z = cell

    def by_group(*wanted):
        return np.array(
            [
                sum(
                    all(value is None or value in own for value, own in zip(wanted, token[2:], strict=True))
                    for token in tokens
                    if token[1] == group
                )
                for group in groups
            ],
            float,
        )

    every, n = by_group(x, y, z), by_group(None, None, None)
    if model == "independence":
        parts = by_group(x, None, None), by_group(None, y, None), by_group(None, None, z)
        p, q, r = (part.sum() / n.sum() for part in parts)
        expected = n.sum() * p * q * r
        own = every - q * r * parts[0] - p * r * parts[1] - p * q * parts[2]
        own += n * (3 * p * q * r - every.sum() / n.sum())
        variance = expected * (1 - p * q - p * r - q * r + 2 * p * q * r)
        return own, every.sum(), expected, variance, n
    xy, yz, of_y = by_group(x, y, None), by_group(None, y, z), by_group(None, y, None)
    p, r = xy.sum() / of_y.sum(), yz.sum() / of_y.sum()
    own = every - r * xy - p * yz + of_y * (2 * p * r - every.sum() / of_y.sum())
    expected = of_y.sum() * p * r
    return own, every.sum(), expected, expected * (1 - p) * (1 - r), of_y


def z_values(tokens, cells, model):
    """Moderated z of the cells, by cell."""
    parts = {cell: scores(tokens, cell, model) for cell in cells}
    parts = {cell: part for cell, part in parts.items() if part[3] > 1e-9}
    effect = sum((part[0] ** 2).sum() for part in parts.values()) / sum(part[3] for part in parts.values())
    found = {}
    for cell, (own, observed, expected, variance, size) in parts.items():
        groups = int((size > 0).sum())
        square = groups / (groups - 1) * ((own**2).sum() + effect * variance) / 2
        found[cell] = (observed - expected) / math.sqrt(square)
    return found


def entropy_bits(values):
    """Plug-in entropy of a list."""
    counts = np.array(list(Counter(values).values()), float)
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def information_bits(tokens):
    """Plug-in I(X;Y), I(Y;Z), I(X;Z), I(X;Z|Y), interaction and total correlation of tokens of single states."""
    x, y, z = (["".join(map(str, token[at])) for token in tokens] for at in (2, 3, 4))

    def h(*lists):
        return entropy_bits(list(zip(*lists, strict=True)))

    direct, given = h(x) + h(z) - h(x, z), h(x, y) + h(y, z) - h(x, y, z) - h(y)
    return (
        h(x) + h(y) - h(x, y),
        h(y) + h(z) - h(y, z),
        direct,
        given,
        direct - given,
        h(x) + h(y) + h(z) - h(x, y, z),
    )
