"""How often adjacent tokens have an expert in common, and four kinds of chance to compare it with."""

from dataclasses import dataclass
from itertools import combinations
from math import comb, nan

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.conditional_bernoulli.distribution import fit_log_weights, log_probability
from routestat.inference.conditional_bernoulli.sampling import draw_subsets

DRAWS = 4_000


@dataclass(frozen=True)
class Repeats:
    """How often adjacent tokens of a layer have an expert in common.

    Attributes
    ----------
    layer
        The model's layer.
    observed
        Share of the pairs of adjacent tokens.
    loads
        The same of two independent draws at the layer's loads.
    document
        The same of two tokens at random from one document, weighted as the pairs are.
    excess
        `observed` less `document`.
    unlike
        `observed` among pairs of different token ids that other documents have too; NaN without ids.
    by_token
        Among those, the share that independent choices given the two ids would have.
    beyond
        `unlike` less `by_token`.
    """

    layer: int
    observed: Estimate
    loads: float
    document: float
    excess: Estimate
    unlike: Estimate
    by_token: float
    beyond: Estimate


def uniform_chance(n_experts: int, top_k: int) -> float:
    """Probability that two random subsets of k of E experts have a member in common; 1 / E for k = 1."""
    return 1.0 - comb(n_experts - top_k, top_k) / comb(n_experts, top_k)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of adjacent tokens of a sample.

    Attributes
    ----------
    document
        `[row]`.
    later
        Rows `[pair]` of the later tokens; the earlier one is the row before.
    group
        Independent unit `[pair]`.
    token, place, here
        Token ids `[row]`, each row's combination of document and id, and the ids `[combination]`; empty where none
        are recorded.
    """

    document: NDArray[np.integer]
    later: NDArray[np.intp]
    group: NDArray[np.integer]
    token: NDArray[np.integer]
    place: NDArray[np.intp]
    here: NDArray[np.integer]


def pairs_of(sample: Sample, kept: NDArray[np.bool_] | None = None) -> Pairs:
    """Return the adjacent pairs of a sample, or those of the rows `kept`: whole documents."""
    rows = np.arange(len(sample)) if kept is None else np.flatnonzero(kept)
    document, token = sample.document[rows], sample.token[rows].astype(np.int64)
    later = np.flatnonzero(sample.follows[rows])
    nothing = np.empty(0, np.int64)
    place, here = nothing.astype(np.intp), nothing
    if (token >= 0).all():
        ends = int(token.max()) + 1
        combination, place = np.unique(document * ends + token, return_inverse=True)
        here = combination % ends
    else:
        token = nothing
    return Pairs(document, later, sample.group[rows][later], token, place, here)


def meet(one: NDArray[np.integer], other: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the subsets `[row, slot]` of two tokens have an expert in common, `[row]`."""
    found = np.zeros(len(one), np.bool_)
    for slot in one.T:
        for against in other.T:
            found |= slot == against
    return found


def meeting(subsets: NDArray[np.integer]) -> NDArray[np.float32]:
    """Which of these subsets `[subset, slot]` meet, 0 or 1, `[subset, subset]`."""
    members = np.zeros((len(subsets), int(subsets.max()) + 1), np.float32)
    np.put_along_axis(members, subsets.astype(np.int64), 1.0, axis=1)
    return (members @ members.T > 0).astype(np.float32)


