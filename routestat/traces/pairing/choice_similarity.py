"""Documents of two traces that are one text, by their choices: the same text has equal choices up to a few flips.

Candidates share stretches of choices in one layer. Whether a pair is one text is then decided by all its rows: in how
many of them both agree, compared with the rows in random order. Chance is thus
estimated from the two documents themselves, for any router and any preferred choice; rows that repeat the
one before are not counted. The evidence of one layer, in bits, must exceed what the best of all pairs could reach by
chance, and every part of the documents must agree, for samples of one prompt agree in a part.
"""

from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.traces.metadata import Router
from routestat.traces.pairing.choice_sketches import MISSING, Sketch, between_for, depth_for, sketch
from routestat.traces.pairing.document_contents import HEAD, TAIL, Document
from routestat.traces.pairing.document_matching import Pair
from routestat.traces.row_hash import hash_rows
from routestat.traces.store import Trace

# Layers that are compared.
LAYERS = 8
#: Rows of a stretch, most documents with the same one, most candidates of one document that are tested.
STRETCH, MOST_ALIKE, CANDIDATES = 6, 3, 3
#: Agreement beyond chance that each of the parts of a document must reach.
LEAST_AGREEMENT, PARTS = 0.25, 4
# Largest agreement assumed if no row was flipped.
LARGEST_SHARE = 0.98
MARGIN_BITS = 10.0


def pair_by_choices(
    traces: tuple[Trace, Trace],
    routers: Sequence[tuple[Router, Router]],
    documents: tuple[Sequence[Document], Sequence[Document]],
) -> list[Pair]:
    """Pair documents that are the same text by their choices, each with at most one of the other trace.

    Parameters
    ----------
    traces : (Trace, Trace)
    routers : sequence of (Router, Router)
        The same routers in both traces; pairs of unequal alphabets are skipped.
    documents : (sequence of Document, sequence of Document)
    """
    same = [
        pair for pair in routers if (pair[0].n_experts, pair[0].top_k) == (pair[1].n_experts, pair[1].top_k)
    ]
    if not same or not all(documents):
        return []
    looked = [same[place] for place in np.unique(np.linspace(0, len(same) - 1, LAYERS).astype(int))]
    depth = depth_for(max(len(documents[0]), len(documents[1])), len(looked))
    between = between_for(max(sum(d.tokens for d in some) for some in documents), len(looked))
    a, b = (
        sketch(
            trace,
            [pair[side] for pair in looked],
            {d.number: d.tokens for d in documents[side]},
            depth,
            between,
        )
        for side, trace in enumerate(traces)
    )
    if not len(a.document) or not len(b.document):
        return []
    tried = np.log2(len(a.document)) + np.log2(len(b.document)) + np.log2((2 * HEAD + 1) * len(looked))
    found: list[tuple[float, int, int, int]] = []
    for one, other, shift in dict.fromkeys([*_copies(a, b), *_candidates(a, b)]):
        agreement = agreement_if_same_text(a, b, one, other, shift, tried + MARGIN_BITS)
        if agreement is not None:
            found.append((agreement, one, other, shift))
    taken: tuple[set[int], set[int]] = set(), set()
    pairs = []
    for _, one, other, shift in sorted(found, key=lambda item: (-item[0], *item[1:])):
        if one not in taken[0] and other not in taken[1]:
            taken[0].add(one)
            taken[1].add(other)
            skip_a, skip_b = max(shift, 0), max(-shift, 0)
            rows = min(int(a.length[one]) - skip_a, int(b.length[other]) - skip_b)
            pairs.append((one, Pair(int(a.document[one]), int(b.document[other]), skip_a, skip_b, rows)))
    return [pair for _, pair in sorted(pairs, key=lambda item: item[0])]


