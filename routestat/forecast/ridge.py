"""Ridge regression of a target's experts on the experts of its sources, from tables of pairs alone.

The features of one source sum to its k, so that their Gram matrix is singular: a penalty is needed however many
tokens there are. It is chosen by the squared error on held-out tokens, which the same tables give.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg
from scipy.linalg import lapack

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

    def squared_error(self, of: TokenMoments) -> float:
        """Compute the summed squared error of the predictions of tokens."""
        weights, intercept = self.weights, self.intercept
        # An indicator is its own square.
        own = of.targets @ (1.0 - 2.0 * intercept) + of.tokens * (intercept @ intercept)
        about = 2.0 * np.multiply.outer(of.features, intercept) - 2.0 * of.across
        return float(own + np.vdot(weights.T, (about + of.within @ weights).T))


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
    return _NormalEquations(of).fit(penalty)


class HeldOutErrors:
    """Squared errors on `test` of ridges fitted to `train`, one penalty at a time, as they are needed.

    A penalty takes a Cholesky factor of the features' Gram matrix, n³/3 operations for n features, and 4n² for each
    expert of the target; the eigendecomposition that would serve all penalties takes as long as ten of them.

    Parameters
    ----------
    train, test : TokenMoments
    penalties : sequence of float
    """

    def __init__(
        self, train: TokenMoments, test: TokenMoments, penalties: Sequence[float] = PENALTIES
    ) -> None:
        self.penalties, self._test, self._train = penalties, test, _NormalEquations(train)
        self._found: dict[int, float] = {}
        self._fits: dict[int, Ridge] = {}

    def error(self, at: int) -> float:
        """Compute the summed squared error at one of the penalties."""
        if at not in self._found:
            self._fits[at] = self._train.fit(self.penalties[at])
            self._found[at] = self._fits[at].squared_error(self._test)
        return self._found[at]

    def fit(self, at: int) -> Ridge:
        """Return the ridge with one of the penalties; the others are forgotten."""
        self.error(at)
        self._fits = {at: self._fits[at] if at in self._fits else self._train.fit(self.penalties[at])}
        return self._fits[at]


def least_error(error: Callable[[int], float], n: int, start: int) -> int:
    """Find the place of the least of ``error(0), …, error(n − 1)``; of several, the largest place.

    The search goes from `start` to lower neighbours until there is none: as a function of the penalty the squared
    error falls and then rises.
    """
    at, best = start, error(start)
    for step in (1, -1):
        while 0 <= at + step < n:
            beside = error(at + step)
            if beside > best or (beside == best and step < 0):
                break
            at, best = at + step, beside
    return at


class _NormalEquations:
    """The centred Gram matrix of the features and their products with the targets."""

    def __init__(self, of: TokenMoments) -> None:
        self._of, mean = of, of.features / of.tokens
        self._gram = of.within - np.multiply.outer(mean, of.features)
        self._cross = np.asfortranarray(of.across - np.multiply.outer(mean, of.targets))

    def fit(self, penalty: float) -> Ridge:
        gram, of = self._gram.copy(), self._of
        gram.reshape(-1)[:: len(gram) + 1] += penalty
        # LAPACK stores matrices by columns: the lower triangle is its upper one.
        factor, failed = lapack.dpotrf(gram.T, lower=False, clean=False, overwrite_a=True)
        if failed:
            raise linalg.LinAlgError(f"the Gram matrix of {len(gram)} features has no Cholesky factor")
        weights, _ = lapack.dpotrs(factor, self._cross, lower=False)
        intercept = (of.targets - of.features @ weights) / of.tokens
        return Ridge(read_only(intercept), read_only(weights), float(penalty))
