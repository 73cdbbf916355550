"""Dominant paths: the k most probable paths of a chain over layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import read_only
from routestat.structure.route_search import best_routes

_SUM_TOLERANCE = 1e-6


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
    model = _MarkovChain(first, matrices)
    states = best_routes(model, int(n_paths)).states
    log2_probability = _log2_of(first, matrices, states)
    return Paths(states, log2_probability, np.exp2(log2_probability), int(n_paths))


@dataclass(frozen=True, slots=True, eq=False)
class _MarkovChain:
    """A checked chain of order 1, as the search takes it."""

    first: NDArray[np.float64]
    matrices: list[NDArray[np.float64]]
    order: int = 1

    @property
    def sizes(self) -> list[int]:
        return [len(self.first), *(matrix.shape[1] for matrix in self.matrices)]

    def roots(self) -> NDArray[np.float64]:
        return np.ones(1)

    def rows(self, layer: int, roots: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.matrices[layer - 1][last[:, 0]] if layer else np.tile(self.first, (len(roots), 1))

    def most(self, layer: int) -> NDArray[np.float64]:
        return self.matrices[layer - 1] if layer else self.first[None, :]


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
