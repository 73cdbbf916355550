"""Distributions of routing on plain arrays: how subsets are drawn.

Two levels. On *states*, a distribution is a vector over the C(E, k) subsets. On *experts*, every expert has a weight
and a token takes k of them one after another, each time in proportion to the weights left (successive
sampling, also called Plackett–Luce); this works for alphabets far too wide to list. `subset_distribution` is the
bridge: the exact state distribution of given expert weights.
"""

from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.traces.alphabet import Alphabet

Floats = NDArray[np.float64]

DENSE_STATES = 1024  # a square table per layer gap: 8 MB each at this size
LISTED_SUBSETS = 4096
_CHUNK = 1 << 14


def check_share(name: str, value: float) -> float:
    """`value` as a float, if it lies between 0 and 1."""
    if not 0 <= value <= 1:
        raise RoutestatError(f"{name} must lie between 0 and 1, got {value!r}")
    return float(value)


def check_positive(name: str, value: float) -> float:
    """`value` as a float, if it is finite and above 0."""
    if not (np.isfinite(value) and value > 0):
        raise RoutestatError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)


def check_distribution(name: str, distribution: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """Return an array of `shape` whose last axis is a probability distribution, normalised against rounding."""
    p = np.array(distribution, dtype=float)
    if p.shape != shape:
        raise RoutestatError(f"{name} must have shape {shape}, got {p.shape}")
    total = p.sum(axis=-1, keepdims=True)
    if not (np.all(p >= 0) and np.all(np.abs(total - 1) < 1e-9)):
        raise RoutestatError(f"{name} must be probabilities that sum to 1 over the last axis")
    return p / total


def expert_weights(
    popularity: float | ArrayLike, n_layers: int, alphabet: Alphabet, rng: np.random.Generator
) -> Floats:
    """Weights ``[layer, expert]`` that sum to 1 in every layer.

    Parameters
    ----------
    popularity : float, or array ``[expert]`` or ``[layer, expert]``
        A number is the concentration per expert of a symmetric Dirichlet distribution, from which each layer draws
        its own weights; an array is taken as it is, up to scale.

    Raises
    ------
    RoutestatError
        If the shape is wrong, a weight is negative or not finite, or fewer than k experts of a layer have
        any weight.
    """
    given = np.asarray(popularity, dtype=float)
    if given.ndim == 0:
        alpha = np.full(alphabet.n_experts, check_positive("popularity, as a concentration,", float(given)))
        weights = rng.dirichlet(alpha, size=n_layers)
    elif given.shape in ((alphabet.n_experts,), (n_layers, alphabet.n_experts)):
        weights = np.broadcast_to(given, (n_layers, alphabet.n_experts))
    else:
        raise RoutestatError(
            f"popularity must be a number or have {alphabet.n_experts} experts (of {n_layers} layers), "
            f"got shape {given.shape}"
        )
    if not np.all(np.isfinite(weights) & (weights >= 0)):
        raise RoutestatError("popularity must be finite and not negative")
    in_use = (weights > 0).sum(axis=1)
    if np.any(in_use < alphabet.top_k):
        raise RoutestatError(
            f"every layer needs at least top_k={alphabet.top_k} experts in use, got {in_use.min()}: "
            "name fewer dead experts"
        )
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def is_listable(alphabet: Alphabet) -> bool:
    """Whether all subsets of up to k experts are few enough to list, so that state distributions are exact."""
    # With k above E/2 the smaller subsets that lead to a state outnumber the states themselves.
    return max(comb(alphabet.n_experts, m) for m in range(1, alphabet.top_k + 1)) <= LISTED_SUBSETS


def subset_distribution(weights: ArrayLike, top_k: int) -> Floats:
    """Exact distribution over states of k experts taken one after another in proportion to their weights.

    Built up subset by subset, P(A) = Σ_{i∈A} P(A∖i) · w_i / w(outside A∖i), in which every term is positive:
    the inclusion–exclusion form cancels where weights are uneven.

    Parameters
    ----------
    weights : array ``[..., expert]``
        Not negative, at least k of them positive.

    Returns
    -------
    array ``[..., state]``
    """
    w = np.asarray(weights, dtype=float)
    n_experts = w.shape[-1]
    distribution = np.ones((*w.shape[:-1], 1))
    outside = w.sum(axis=-1, keepdims=True)
    for size in range(1, top_k + 1):
        alphabet = Alphabet(n_experts, size)
        subsets = alphabet.unrank(np.arange(alphabet.size))
        step = np.divide(distribution, outside, out=np.zeros_like(distribution), where=outside > 0)
        distribution = np.zeros((*w.shape[:-1], alphabet.size))
        for slot in range(size):
            before = np.delete(subsets, slot, axis=1)
            origin = (
                Alphabet(n_experts, size - 1).rank(before) if size > 1 else np.zeros(len(subsets), np.intp)
            )
            distribution += step[..., origin] * w[..., subsets[:, slot]]
        outside = w @ (1.0 - alphabet.membership.T)
    return distribution / distribution.sum(axis=-1, keepdims=True)


def dirichlet_around(base: Floats, concentration: float, n_rows: int, rng: np.random.Generator) -> Floats:
    """Distributions ``[row, symbol]`` drawn from Dirichlet(concentration · base); symbols outside the base stay out."""
    support = np.flatnonzero(base > 0)
    rows = np.zeros((n_rows, len(base)))
    rows[:, support] = rng.dirichlet(concentration * base[support], size=n_rows)
    return rows


def draw_experts(
    logits: Floats, top_k: int, rows: NDArray[np.integer], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw k experts per token, one after another by weight exp(logit).

    Parameters
    ----------
    logits : array ``[row, expert]``
        −inf for an expert that is never used.
    rows : integer array ``[token]``
        Which row each token follows.

    Returns
    -------
    integer array ``[token, k]``
        Distinct experts in no particular order.
    """
    scores = np.asarray(logits, dtype=np.float32)
    parts = _parts(len(rows))
    return np.concatenate([_take_largest(scores[rows[part]], top_k, rng) for part in parts])


def draw_dependent_experts(
    logits: Floats, influence: Floats, experts: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw k experts per token that depend on its experts in the layer before.

    Parameters
    ----------
    logits : float array ``[target]``
    influence : float array ``[source, target]``
        Its rows of the token's own experts are added to the logits.
    experts : int array ``[token, k]``
        Experts of the layer before.

    Returns
    -------
    int array ``[token, k]``
    """
    base, pull = np.asarray(logits, dtype=np.float32), np.asarray(influence, dtype=np.float32)
    drawn = np.empty_like(experts)
    for part in _parts(len(experts)):
        # Added slot by slot, not as a matrix product: BLAS may sum in another order on another machine.
        scores = base + pull[experts[part, 0]]
        for slot in range(1, experts.shape[1]):
            scores += pull[experts[part, slot]]
        drawn[part] = _take_largest(scores, experts.shape[1], rng)
    return drawn


def _parts(n_tokens: int) -> list[slice]:
    # Keys are drawn for every token and expert: in parts, so that they never fill the memory.
    return [slice(start, min(start + _CHUNK, n_tokens)) for start in range(0, n_tokens, _CHUNK)]


def _take_largest(scores: NDArray[np.float32], top_k: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the k largest of score + Gumbel noise in each row, which is successive sampling by exp(score)."""
    # −log of an exponential is Gumbel, so its logarithm less the score must be small; 1e-30 keeps log from 0.
    # Single precision halves the time, and rounds probabilities by about one part in a million.
    keys = rng.standard_exponential(scores.shape, dtype=np.float32)
    keys += np.float32(1e-30)
    np.log(keys, out=keys)
    keys -= scores
    return keys.argpartition(top_k - 1, axis=1)[:, :top_k]


def mix_in_independence(rows: Floats, target: Floats, coupling: float) -> Floats:
    """Mix transitions ``[source, target]``: the row's own with probability `coupling`, else `target`."""
    return coupling * rows + (1 - coupling) * target


def log_weights(weights: Floats) -> Floats:
    """Natural logs, −inf for weight 0."""
    return np.log(weights, out=np.full(weights.shape, -np.inf), where=weights > 0)


def repeat_previous(
    position: NDArray[np.int32], stickiness: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """For every token, the index of the token whose draw it repeats: its own, or the last fresh one."""
    index = np.arange(len(position))
    if stickiness == 0:
        return index
    fresh = (rng.random(len(position)) >= stickiness) | (position == 0)
    return np.maximum.accumulate(np.where(fresh, index, 0))
