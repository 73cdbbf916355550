"""Ridge in the space of tokens against ridge from tables of pairs."""

from dataclasses import replace

import numpy as np
import pytest

from routestat import Router, Trace, TraceMeta
from routestat.counting.moments import Design, count_moments
from routestat.forecast import ridge, tempered
from routestat.forecast.ridge_of_tokens import TokenRidges
from tests.board_cases import rows_with_folds

OUT = (1, 2)


@pytest.fixture
def drawn():
    """Sixty tokens of four folds: 3 of 9 and 2 of 5 features, 2 of 6 experts."""
    rng = np.random.default_rng(0)
    first, second, targets = (
        np.sort(np.argsort(rng.random((60, n)), axis=1)[:, :k]) for n, k in ((9, 3), (5, 2), (6, 2))
    )
    return np.hstack([first, 9 + second]), targets, np.arange(60) % 4


def tables(features, targets, rows):
    x, y = np.eye(14)[features[rows]].sum(axis=1), np.eye(6)[targets[rows]].sum(axis=1)
    return ridge.moments(x.T @ x, x.T @ y, 2, 5)


@pytest.mark.parametrize("penalty", [0.1, 10.0, 1e5])
def test_fits_are_those_of_the_tables(drawn, penalty):
    features, targets, folds = drawn
    mine = TokenRidges(*drawn, 14, 6).fit(OUT, penalty)
    theirs = ridge.fit_ridge(tables(features, targets, ~np.isin(folds, OUT)), penalty)
    np.testing.assert_allclose(mine.weights, theirs.weights, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(mine.intercept, theirs.intercept, rtol=1e-8)


def test_errors_are_those_of_the_tables(drawn):
    features, targets, folds = drawn
    mine = TokenRidges(*drawn, 14, 6).errors(OUT)
    train, test = ~np.isin(folds, OUT), folds == OUT[1]
    theirs = ridge.HeldOutErrors(tables(features, targets, train), tables(features, targets, test))
    for at in range(len(ridge.PENALTIES)):
        assert mine.error(at) == pytest.approx(theirs.error(at), rel=1e-8)
    np.testing.assert_allclose(mine.fit(4).weights, theirs.fit(4).weights, rtol=1e-8, atol=1e-12)


def test_a_fold_without_tokens_has_no_error(drawn):
    assert TokenRidges(*drawn, 14, 6).errors((0, 7)).error(3) == 0.0


def test_models_do_not_depend_on_the_space_they_are_solved_in(monkeypatch):
    rng = np.random.default_rng(1)
    experts = np.argsort(rng.random((110, 2, 40)) + np.arange(40) / 60, axis=2)[..., :3]
    meta = TraceMeta((Router(0, 40, 3), Router(1, 40, 3)))
    trace = Trace.from_arrays(meta, np.repeat(np.arange(10), 11), None, None, experts=experts)
    source, target = trace.meta.routers
    found = count_moments(
        rows_with_folds(trace, np.arange(10) % 5), [Design(target, ((source, 0), (target, 1)))]
    )[0]
    kinds = {1: ("ridge",), 2: ("factorised",)}
    used = []
    monkeypatch.setattr(tempered, "TokenRidges", lambda *inputs: used.append(inputs) or TokenRidges(*inputs))
    of_tokens = tempered.fit_tempered(found, kinds, "jeffreys", whole=True)
    # 100 tokens have a previous one: more than 1.5 for each of 40 features, fewer for each of 80.
    assert [inputs[3] for inputs in used] == [80]
    monkeypatch.setattr(tempered, "_FEW", 0.0)
    of_tables = tempered.fit_tempered(found, kinds, "jeffreys", whole=True)
    assert len(used) == 1
    for key, fit in of_tokens.items():
        np.testing.assert_array_equal(fit.penalties, of_tables[key].penalties)
        np.testing.assert_allclose(fit.weights, of_tables[key].weights, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(fit.bias, of_tables[key].bias, rtol=1e-6, atol=1e-9)
    # Where not all tokens were kept, tables alone know the others.
    fewer = replace(found, features=found.features[:60], targets=found.targets[:60], folds=found.folds[:60])
    monkeypatch.setattr(tempered, "_FEW", 1.5)
    tempered.fit_tempered(fewer, kinds, "jeffreys")
    assert len(used) == 1
