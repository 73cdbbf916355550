"""Nested ridges are the separate ones, whichever factor they come from."""

import numpy as np
import pytest

from routestat import RoutestatError
from routestat.forecast.history import make_history
from routestat.forecast.history_gram import count_gram, ridge_weights
from routestat.forecast.history_ridge import NearDesign, NestedDesign
from tests.board_cases import rows_of
from tests.forecast.ridge_cases import small_trace

LAYERS = ("L00", "L01", "L02", "L03")
PREVIOUS = tuple(f"previous {name}" for name in LAYERS)
HEAD = ("constant", "token id", "previous token id", "no previous token", *PREVIOUS)


@pytest.fixture(scope="module")
def gram():
    trace, *_ = small_trace(np.random.default_rng(1), documents=9)
    rows = rows_of(trace, folds=3)
    return count_gram(make_history(rows, rows.routers, 5))


@pytest.mark.parametrize("head", [HEAD, ("constant", "no previous token", *PREVIOUS), ("constant",)])
def test_nested_weights_are_those_of_separate_ridges(gram, head):
    reach = ((0, 0), (1, 1), (1, 0), (2, 2), (3, 3), (3, 1), (3, 2), (2, 0), (3, 0))
    design = NestedDesign(head, LAYERS, reach)
    for out in ((), (1,), (0, 2)):
        whole = type(gram)(gram.names, gram.sizes, gram.pairs[[f for f in range(3) if f not in out]])
        found = dict(design.fit(gram.without(out), 2.5, range(len(reach))))
        assert set(found) == set(range(len(reach)))
        for at, regression in enumerate(design.regressions):
            separate = ridge_weights(whole, regression.blocks[1:], LAYERS[regression.target], 2.5)
            np.testing.assert_allclose(found[at], separate, rtol=0, atol=1e-8)


@pytest.mark.parametrize("head", [("constant",), HEAD])
def test_near_weights_are_those_of_separate_ridges(gram, head):
    windows = ((1, 0, 1), (2, 1, 1), (2, 1, 2), (3, 2, 3), (3, 1, 2), (3, 2, 1), (3, 0, 1))
    design = NearDesign(head, LAYERS, windows)
    assert design.regressions[3].blocks == (*head, "L02", "L01", "L00")
    found = dict(design.fit(gram.without((2,)), 0.7, range(len(windows))))
    whole = type(gram)(gram.names, gram.sizes, gram.pairs[:2])
    for at, regression in enumerate(design.regressions):
        separate = ridge_weights(whole, regression.blocks[1:], LAYERS[regression.target], 0.7)
        np.testing.assert_allclose(found[at], separate, rtol=0, atol=1e-8)


def test_only_the_chosen_are_fitted(gram):
    design = NestedDesign(("constant",), LAYERS, ((1, 1), (2, 2), (3, 3)))
    assert [at for at, _ in design.fit(gram.without(()), 1.0, [1])] == [1]
    near = NearDesign(("constant",), LAYERS, ((1, 0, 1), (2, 1, 2), (3, 2, 2)))
    assert [at for at, _ in near.fit(gram.without(()), 1.0, [2, 0])] == [0, 2]


@pytest.mark.parametrize("penalty", [0.0, -3.0])
def test_a_penalty_is_above_zero(gram, penalty):
    for design in (
        NestedDesign(("constant",), LAYERS, ((1, 1),)),
        NearDesign(("constant",), LAYERS, ((1, 0, 1),)),
    ):
        with pytest.raises(RoutestatError, match="penalty above 0"):
            list(design.fit(gram.without(()), penalty, [0]))


def test_single_precision_changes_weights_by_no_more_than_rounding(gram):
    design = NestedDesign(HEAD, LAYERS, ((3, 3), (2, 2)))
    exact = dict(design.fit(gram.without((0,)), 20.0, [0, 1]))
    narrow = type(gram)(gram.names, gram.sizes, gram.pairs)
    narrow.__dict__["total"] = gram.total.astype(np.float32)
    for at, weights in design.fit(narrow.without((0,)), 20.0, [0, 1]):
        assert weights.dtype == np.float32
        np.testing.assert_allclose(weights, exact[at], atol=2e-5)