def agreement_if_same_text(
    a: Sketch, b: Sketch, one: int, other: int, shift: int, need: float
) -> float | None:
    """Return the agreement of two documents beyond chance if it proves that they are one text, else None.

    Parameters
    ----------
    a, b : Sketch
    one, other : int
        The documents to compare.
    shift : int
        Rows of the first that the second lacks at its start; negative: the other way round.
    need : float
        Bits of evidence.
    """
    ends = int(a.length[one]) - shift - int(b.length[other])
    if abs(shift) > HEAD or abs(ends) > TAIL:
        return None
    rows_a, rows_b = slice(*a.start[one : one + 2]), slice(*b.start[other : other + 2])
    _, at_a, at_b = np.intersect1d(
        a.place[rows_a], b.place[rows_b] + shift, assume_unique=True, return_indices=True
    )
    x, y = a.state[rows_a][at_a], b.state[rows_b][at_b]
    known = (x != MISSING) & (y != MISSING)
    fresh = known.copy()
    fresh[1:] &= (x[1:] != x[:-1]) | (y[1:] != y[:-1])
    same = (x == y) & fresh
    bits, chance = 0.0, np.zeros(x.shape)
    for layer in range(x.shape[1]):
        n = int(fresh[:, layer].sum())
        if n < 2:
            fresh[:, layer] = same[:, layer] = False
            continue
        by_chance = _meetings(x[fresh[:, layer], layer], y[fresh[:, layer], layer])
        chance[:, layer] = by_chance
        bits = max(bits, n * _divergence(same[:, layer].sum() / n, by_chance))
    if bits < need:
        return None
    # Parts of equal length: samples of one prompt agree in the first of them only.
    parts = np.array_split(np.arange(len(x)), min(PARTS, max(1, len(x) // 8)))
    if not all(_agrees(same[part], fresh[part], chance[part]) for part in parts):
        return None
    if _departs(same, fresh, chance):
        return None
    expected = float(chance[fresh].sum())
    return (float(same.sum()) - expected) / max(float(fresh.sum()) - expected, 1.0)


def _meetings(x: NDArray[np.integer], y: NDArray[np.integer]) -> float:
    """Return the probability that a row of the one equals a row of the other in random order."""
    values, inverse = np.unique(np.concatenate([x, y]), return_inverse=True)
    p, q = (np.bincount(part, minlength=len(values)) for part in (inverse[: len(x)], inverse[len(x) :]))
    # At least one: values that never coincide are not impossible.
    return max(float(p @ q), 1.0) / (len(x) * len(y))


def _divergence(share: float, chance: float) -> float:
    """Compute the Kullback–Leibler divergence in bits of a share from a smaller chance; 0 if not smaller."""
    if share <= chance:
        return 0.0
    rest = (1.0 - share) * np.log2((1.0 - share) / (1.0 - chance)) if share < 1.0 else 0.0
    return float(share * np.log2(share / chance) + rest)


def _agrees(same: NDArray[np.bool_], fresh: NDArray[np.bool_], chance: NDArray[np.float64]) -> bool:
    """Return whether a part agrees by `LEAST_AGREEMENT` beyond chance, and by more than chance varies."""
    expected, variance = float(chance[fresh].sum()), float((chance * (1.0 - chance))[fresh].sum())
    possible = float(fresh.sum()) - expected
    beyond = float(same.sum()) - expected
    # Where choices hardly change agreement is undefined.
    return possible < 1.0 or beyond >= max(LEAST_AGREEMENT * possible, 2.0 * variance**0.5)


def _departs(same: NDArray[np.bool_], fresh: NDArray[np.bool_], chance: NDArray[np.float64]) -> bool:
    """Return whether the last rows, or a stretch anywhere, agree only as by chance in one layer.

    Log-likelihood ratios are summed up row by row. If all rows agree alike, the sum that is largest over all first rows
    of a last stretch exceeds b bits with a probability of at most 2**-b (Ville's inequality); over all stretches of n
    rows, of at most n 2**-b.
    """
    n, layers = same.shape
    by_chance = np.clip(chance.max(axis=0), 1e-6, 0.5)
    agreement = np.clip(same.sum(axis=0) / np.maximum(fresh.sum(axis=0), 1), by_chance, LARGEST_SHARE)
    matching_bits, differing_bits = (
        np.log2(by_chance / agreement),
        np.log2((1.0 - by_chance) / (1.0 - agreement)),
    )
    sums = np.cumsum(np.where(fresh, np.where(same, matching_bits, differing_bits), 0.0), axis=0)
    lowest = np.minimum.accumulate(np.concatenate([np.zeros((1, layers)), sums]), axis=0)[:-1]
    need = MARGIN_BITS + np.log2(layers)
    return bool((sums[-1] - lowest[-1]).max() >= need or (sums - lowest).max() >= need + np.log2(n))


def _copies(a: Sketch, b: Sketch) -> list[tuple[int, int, int]]:
    """Pair documents of equal kept rows, the first with the first, and so on."""
    keyed: dict[tuple[int, bytes], deque[int]] = defaultdict(deque)
    for other in range(len(b.document)):
        keyed[int(b.length[other]), b.state[slice(*b.start[other : other + 2])].tobytes()].append(other)
    found = []
    for one in range(len(a.document)):
        if others := keyed.get((int(a.length[one]), a.state[slice(*a.start[one : one + 2])].tobytes())):
            found.append((one, others.popleft(), 0))
    return found


def _candidates(a: Sketch, b: Sketch) -> list[tuple[int, int, int]]:
    """Return pairs of documents, with their shift, that share stretches which few others have; most first."""
    (key_a, of_a, place_a), (key_b, of_b, place_b) = _stretches(a), _stretches(b)
    votes: dict[tuple[int, int, int], int] = defaultdict(int)
    first_a, times_a = _runs(key_a)
    first_b, times_b = _runs(key_b)
    _, at_a, at_b = np.intersect1d(key_a[first_a], key_b[first_b], assume_unique=True, return_indices=True)
    few = (times_a[at_a] <= MOST_ALIKE) & (times_b[at_b] <= MOST_ALIKE)
    for one, other in zip(at_a[few].tolist(), at_b[few].tolist(), strict=True):
        for i in range(first_a[one], first_a[one] + times_a[one]):
            for j in range(first_b[other], first_b[other] + times_b[other]):
                votes[int(of_a[i]), int(of_b[j]), int(place_a[i] - place_b[j])] += 1
    best: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for (one, other, shift), n in sorted(votes.items(), key=lambda item: (-item[1], item[0])):
        if n > 1 and abs(shift) <= HEAD and len(best[one]) < CANDIDATES:
            best[one].append((one, other, shift))
    return [candidate for some in best.values() for candidate in some]


def _runs(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first entry and the length of every run of equal keys, of sorted keys."""
    first = (
        np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        if len(keys)
        else np.empty(0, np.int64)
    )
    return first, np.diff(np.append(first, len(keys)))


def _stretches(one: Sketch) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the keys of all stretches of rows in each layer, sorted, with their document and first place.

    Stretches with a missing choice, or with only one or two different ones, are left out.
    """
    n = len(one.place) - STRETCH + 1
    if n < 1:
        return np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64)
    of = np.repeat(np.arange(len(one.document)), np.diff(one.start))
    whole = (of[STRETCH - 1 :] == of[:n]) & (one.place[STRETCH - 1 :] - one.place[:n] == STRETCH - 1)
    keys, rows = [], []
    for layer in range(one.state.shape[1]):
        column = one.state[:, layer]
        stretch = np.stack([column[i : n + i] for i in range(STRETCH)])
        changes = (stretch[1:] != stretch[:-1]).sum(axis=0)
        fits = np.flatnonzero(whole & (changes >= STRETCH // 2) & (stretch != MISSING).all(axis=0))
        keys.append(hash_rows([np.full(len(fits), layer), *stretch[:, fits]], len(fits)))
        rows.append(fits)
    key, row = np.concatenate(keys), np.concatenate(rows)
    order = np.argsort(key, kind="stable")
    return key[order], of[row[order]], one.place[row[order]]
