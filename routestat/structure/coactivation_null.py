"""Expected pairs of experts of a layer under both nulls, and each group's part of them.

Both nulls yield the pairs (i, j > i) of some experts i = 0, 1, ... at a time: the expected tokens ``[pair]``, each
group's part ``[group, pair]``, and the variance of independent tokens ``[pair]``. A group's score is its pairs less its
part.
"""

from collections.abc import Iterator

import numpy as np
from scipy import linalg

from routestat.inference.base.chunks import chunks
from routestat.inference.base.tables import Floats, Integers
from routestat.inference.conditional_bernoulli.distribution import (
    fit_log_weights,
    pair_block,
    pair_probabilities,
)

PairBlocks = Iterator[tuple[Floats, Floats, Floats]]

# Directions in which a group's curvature is measured, and how far, in standard errors of its loads: short
# enough that they stay between 0 and 1, long enough that the second difference has eight digits.
_DIRECTIONS, _STEP = 4, 0.05
# Tables ``[group, pair]`` are so many times larger than other temporary arrays, those ``[move, group, pair]`` smaller.
_TABLES = 8


def pooled_pairs(inclusions: Floats, tokens: Floats, top_k: int) -> PairBlocks:
    """Expect pairs by one conditional-Bernoulli distribution at the loads of all groups together.

    A group's part is the expectation fitted with it minus that fitted without: n pi_ij - n_-g pi_ij,-g. To first
    order that is n_g pi_ij + (d pi_ij / d loads)(R_g - n_g loads), the influence function; with the
    second order the sum of the scores has no bias by the fitted loads.

    Parameters
    ----------
    inclusions
        R `[group, expert]`, tokens with each expert.
    tokens
        n_g `[group]`, above zero, for two groups or more.
    """
    n, rest = tokens.sum(), tokens.sum() - tokens
    total = inclusions.sum(axis=0)
    shares = np.vstack([total / n, (total - inclusions) / rest[:, None]])
    weights = fit_log_weights(shares, top_k)
    for experts, first, second in _blocks(*inclusions.shape):
        pairs = pair_block(weights, top_k, experts.start, experts.stop)
        own = n * pairs[0] - rest[:, None] * pairs[1:]
        yield n * pairs[0], own, n * _variance(pairs[0], shares[0], first, second)


def within_pairs(inclusions: Floats, tokens: Floats, top_k: int) -> PairBlocks:
    """Expect pairs by each group's own loads: n_g pi_ij(R_g / n_g), minus the bias of fitted loads.

    With C the covariance of one token's inclusions and H the curvature of pi_ij in the loads, pi_ij of fitted
    loads is too large by tr(H C) / 2n_g, the tokens of a group taken as independent given its loads. The trace
    is the mean of v'Hv over v = C^(1/2) z with z of random signs; here rows of a Hadamard matrix, assigned to the
    groups in turn, whose mean is exact (Hutchinson 1990).
    """
    shares = inclusions / tokens[:, None]
    steps = _signed_roots(shares, top_k) * (_STEP / np.sqrt(tokens))[:, None]
    moved = fit_log_weights(np.concatenate([shares[None], shares + steps, shares - steps]), top_k)
    for experts, first, second in _blocks(*shares.shape):
        own, variance = np.empty((len(shares), len(first))), np.zeros(len(first))
        for part in chunks(len(shares), _TABLES * len(moved) * len(first)):
            pairs = pair_block(moved[:, part], top_k, experts.start, experts.stop)
            n = tokens[part]
            own[part] = n[:, None] * (pairs[0] - (pairs[1:].mean(axis=0) - pairs[0]) / _STEP**2)
            variance += n @ _variance(pairs[0], shares[part], first, second)
        yield own.sum(axis=0), own, variance


def _blocks(groups: int, n_experts: int) -> Iterator[tuple[slice, Integers, Integers]]:
    """Yield experts i, with the experts of their pairs i and j > i, so that a table ``[group, pair]`` is of bounded size."""
    first, second = np.triu_indices(n_experts, 1)
    for experts in chunks(n_experts - 1, groups * n_experts // _TABLES):
        own = (first >= experts.start) & (first < experts.stop)
        yield experts, first[own], second[own]


def _variance(pair: Floats, shares: Floats, first: Integers, second: Integers) -> Floats:
    """Compute the variance `[..., pair]` of one token's pair i, j > i beyond the inclusions of i and j.

    That of the indicator less its projections on the two inclusions, pi_ij (1 + pi_ij) - pi_ij**2 (1/pi_i +
    1/pi_j): never negative, as pi_ij <= pi_i pi_j here. The other experts explain almost nothing.
    """
    mine, others = shares[..., first], shares[..., second]
    product = mine * others
    inverse = np.divide(mine + others, product, out=np.zeros_like(product), where=product > 0)
    return np.maximum(pair * (1.0 + pair) - pair**2 * inverse, 0.0)


def _signed_roots(shares: Floats, top_k: int) -> Floats:
    """Compute C^(1/2) z `[direction, group, expert]` for each group's loads `[group, expert]`."""
    groups, n_experts = shares.shape
    signs = linalg.hadamard(1 << (n_experts - 1).bit_length()).astype(np.float64)
    turn = np.arange(groups)[:, None] * _DIRECTIONS + np.arange(_DIRECTIONS)
    signs = signs[turn % len(signs), :n_experts]
    roots = np.empty_like(signs)
    for part in chunks(groups, n_experts**2):
        p = shares[part]
        covariance = pair_probabilities(fit_log_weights(p, top_k), top_k) - p[:, :, None] * p[:, None, :]
        values, vectors = np.linalg.eigh(covariance)
        scaled = np.sqrt(np.maximum(values, 0.0))[:, None, :] * (signs[part] @ vectors)
        roots[part] = scaled @ vectors.swapaxes(1, 2)
    # Loads of 0 or 1, and their sum, must not change, not even by rounding.
    free = (shares > 0) & (shares < 1)
    roots = np.where(free[:, None, :], roots, 0.0)
    mean = roots.sum(axis=2, keepdims=True) / np.maximum(free.sum(axis=1), 1)[:, None, None]
    return np.where(free[:, None, :], roots - mean, 0.0).swapaxes(0, 1)
