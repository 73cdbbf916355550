"""How often two experts of a layer are expected together, and how much of that each group of documents causes.

Both nulls yield, for expert i = 0, 1, ..., the pairs (i, j > i): the tokens expected ``[pair]``, each group's
part ``[group, pair]``, and the variance that independent tokens would have ``[pair]``. A group's pairs less its
part is its score.
"""

from collections.abc import Iterator

import numpy as np
from scipy import linalg

from routestat.inference.base.chunks import chunks
from routestat.inference.base.tables import Floats
from routestat.inference.conditional_bernoulli.distribution import (
    fit_log_weights,
    pair_probabilities,
    pair_rows,
)

Rows = Iterator[tuple[Floats, Floats, Floats]]

# Directions in which a group's curvature is measured, and how far, in standard errors of its loads: short
# enough that they stay between 0 and 1, long enough that the second difference has eight digits.
_DIRECTIONS, _STEP = 4, 0.05


def pooled_pairs(inclusions: Floats, tokens: Floats, top_k: int) -> Rows:
    """One conditional-Bernoulli law at the loads of all groups together.

    A group's part is the expectation fitted with it less that fitted without: n pi_ij - n_-g pi_ij,-g. To first
    order that is n_g pi_ij + (d pi_ij / d loads)(R_g - n_g loads), the influence function; the second order
    makes the sum of the scores free of the bias that fitted loads bring.

    Parameters
    ----------
    inclusions
        R `[group, expert]`, tokens that include each.
    tokens
        n_g `[group]`, above zero, for two groups or more.
    """
    n, rest = tokens.sum(), tokens.sum() - tokens
    total = inclusions.sum(axis=0)
    shares = np.vstack([total / n, (total - inclusions) / rest[:, None]])
    for i, row in enumerate(pair_rows(fit_log_weights(shares, top_k), top_k)):
        own = n * row[0] - rest[:, None] * row[1:]
        yield n * row[0], own, n * _variance(row[0], shares[0], i)


def within_pairs(inclusions: Floats, tokens: Floats, top_k: int) -> Rows:
    """Every group by the law of its own loads: n_g pi_ij(R_g / n_g), less the bias of loads that were fitted.

    With C the covariance of one token's inclusions and H the curvature of pi_ij in the loads, pi_ij of fitted
    loads is too large by tr(H C) / 2n_g, the tokens of a group taken as independent given its loads. The trace
    is the mean of v'Hv over v = C^(1/2) z with z of random signs; here rows of a Hadamard matrix, dealt to the
    groups in turn, whose mean is exact (Hutchinson 1990).
    """
    shares = inclusions / tokens[:, None]
    steps = _signed_roots(shares, top_k) * (_STEP / np.sqrt(tokens))[:, None]
    moved = np.concatenate([shares[None], shares + steps, shares - steps])
    for i, row in enumerate(pair_rows(fit_log_weights(moved, top_k), top_k)):
        own = tokens[:, None] * (row[0] - (row[1:].mean(axis=0) - row[0]) / _STEP**2)
        yield own.sum(axis=0), own, tokens @ _variance(row[0], shares, i)


def _variance(pair: Floats, shares: Floats, i: int) -> Floats:
    """Variance `[..., pair]` of one token's pair i, j > i beyond what i and j themselves explain.

    That of the indicator less its projections on the two inclusions, pi_ij (1 + pi_ij) - pi_ij**2 (1/pi_i +
    1/pi_j): never negative, as pi_ij <= pi_i pi_j under the law. The other experts explain next to nothing.
    """
    mine, others = shares[..., i, None], shares[..., i + 1 :]
    product = mine * others
    inverse = np.divide(mine + others, product, out=np.zeros_like(product), where=product > 0)
    return np.maximum(pair * (1.0 + pair) - pair**2 * inverse, 0.0)


def _signed_roots(shares: Floats, top_k: int) -> Floats:
    """C^(1/2) z `[direction, group, expert]` for the law of each group's loads `[group, expert]`."""
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
    # Loads that are 0 or 1, and their sum, must not move at all, not even by rounding.
    free = (shares > 0) & (shares < 1)
    roots = np.where(free[:, None, :], roots, 0.0)
    mean = roots.sum(axis=2, keepdims=True) / np.maximum(free.sum(axis=1), 1)[:, None, None]
    return np.where(free[:, None, :], roots - mean, 0.0).swapaxes(0, 1)
