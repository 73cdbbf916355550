"""A context fitted to all groups: its distributions against slow code, for contexts seen and not seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.errors import RoutestatError
from routestat.inference.smoothing.backoff import fit_distribution
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.fitted_context import fit_context

NAMES = ("layer-1", "layer-2")


def random_rows(rng, n=400, n_targets=5, groups=12, unknown=0.1):
    """A target that depends on two columns, some of whose values are unknown."""
    columns = {name: rng.integers(0, 4, n) for name in NAMES}
    target = (
        columns["layer-1"] + 2 * columns["layer-2"] + (rng.random(n) < 0.3) * rng.integers(0, 5, n)
    ) % n_targets
    known = {name: np.where(rng.random(n) < unknown, -1, column) for name, column in columns.items()}
    return TokenRows(target, n_targets, np.sort(rng.integers(0, groups, n)), known)


def slowly(rows, fitted, context):
    """The distribution after a context of all columns, with the strengths of the fit, target by target."""
    levels = fitted.levels
    n = len(NAMES)
    known = np.all([rows.columns[name] >= 0 for name in NAMES], axis=0)
    tokens = {}
    for row in np.flatnonzero(known).tolist():
        key = tuple(int(rows.columns[name][row]) for name in NAMES)
        tokens.setdefault(key, np.zeros(rows.n_targets))[rows.target[row]] += 1
    base = np.full(rows.n_targets, 1 / rows.n_targets)
    for depth in range(n):
        level = levels[depth]
        amount = np.zeros(rows.n_targets)
        for place, own in enumerate(level.contexts.tolist()):
            if own == list(context[:depth]):
                cells = slice(level.starts[place], level.starts[place + 1])
                amount[level.target[cells]] = level.amount[cells]
        s = level.fitted.strength
        base = (amount + s * base) / (amount.sum() + s)
    s, d = fitted.fitted.strength, fitted.fitted.discount
    own = tokens.get(tuple(context), np.zeros(rows.n_targets))
    return (np.maximum(own - d, 0) + (s + d * np.count_nonzero(own)) * base) / (own.sum() + s)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_distributions_equal_slow_code(seed):
    rows = random_rows(np.random.default_rng(seed))
    fitted = fit_context(rows, NAMES)
    contexts = np.array([[a, b] for a in range(4) for b in range(4)] + [[9, 9], [1, 9]])
    found = fitted.distributions(contexts)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    for context, row in zip(contexts.tolist(), found, strict=True):
        np.testing.assert_allclose(row, slowly(rows, fitted, context), rtol=1e-12)
    for target in range(rows.n_targets):
        own = fitted.probabilities(contexts, np.full(len(contexts), target))
        np.testing.assert_allclose(own, found[:, target], rtol=1e-12)
    assert (found[:16] <= fitted.most()[contexts[:16, 0]] + 1e-12).all()


def test_the_shorter_context_is_that_of_a_dense_table():
    """Another code fits the base of dense tables; how strongly rows back off to it is chosen differently."""
    rows = random_rows(np.random.default_rng(1), unknown=0.0)
    for names in (NAMES[:1], NAMES):
        counts = np.zeros((4,) * len(names) + (rows.n_targets,))
        np.add.at(counts, (*(rows.columns[name] for name in names[::-1]), rows.target), 1)
        dense = fit_distribution(counts)
        contexts = np.array([[1, 9], [3, 9]])[:, : len(names)] if len(names) > 1 else np.array([[9]])
        wanted = dense.base[[1, 3]] if len(names) > 1 else dense.base[None]
        np.testing.assert_allclose(fit_context(rows, names).distributions(contexts), wanted, rtol=1e-9)


def test_what_is_unknown_leaves_the_shorter_context():
    rows = random_rows(np.random.default_rng(2))
    fitted = fit_context(rows, NAMES)
    found = fitted.distributions(np.array([[1, -1], [1, 77], [-1, -1], [88, 2]]))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])


def test_a_known_distribution_is_recovered():
    rng = np.random.default_rng(3)
    truth = rng.dirichlet(np.ones(6), 5)
    source = rng.integers(0, 5, 60_000)
    target = (rng.random(60_000)[:, None] > truth[source].cumsum(axis=1)).sum(axis=1)
    rows = TokenRows(target, 6, np.arange(60_000) % 40, {"layer-1": source})
    found = fit_context(rows, ("layer-1",)).distributions(np.arange(5)[:, None])
    assert np.abs(found - truth).max() < 5 * np.sqrt(0.25 / 12_000)


def test_one_token_and_none():
    one = TokenRows(np.array([2]), 4, np.array([0]), {"layer-1": np.array([1])})
    found = fit_context(one, ("layer-1",)).distributions(np.array([[1], [0]]))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    with pytest.raises(RoutestatError, match="expected a token"):
        fit_context(TokenRows(np.empty(0, int), 4, np.empty(0, int), {}), ())
