"""Ridge regression of a target's experts on the experts of its sources, from tables of pairs alone.

The features of one source sum to its k, so that their Gram matrix is singular: a penalty is needed however many
tokens there are. It is chosen by the squared error on held-out tokens, which the same tables give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only

#: Candidate penalties, in tokens.
PENALTIES = tuple((10.0 ** np.arange(-1, 6.5, 0.5)).tolist())


@dataclass(frozen=True, slots=True)
class TokenMoments:
    """First and second moments of the features and targets of tokens, as sums.

    Attributes
    ----------
    tokens : float
    features : float array ``[feature]``
    targets : float array ``[j]``
    within : float array ``[feature, feature]``
    across : float array ``[feature, j]``
    """

    tokens: float
    features: Floats
    targets: Floats
    within: Floats
    across: Floats


def moments(within: ArrayLike, across: ArrayLike, top_k: int, slots: int) -> TokenMoments:
    """Compute the moments of indicators from counts ``within[feature, feature]`` and ``across[feature, j]``.

    Every token has `top_k` experts of the target and `slots` features.
    """
    pairs, cells = np.asarray(within, np.float64), np.asarray(across, np.float64)
    if pairs.ndim != 2 or pairs.shape != (len(cells), len(cells)) or slots < 1 or top_k < 1:
        raise RoutestatError(
            f"moments: expected within [feature, feature] and across [feature, j], got {pairs.shape} and {cells.shape}"
        )
    # Every feature of a token meets all k experts of its target, every expert all slots.
    targets = cells.sum(axis=0) / slots
    return TokenMoments(float(targets.sum() / top_k), np.diag(pairs).copy(), targets, pairs, cells)


@dataclass(frozen=True, slots=True)
class Ridge:
    """``intercept + features @ weights`` with weights ``[feature, j]`` and the penalty they were fitted with."""

    intercept: Floats
    weights: Floats
    penalty: float


def fit_ridge(of: TokenMoments, penalty: float) -> Ridge:
    """Minimise Σ |y − intercept − x·weights|² + penalty · |weights|²; the intercept is not penalised.

    Parameters
    ----------
    of : TokenMoments
        Of at least one token.
    penalty : float
        Above zero.
    """
    if not (of.tokens > 0 and penalty > 0):
        raise RoutestatError(
            f"ridge: expected a token or more and a penalty above 0, got {of.tokens:g} and {penalty:g}"
        )
    gram, cross = _centred(of)
    gram[np.diag_indices_from(gram)] += penalty
    weights = linalg.cho_solve(
        linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False), cross, check_finite=False
    )
    intercept = (of.targets - of.features @ weights) / of.tokens
    return Ridge(read_only(intercept), read_only(weights), float(penalty))


def held_out_errors(
    train: TokenMoments, test: TokenMoments, penalties: Sequence[float] = PENALTIES
) -> NDArray[np.float64]:
    """Compute the summed squared error on `test` of the ridge fitted to `train`, for every penalty.

    One eigendecomposition serves all penalties.
    """
    gram, cross = _centred(train)
    values, vectors = linalg.eigh(gram, overwrite_a=True, check_finite=False)
    values = np.maximum(values, 0.0)
    # Of the test tokens about the means of the training tokens, in the eigenvectors' coordinates.
    mx, my = train.features / train.tokens, train.targets / train.tokens
    inner = (
        test.within
        - np.outer(mx, test.features)
        - np.outer(test.features, mx)
        + test.tokens * np.outer(mx, mx)
    )
    outer = (
        test.across
        - np.outer(mx, test.targets)
        - np.outer(test.features, my)
        + test.tokens * np.outer(mx, my)
    )
    # An indicator is its own square.
    own = float(test.targets.sum() - 2.0 * my @ test.targets + test.tokens * my @ my)
    inner, outer, cross = vectors.T @ inner @ vectors, vectors.T @ outer, vectors.T @ cross
    plain = (cross * outer).sum(axis=1)
    square = inner * (cross @ cross.T)
    shrink = 1.0 / (values + np.asarray(penalties, np.float64)[:, None])
    return np.asarray(own - 2.0 * shrink @ plain + np.einsum("pa,ab,pb->p", shrink, square, shrink))


def best_penalty(errors: ArrayLike, penalties: Sequence[float] = PENALTIES) -> float:
    """Return the penalty of least error; of several, the largest."""
    found = np.asarray(errors, np.float64)
    return float(penalties[len(found) - 1 - int(np.argmin(found[::-1]))])


def _centred(of: TokenMoments) -> tuple[Floats, Floats]:
    mean = of.features / of.tokens
    return of.within - np.outer(mean, of.features), of.across - np.outer(mean, of.targets)
