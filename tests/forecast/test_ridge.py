"""Ridge from tables of pairs against scikit-learn on the indicators written out."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from routestat import RoutestatError
from routestat.forecast import ridge


def indicators(rng, n_tokens, n_experts, top_k):
    rows = np.argsort(rng.random((n_tokens, n_experts)) + np.arange(n_experts) / 9, axis=1)[:, :top_k]
    return np.eye(n_experts)[rows].sum(axis=1)


def drawn(rng, n_tokens=120):
    """Two sources of 3 of 7 and 2 of 5 experts, and a target of 2 of 6 that leans on the first."""
    x = np.hstack([indicators(rng, n_tokens, 7, 3), indicators(rng, n_tokens, 5, 2)])
    pull = rng.normal(size=(12, 6))
    y = np.eye(6)[np.argsort(x @ pull + rng.gumbel(size=(n_tokens, 6)), axis=1)[:, :2]].sum(axis=1)
    return x, y


def tables(x, y):
    return ridge.moments(x.T @ x, x.T @ y, 2, 5)


@pytest.mark.parametrize("penalty", [0.01, 3.0, 1e4])
def test_weights_are_those_of_scikit_learn(penalty):
    x, y = drawn(np.random.default_rng(0))
    mine = ridge.fit_ridge(tables(x, y), penalty)
    theirs = Ridge(alpha=penalty, solver="svd").fit(x, y)
    np.testing.assert_allclose(mine.weights, theirs.coef_.T, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(mine.intercept, theirs.intercept_, rtol=1e-7, atol=1e-10)
    # The indicators of either source sum to a constant: predictions sum to k for every penalty.
    np.testing.assert_allclose((mine.intercept + x @ mine.weights).sum(axis=1), 2.0)


def test_moments_are_sums_of_the_indicators():
    x, y = drawn(np.random.default_rng(1))
    of = tables(x, y)
    assert of.tokens == 120
    np.testing.assert_allclose(of.features, x.sum(axis=0))
    np.testing.assert_allclose(of.targets, y.sum(axis=0))


def test_held_out_errors_are_those_of_predicting_the_held_out_tokens():
    rng = np.random.default_rng(2)
    x, y = drawn(rng, 200)
    train, test = slice(0, 150), slice(150, 200)
    errors = ridge.HeldOutErrors(tables(x[train], y[train]), tables(x[test], y[test]))
    for at, penalty in enumerate(ridge.PENALTIES):
        fit = Ridge(alpha=penalty, solver="svd").fit(x[train], y[train])
        expected = ((y[test] - fit.predict(x[test])) ** 2).sum()
        np.testing.assert_allclose(errors.error(at), expected, rtol=1e-6)
    np.testing.assert_allclose(
        errors.fit(3).weights, ridge.fit_ridge(tables(x[train], y[train]), ridge.PENALTIES[3]).weights
    )
    assert errors.fit(5).penalty == ridge.PENALTIES[5]


def test_the_penalty_grows_with_noise():
    rng = np.random.default_rng(3)
    chosen = []
    for lean in (True, False):
        folds = []
        for _ in range(20):
            x, y = drawn(rng, 600)
            y = y if lean else rng.permutation(y)
            half = slice(0, 300), slice(300, 600)
            folds.append(ridge.HeldOutErrors(*(tables(x[part], y[part]) for part in half)))
        errors = [sum(fold.error(at) for fold in folds) for at in range(len(ridge.PENALTIES))]
        at = ridge.least_error(errors.__getitem__, len(errors), 7)
        # The search finds what the whole curve says.
        assert at == np.argmin(errors)
        chosen.append(ridge.PENALTIES[at])
    assert chosen[0] < 30
    assert chosen[1] > 10 * chosen[0]


@pytest.mark.parametrize("start", range(6))
def test_the_search_goes_down_to_the_least_error_from_anywhere(start):
    for errors in ([5, 4, 3, 2, 2.5, 6], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]):
        asked = []

        def error(at, errors=errors, asked=asked):
            asked.append(at)
            return errors[at]

        assert ridge.least_error(error, 6, start) == np.argmin(errors)
        # No more is computed than the way there and the neighbour beyond.
        assert len(set(asked)) <= abs(start - np.argmin(errors)) + 3


@pytest.mark.parametrize("start", range(4))
def test_of_equal_errors_the_largest_penalty_is_taken(start):
    assert ridge.least_error([2.0, 1.0, 1.0, 3.0].__getitem__, 4, start) == 2


def test_bad_input_is_named():
    with pytest.raises(RoutestatError, match="within \\[feature, feature\\]"):
        ridge.moments(np.eye(3), np.eye(4), 1, 1)
    empty = ridge.moments(np.zeros((2, 2)), np.zeros((2, 2)), 1, 1)
    with pytest.raises(RoutestatError, match="a token or more and a penalty above 0, got 0"):
        ridge.fit_ridge(empty, 1.0)
    with pytest.raises(RoutestatError, match="penalty above 0, got 1 and 0"):
        ridge.fit_ridge(ridge.moments(np.eye(1), np.eye(1), 1, 1), 0.0)
