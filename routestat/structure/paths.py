"""Dominant paths: the k most probable paths of a chain over layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import read_only

_SUM_TOLERANCE = 1e-6
_IMPOSSIBLE = -(2**62)
_FLOOR = -(2**61)
_LOWEST_LOG2 = 1075  # the smallest positive double is 2**-1074


@dataclass(frozen=True, eq=False)
class Paths:
    """The most probable paths of a chain, best first, with the chain's probabilities, not observed frequencies.

    Attributes
    ----------
    states : ndarray [path, layer]
        The state at each layer of the chain.
    log2_probability : ndarray [path]
        log2 of the probability of the whole path.
    probability : ndarray [path]
        The same as a probability; 0.0 where that is below 2**-1074.
    n_requested : int
        The requested number; there are fewer rows where no more paths have positive probability.
    """

    states: NDArray[np.int64]
    log2_probability: NDArray[np.float64]
    probability: NDArray[np.float64]
    n_requested: int

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for name in ("states", "log2_probability", "probability"):
            read_only(getattr(self, name))


def k_best_paths(initial: ArrayLike, transitions: Sequence[ArrayLike], n_paths: int) -> Paths:
    """Find the exact `n_paths` most probable paths of an inhomogeneous chain over layers.

    Each state keeps its `n_paths` best prefixes (k-best Viterbi). Paths of equal probability (products of
    the same factors in any order) come in lexicographic order of their states. Paths of probability zero
    are never returned. Exact to about 1e-12 bits, whatever the depth.

    Parameters
    ----------
    initial : array_like [state]
        Distribution of the state at the first layer.
    transitions : sequence of array_like [source, target]
        One matrix of P(target | source) per gap. A row of zeros marks a source without a successor.
    n_paths : int
        How many paths, ≥ 1.

    Returns
    -------
    Paths
        Fewer than `n_paths` where no more exist.

    Raises
    ------
    RoutestatError
        If the matrices do not form a chain, hold no probabilities, or `n_paths` < 1.

    References
    ----------
    Seshadri & Sundberg, List Viterbi decoding algorithms, IEEE Trans. Commun. 42 (1994).
    """
    first, matrices = _checked_chain(initial, transitions)
    if isinstance(n_paths, bool) or not isinstance(n_paths, int | np.integer) or n_paths < 1:
        raise RoutestatError(f"n_paths must be a whole number ≥ 1, got {n_paths!r}")
    # Whole numbers add exactly in any order, so that equal products tie exactly; the scale is the finest
    # at which the least probable path still fits.
    scale = 2.0 ** (61 - int(np.ceil(np.log2(_LOWEST_LOG2 * (len(matrices) + 1)))))
    score = _fixed_log2(first, scale)[:, None]
    rank = np.arange(len(first))[:, None]
    steps = []
    for matrix in matrices:
        score, rank, source, slot = _advance(score, rank, _fixed_log2(matrix, scale), int(n_paths))
        steps.append((source, slot))
    best = np.lexsort((rank.ravel(), -score.ravel()))[:n_paths]
    best = best[score.ravel()[best] > _FLOOR]
    state, slot = np.unravel_index(best, score.shape)
    states = np.empty((len(best), len(matrices) + 1), dtype=np.int64)
    for layer in range(len(matrices), 0, -1):
        states[:, layer] = state
        sources, slots = steps[layer - 1]
        state, slot = sources[state, slot], slots[state, slot]
    states[:, 0] = state
    log2_probability = _log2_of(first, matrices, states)
    return Paths(states, log2_probability, np.exp2(log2_probability), int(n_paths))


def _advance(
    score: NDArray[np.int64], rank: NDArray[np.int64], matrix: NDArray[np.int64], n_paths: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Extend the best prefixes by one layer.

    `score` and `rank` are [state, slot], best slot first; `rank` is the lexicographic rank of the prefix
    among all kept. Returns `score`, `rank` and the back-pointers `source`, `slot`, all [target, slot].
    """
    n_targets = matrix.shape[1]
    by_name = np.argsort(rank[:, 0])
    heads = _sum(score[by_name, 0], matrix[by_name].T)
    leaders = by_name[np.argsort(-heads, axis=1, kind="stable")[:, :n_paths]]
    # Slot s of the p-th best source follows s prefixes of its own and the heads of p others: with n_paths of these
    # it cannot be among the best.
    places, slots = np.indices((leaders.shape[1], score.shape[1])).reshape(2, -1)
    near = places + slots < n_paths
    source, slot = leaders[:, places[near]], np.broadcast_to(slots[near], (n_targets, near.sum()))
    candidates = _sum(score[source, slot], matrix[source, np.arange(n_targets)[:, None]])
    order = _first(candidates, rank[source, slot], n_paths)
    source, slot, score_next = (np.take_along_axis(a, order, axis=1) for a in (source, slot, candidates))
    name = rank[source, slot] * n_targets + np.arange(n_targets)[:, None]
    rank_next = np.empty(name.size, dtype=np.int64)
    rank_next[np.argsort(name, axis=None)] = np.arange(name.size)
    return score_next, rank_next.reshape(name.shape), source, slot