def within_document(
    subsets: NDArray[np.integer], state: NDArray[np.integer], document: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Probability that two different tokens of a document meet, `[row]`: the same for all rows of a document.

    Parameters
    ----------
    subsets
        Distinct choices `[state, slot]`.
    state, document
        `[row]`; the result is NaN where a document has one token.
    """
    size = len(subsets)
    keys, tokens = np.unique(document.astype(np.int64) * size + state, return_counts=True)
    numbers, place = np.unique(document, return_inverse=True)
    found = np.full(len(numbers), nan)
    starts = np.flatnonzero(np.diff(keys // size)) + 1
    for at, (kinds, n) in enumerate(
        zip(np.split(keys % size, starts), np.split(tokens, starts), strict=True)
    ):
        if n.sum() > 1:
            found[at] = (n @ meeting(subsets[kinds]) @ n - n.sum()) / (n.sum() * (n.sum() - 1))
    return found[place]


def at_loads(chosen: NDArray[np.integer], n_experts: int, rng: np.random.Generator) -> float:
    """Probability that two draws without replacement at the loads of these choices `[row, slot]` meet.

    Exact for one slot and for few subsets; else over all pairs of `DRAWS` draws of the conditional-Bernoulli
    distribution.
    """
    load = np.bincount(chosen.ravel(), minlength=n_experts) / len(chosen)
    top_k = chosen.shape[1]
    if top_k == 1:
        return float((load**2).sum())
    weights = fit_log_weights(load, top_k)
    if comb(n_experts, top_k) <= 1024:
        subsets = np.array(list(combinations(range(n_experts), top_k)))
        p = np.exp(log_probability(subsets, weights, top_k))
        return float(p @ meeting(subsets) @ p)
    drawn = draw_subsets(np.tile(weights, (DRAWS, 1)), top_k, rng)
    return float((meeting(drawn).sum(dtype=np.float64) - DRAWS) / (DRAWS * (DRAWS - 1)))


def by_token(subsets: NDArray[np.integer], state: NDArray[np.integer], pairs: Pairs) -> NDArray[np.float64]:
    """Probability `[pair]` that independent choices given the token ids meet, learned from the other documents.

    Parameters
    ----------
    subsets
        Distinct choices `[state, slot]`.
    state
        `[row]`.
    pairs
        With token ids.

    Returns
    -------
    NaN where one of the ids is in no other document, or both are the same: one sample of an id gives no independent
    pair of distributions.
    """
    size, ids = len(subsets), int(pairs.token.max()) + 1
    everywhere = np.bincount(pairs.token * size + state, minlength=ids * size).reshape(ids, size)
    spots = len(pairs.here)
    here = np.bincount(pairs.place * size + state, minlength=spots * size).reshape(spots, size)
    elsewhere = (everywhere[pairs.here] - here).astype(np.float32)
    n = elsewhere.sum(axis=1, keepdims=True)
    known = np.divide(elsewhere, n, out=np.full_like(elsewhere, nan), where=n > 0)
    met = known @ meeting(subsets)
    before, after = pairs.place[pairs.later - 1], pairs.place[pairs.later]
    expected = np.einsum("ps,ps->p", met[before], known[after]).astype(np.float64)
    return np.where(pairs.here[before] == pairs.here[after], nan, expected)


def measure(
    layer: int,
    subsets: NDArray[np.integer],
    state: NDArray[np.integer],
    pairs: Pairs,
    n_experts: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> Repeats:
    """Measure the repeats of one layer.

    Parameters
    ----------
    layer
        Its number.
    subsets
        Distinct choices `[state, slot]`: one slot for the first choice, all for any.
    state
        `[row]`.
    pairs
        Of the same rows.
    n_experts
        Experts of the router.
    rng
        Draws at the loads.
    level
        Of the intervals.
    """
    later, group = pairs.later, pairs.group

    def mean(value: NDArray[np.float64]) -> Estimate:
        known = ~np.isnan(value)
        ends = int(group.max()) + 1
        total = np.bincount(group[known], value[known], minlength=ends)
        return ratio(total, np.bincount(group[known], minlength=ends), level)

    chosen = subsets[state]
    observed = meet(chosen[later - 1], chosen[later]).astype(np.float64)
    expected = within_document(subsets, state, pairs.document)[later]
    ids = by_token(subsets, state, pairs) if len(pairs.token) else np.full(len(later), nan)
    return Repeats(
        layer,
        mean(observed),
        at_loads(chosen, n_experts, rng),
        mean(expected).value,
        mean(observed - expected),
        mean(np.where(np.isnan(ids), nan, observed)),
        mean(ids).value,
        mean(observed - ids),
    )


def choices(sample: Sample, place: int, measured: str) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Distinct choices `[state, slot]` of one router and each row's: of the "first" expert, or of "any"."""
    router = sample.routers[place]
    first = measured == "first"
    kinds, state = np.unique(sample.columns[router.name + (".top1" if first else "")], return_inverse=True)
    subsets = kinds[:, None] if first else router.alphabet.unrank(kinds)
    return subsets.astype(np.int64), state


def examine(sample: Sample, measured: str, level: float = 0.95, seed: int = 0) -> list[Repeats]:
    """Measure all layers of a trace."""
    rng, pairs = np.random.default_rng(seed), pairs_of(sample)
    return [
        measure(router.layer, *choices(sample, place, measured), pairs, router.n_experts, rng, level)
        for place, router in enumerate(sample.routers)
    ]
