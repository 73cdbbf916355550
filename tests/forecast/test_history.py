"""Features of a history against rows built one by one, and tables of their pairs against products of matrices."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge

from routestat import RoutestatError
from routestat.forecast import history_gram
from routestat.forecast.history import FREQUENT, known_share, make_history, sampled, token_codes
from routestat.forecast.history_gram import count_gram, ridge_weights
from tests.board_cases import rows_of
from tests.forecast.ridge_cases import SIZES, small_trace
from tests.oracle.ridge_oracle import history_of


def dense(history):
    """Indicators [row, feature] of a history."""
    x = np.zeros((len(history.rows), history.offsets[-1]))
    for block, offset in zip(history.blocks, history.offsets, strict=False):
        for row, members in enumerate(block.members):
            x[row, offset + members[members >= 0]] = 1
    return x


@pytest.fixture(scope="module")
def small():
    trace, experts, token = small_trace(np.random.default_rng(0), window=9)
    rows = rows_of(trace, folds=3)
    return rows, experts, token, make_history(rows, rows.routers, 6)


def test_features_are_those_of_rows_built_one_by_one(small):
    rows, experts, token, history = small
    codes, size = token_codes(token, 6)
    layers = range(len(SIZES))
    expected = [
        history_of(t, rows.follows, experts, SIZES, layers, layers, codes, size) for t in history.rows
    ]
    np.testing.assert_array_equal(dense(history), expected)
    # A row without any choice is left out, and is nobody's previous token.
    lost = [t for t in range(len(rows)) if all(layer[t] is None for layer in experts)]
    assert lost
    assert sorted({*range(len(rows))} - {*history.rows.tolist()}) == lost
    np.testing.assert_array_equal(rows.fold[history.rows], np.repeat([0, 1, 2], np.diff(history.bounds)))
    assert (np.diff(history.rows)[rows.fold[history.rows][1:] == rows.fold[history.rows][:-1]] > 0).all()


@pytest.mark.parametrize("bits", [0, 100, 10**9])
def test_pairs_are_products_of_the_indicators_however_they_are_counted(small, monkeypatch, bits):
    monkeypatch.setattr(history_gram, "_BITS", bits)
    history = small[3]
    gram, x = count_gram(history), dense(history)
    for fold in range(3):
        part = x[history.bounds[fold] : history.bounds[fold + 1]]
        np.testing.assert_array_equal(gram.pairs[fold], part.T @ part)
    np.testing.assert_array_equal(gram.whole().pairs[0], x.T @ x)
    left = gram.without((0, 2))
    part = x[history.bounds[1] : history.bounds[2]]
    index = np.array([7, 3, 20])
    np.testing.assert_array_equal(left.block(slice(2, 9), slice(4, 30)), (part.T @ part)[2:9, 4:30])
    np.testing.assert_array_equal(left.block(index, slice(4, 30)), (part.T @ part)[index, 4:30])
    assert left.tokens == len(part)


def test_a_sample_is_spread_over_the_folds(small):
    history = small[3]
    some, place = sampled(history, 60), {row: at for at, row in enumerate(history.rows.tolist())}
    assert 40 <= len(some.rows) <= 80
    assert (np.diff(some.bounds) > 10).all()
    np.testing.assert_array_equal(dense(some), dense(history)[[place[row] for row in some.rows.tolist()]])
    np.testing.assert_array_equal(sampled(history, 10**6).rows, history.rows)


def test_ids_that_are_rare_share_features():
    token = np.repeat([5, 9, 2, -1, 7], [FREQUENT, FREQUENT - 1, 3 * FREQUENT, 4, 1])
    codes, size = token_codes(token, 8)
    assert {codes[token == 2][0], codes[token == 5][0]} == {0, 1}
    assert codes[token == 2][0] == 0
    assert (codes[token == -1] == -1).all()
    assert (codes[np.isin(token, [9, 7])] >= 2).all()
    assert codes.max() < size <= 8
    # All are frequent and there is space: no feature is shared.
    codes, size = token_codes(np.repeat(np.arange(4), FREQUENT), 4)
    assert size == 4
    assert sorted(np.unique(codes)) == [0, 1, 2, 3]
    # No space: the most frequent keep theirs.
    codes, size = token_codes(np.repeat(np.arange(100), FREQUENT + np.arange(100)), 12)
    assert size <= 12
    assert len({codes[-1], *codes[:100]}) > 1
    assert (np.bincount(codes)[:9] == FREQUENT + 99 - np.arange(9)).all()


def test_a_ridge_on_any_known_features_is_that_of_scikit_learn(small):
    *_, history = small
    gram, x = count_gram(history).whole(), dense(history)
    features = ("previous L02", "L00", "no previous token")
    spans = [np.arange(*gram.span(name).indices(999)) for name in features]
    y = x[:, gram.span("L03")]
    found = ridge_weights(gram, features, "L03", 3.5)
    other = SklearnRidge(3.5, solver="cholesky").fit(x[:, np.concatenate(spans)], y)
    np.testing.assert_allclose(found[0], other.intercept_, atol=1e-10)
    np.testing.assert_allclose(found[1:], other.coef_.T, atol=1e-10)


@pytest.mark.parametrize("penalty", [0.0, -1.0, np.nan, np.inf])
def test_a_penalty_is_above_zero(small, penalty):
    gram = count_gram(small[3])
    with pytest.raises(RoutestatError, match="penalty above 0, got"):
        ridge_weights(gram, ("L00",), "L01", penalty)


def test_features_are_named_once_and_exist(small):
    gram = count_gram(small[3])
    with pytest.raises(RoutestatError, match="each block once"):
        ridge_weights(gram, ("L00", "L01"), "L01", 1.0)
    with pytest.raises(RoutestatError, match="got 'L09'"):
        ridge_weights(gram, ("L09",), "L01", 1.0)


@pytest.mark.parametrize("out", [(), (1,), (0, 2), (0, 1, 2)])
def test_the_share_of_rows_with_a_block_is_that_of_the_other_folds(small, out):
    history = small[3]
    fold = np.repeat([0, 1, 2], np.diff(history.bounds))
    for block in history.blocks:
        has = (block.members[:, 0] >= 0)[~np.isin(fold, out)]
        assert known_share(history, block.name, out) == (has.mean() if len(has) else 0.0)