def _first(score: NDArray[np.int64], rank: NDArray[np.int64], n: int) -> NDArray[np.intp]:
    """Return the indices of the first `n` of each row by descending score, then ascending rank."""
    if score.shape[1] > n:
        near = np.argpartition(-score, n - 1, axis=1)[:, :n]
        last = np.take_along_axis(score, near[:, -1:], axis=1)
        # A tie across the cut is resolved by rank, which the partition ignores; impossible prefixes do not matter.
        if not ((score >= last).sum(axis=1, keepdims=True) > n)[last > _FLOOR].any():
            key = (np.take_along_axis(rank, near, axis=1), -np.take_along_axis(score, near, axis=1))
            return np.take_along_axis(near, np.lexsort(key, axis=1), axis=1)
    return np.lexsort((rank, -score), axis=1)[:, :n]


def _sum(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add where both are possible; two impossible values just fit in 64 bits, three would not."""
    total = a + b
    total[total < _FLOOR] = _IMPOSSIBLE
    return total


def _fixed_log2(probabilities: NDArray[np.float64], scale: float) -> NDArray[np.int64]:
    """Compute log2 as a whole number of 1/`scale` bits."""
    positive = probabilities > 0
    logs = np.log2(probabilities, out=np.zeros_like(probabilities), where=positive)
    return np.where(positive, np.rint(logs * scale).astype(np.int64), _IMPOSSIBLE)


def path_log2_probability(
    initial: ArrayLike, transitions: Sequence[ArrayLike], paths: ArrayLike
) -> NDArray[np.float64]:
    """Compute log2 of the chain's probability of each path; n_tokens · 2**this is its expected count.

    Parameters
    ----------
    initial, transitions
        As for `k_best_paths`.
    paths : array_like [path, layer]
        States, one column per layer of the chain.

    Returns
    -------
    ndarray [path]
        Bits ≤ 0; −inf for an impossible path.

    Raises
    ------
    RoutestatError
        If the chain is invalid or a state is not in it.
    """
    first, matrices = _checked_chain(initial, transitions)
    states = np.asarray(paths)
    sizes = np.array([len(first), *(matrix.shape[1] for matrix in matrices)])
    if states.ndim != 2 or states.shape[1] != len(sizes):
        raise RoutestatError(
            f"paths must be [path, layer] with {len(sizes)} layers, got shape {states.shape}"
        )
    if states.size and (states.dtype.kind not in "iu" or (states < 0).any() or (states >= sizes).any()):
        raise RoutestatError(f"paths must hold states from 0 to {sizes.max() - 1} that their layer has")
    return _log2_of(first, matrices, states.astype(np.int64))


def _log2_of(
    first: NDArray[np.float64], matrices: list[NDArray[np.float64]], states: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute `path_log2_probability` of arrays that were checked."""
    factors = [first[states[:, 0]]]
    factors += [matrix[states[:, i], states[:, i + 1]] for i, matrix in enumerate(matrices)]
    product = np.stack(factors)
    return np.log2(product, out=np.full_like(product, -np.inf), where=product > 0).sum(axis=0)


def chain_marginals(initial: ArrayLike, transitions: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    """Compute the marginal distribution of the state at each layer, a list of [state].

    Raises
    ------
    RoutestatError
        If the chain is invalid.
    """
    first, matrices = _checked_chain(initial, transitions)
    distributions = [first]
    for matrix in matrices:
        distributions.append(distributions[-1] @ matrix)
    return distributions


def _checked_chain(
    initial: ArrayLike, transitions: Sequence[ArrayLike]
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the chain as arrays of probabilities whose shapes agree."""
    first = np.asarray(initial, dtype=np.float64)
    if first.ndim != 1 or not _is_distribution(first):
        raise RoutestatError(
            f"initial must be probabilities [state] that sum to 1, got shape {first.shape}, sum {first.sum():g}"
        )
    matrices, size = [], len(first)
    for gap, transition in enumerate(transitions):
        matrix = np.asarray(transition, dtype=np.float64)
        if matrix.ndim != 2 or len(matrix) != size or matrix.shape[1] == 0:
            raise RoutestatError(f"transitions[{gap}] must have {size} rows, got shape {matrix.shape}")
        if not _is_distribution(matrix[matrix.any(axis=1)]):
            raise RoutestatError(
                f"transitions[{gap}] must have rows of probabilities that sum to 1 (or are all zero); "
                "divide counts by their row sums"
            )
        matrices.append(matrix)
        size = matrix.shape[1]
    return first, matrices


def _is_distribution(rows: NDArray[np.float64]) -> bool:
    """Whether the last axis holds probabilities that sum to 1; NaN does not."""
    return bool((rows >= 0).all() and (np.abs(rows.sum(axis=-1) - 1) <= _SUM_TOLERANCE).all())
