"""Frequent windows, counted one by one in plain Python."""

import math
from collections import Counter, defaultdict
from itertools import product


def windows_of(choices, start, length):
    """All windows of a token, whose `choices` are one set per layer: one choice of each of the layers."""
    return product(*(sorted(choices[layer]) for layer in range(start, start + length)))


def frequent(tokens, choosing, least, longest=8):
    """Windows (start, choices) of two layers or more that enough tokens and documents of the choosing part take.

    `tokens` are (group, document, choices by layer).
    """
    layers = len(tokens[0][2])
    n, documents = Counter(), defaultdict(set)
    for group, document, choices in tokens:
        if group in choosing:
            for start in range(layers):
                for length in range(1, min(longest, layers - start) + 1):
                    for word in windows_of(choices, start, length):
                        n[start, word] += 1
                        documents[start, word].add(document)
    return {at for at in n if n[at] >= least[0] and len(documents[at]) >= least[1]}


def measure(tokens, choosing, start, word, orders):
    """What the test of a window needs from the other documents."""
    testing = [one for one in tokens if one[0] not in choosing]
    groups = sorted({one[0] for one in testing})

    def by_group(first, part):
        found = dict.fromkeys(groups, 0)
        for group, _, choices in testing:
            found[group] += all(choice in choices[first + at] for at, choice in enumerate(part))
        return found

    everything = by_group(start, ())
    own = by_group(start, word)
    terms = [(1, by_group(start, word[:1]))]
    for place in range(1, len(word)):
        back = min(place, orders[start + place - 1])
        terms.append((1, by_group(start + place - back, word[place - back : place + 1])))
        below = by_group(start + place - back, word[place - back : place]) if back else everything
        terms.append((-1, below))
    sums = [(sign, sum(found.values())) for sign, found in terms]
    n, n_all = sum(own.values()), sum(everything.values())
    if n == 0:
        return {"tokens": 0}
    expected = math.prod(total**sign for sign, total in sums)
    square = ratio_square = 0.0
    for group in groups:
        linear = sum(
            sign * found[group] / total for (sign, found), (_, total) in zip(terms, sums, strict=True)
        )
        square += (own[group] - expected * linear - everything[group] / n_all * (n - expected)) ** 2
        ratio_square += (own[group] / n - linear) ** 2
    inverse = sum(sign / total for sign, total in sums)
    return {
        "tokens": n,
        "documents": len({document for _, document, choices in testing if _takes(choices, start, word)}),
        "groups": sum(count > 0 for count in own.values()),
        "expected": expected,
        "square": square,
        "ratio_square": ratio_square,
        "variance": max(n, expected) * max(0.0, 1 - expected * inverse),
    }


def _takes(choices, start, word):
    return all(choice in choices[start + at] for at, choice in enumerate(word))
