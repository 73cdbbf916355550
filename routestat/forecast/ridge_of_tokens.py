"""Ridge regression of few tokens on many features, solved in the space of the tokens.

With X the indicators of the tokens, the weights (XᵀX + λ)⁻¹ XᵀY are Xᵀ (XXᵀ + λ)⁻¹ Y: a system of as many equations as
there are tokens. The entries of XXᵀ are the numbers of features that two tokens share.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import lapack

from routestat.forecast.ridge import PENALTIES, Ridge
from routestat.inference.base.tables import Floats, read_only


class TokenRidges:
    """Ridges fitted to the tokens of all folds but some.

    Parameters
    ----------
    features, targets : int arrays ``[token, slot]``, ``[token, k]``
        Of all tokens.
    folds : int array ``[token]``
    n_features, n_experts : int
    """

    def __init__(
        self,
        features: NDArray[np.integer],
        targets: NDArray[np.integer],
        folds: NDArray[np.integer],
        n_features: int,
        n_experts: int,
    ) -> None:
        self._x, self._y = _indicators(features, n_features), _indicators(targets, n_experts)
        self._folds, self._shared = folds, self._x @ self._x.T

    def fit(self, out: Sequence[int], penalty: float) -> Ridge:
        """Fit the tokens of all folds but these; the intercept is not penalised."""
        train = self._train(out)
        gram, y = self._centred(train), self._y[train]
        mean = y.mean(axis=0)
        weights = self._x[train].T @ _solved(gram, penalty, y - mean)
        intercept = mean - self._x[train].mean(axis=0) @ weights
        return Ridge(read_only(intercept), read_only(weights), float(penalty))

    def errors(self, out: tuple[int, int]) -> "TokenErrors":
        """Squared errors of a ridge without these two folds on the second of them."""
        return TokenErrors(self, out)

    def system(self, out: tuple[int, int]) -> tuple[Floats, Floats, Floats, Floats]:
        """Return what errors on the second of two left-out folds are computed from.

        The centred Gram matrix ``[token, token]`` of the other tokens, the features that they share with those of the
        fold ``[token, test]``, centred over the others, and the targets of both about the mean of the others.
        """
        train, test = self._train(out), np.flatnonzero(self._folds == out[1])
        mean = self._y[train].mean(axis=0)
        shared = self._shared[np.ix_(train, train)]
        beside = self._shared[np.ix_(train, test)] - shared.mean(axis=1)[:, None]
        return self._centred(train), beside, self._y[train] - mean, self._y[test] - mean

    def _train(self, out: Sequence[int]) -> NDArray[np.intp]:
        return np.flatnonzero(~np.isin(self._folds, out))

    def _centred(self, train: NDArray[np.intp]) -> Floats:
        shared = self._shared[np.ix_(train, train)]
        mean = shared.mean(axis=1)
        return shared - mean[:, None] - mean + mean.mean()


class TokenErrors:
    """Squared errors of ridges on left-out tokens, by the place of the penalty; as `HeldOutErrors` of tables."""

    def __init__(self, ridges: TokenRidges, out: tuple[int, int]) -> None:
        self._ridges, self._out, self._found = ridges, out, dict[int, float]()
        self._gram, self._beside, self._y, self._test = ridges.system(out)

    def error(self, at: int) -> float:
        """Compute the summed squared error at one of the penalties."""
        if at not in self._found:
            # Centred targets sum to zero over tokens, so that only the test tokens' side has to be centred.
            predicted = _solved(self._gram, PENALTIES[at], self._beside).T @ self._y
            self._found[at] = float(((self._test - predicted) ** 2).sum())
        return self._found[at]

    def fit(self, at: int) -> Ridge:
        """Return the ridge with one of the penalties."""
        return self._ridges.fit(self._out, PENALTIES[at])


def _solved(gram: Floats, penalty: float, right: Floats) -> Floats:
    """Solve (gram + penalty) z = right."""
    matrix = gram.copy()
    matrix.reshape(-1)[:: len(matrix) + 1] += penalty
    _, found, failed = lapack.dposv(matrix.T, np.asfortranarray(right), lower=False, overwrite_a=True)
    if failed:
        raise linalg.LinAlgError(f"the Gram matrix of {len(gram)} tokens has no Cholesky factor")
    return np.asarray(found)


def _indicators(members: NDArray[np.integer], size: int) -> Floats:
    found = np.zeros((len(members), size))
    np.put_along_axis(found, members, 1.0, axis=1)
    return found
