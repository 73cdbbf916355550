"""The chain over single experts: its counts, its smoothing, its best routes and the choice of its order."""

import itertools

import numpy as np
import pytest

from routestat.structure import inclusion_chain
from routestat.structure.inclusion_chain import InclusionChain, fit_inclusion_chain
from routestat.structure.route_search import best_routes
from tests.structure.test_frequent_routes import expert_rows_of, random_choices


def windows_by_hand(choices, first, width, n_experts):
    table = np.zeros((n_experts,) * width, int)
    for token in choices[:, first : first + width].tolist():
        for window in itertools.product(*token):
            table[window] += 1
    return table


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_windows_are_counted(width):
    choices = random_choices(np.random.default_rng(0), 40, 5, 5, 2)
    rows = expert_rows_of(choices, 5)
    some = np.flatnonzero(np.arange(40) % 3 > 0)
    for first in range(6 - width):
        found = rows.windows(first, width, some)
        np.testing.assert_array_equal(found, windows_by_hand(choices[some], first, width, 5))
    values = np.random.default_rng(1).random((5,) * width)
    sums = rows.sum_over_windows(0, values, some)
    for row in range(40):
        own = [values[window] for window in itertools.product(*choices[row, :width].tolist())]
        assert sums[row] == pytest.approx(np.mean(own) if row in some else 0.0)


def test_tokens_of_a_route():
    choices = np.array([[[0, 1], [2, 3]], [[0, 2], [1, 3]], [[1, 2], [0, 1]]])
    rows = expert_rows_of(choices, 4)
    assert rows.takes([0, 3]).tolist() == [True, True, False]
    assert rows.takes([2, 1]).tolist() == [False, True, True]
    assert rows.counts(np.array([0, 2])).tolist() == [[1, 2, 1, 0], [1, 1, 1, 1]]


def test_smoothed_by_hand():
    # Layer 0: 4 tokens choose expert 0 or 1. With strength 2 and E = 2: q = (3 + 1) / (4 + 2), (1 + 1) / (4 + 2).
    choices = np.array([[[0], [0]], [[0], [0]], [[0], [1]], [[1], [1]]])
    rows = expert_rows_of(choices, 2)
    tables = tuple(
        tuple(rows.windows(layer - n, n + 1, np.arange(4)) for n in range(layer + 1)) for layer in range(2)
    )
    chain = InclusionChain(1, tables, (1, 1), (2.0, 1.0))
    nothing = np.empty((1, 0), np.int64)
    np.testing.assert_allclose(chain.rows(0, np.zeros(1, np.int64), nothing), [[4 / 6, 2 / 6]])
    # Layer 1 alone: (2 + 1) / 6 each. After expert 0: (2 + .5) / 4, (1 + .5) / 4; after expert 1: .5 / 2, 1.5 / 2.
    rows_after = chain.rows(1, np.zeros(2, np.int64), np.array([[0], [1]]))
    np.testing.assert_allclose(rows_after, [[2.5 / 4, 1.5 / 4], [0.5 / 2, 1.5 / 2]])
    np.testing.assert_allclose(chain.most(1), rows_after)
    np.testing.assert_allclose(chain.log2_probability(np.array([[0, 0]])), np.log2(4 / 6 * 2.5 / 4))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_best_routes_equal_brute_force(order):
    choices = random_choices(np.random.default_rng(order), 60, 4, 4, 2)
    fitted = fit_inclusion_chain(expert_rows_of(choices, 4), highest=order)
    chain = fitted.chain
    every = np.array(list(itertools.product(range(4), repeat=4)))
    bits = chain.log2_probability(every)
    first = np.lexsort((np.arange(len(every)), -np.round(bits, 9)))[:20]
    found = best_routes(chain, 20)
    np.testing.assert_allclose(chain.log2_probability(found.states), bits[first], atol=1e-9)
    for layer in range(1, 4):
        before = np.array(list(itertools.product(range(4), repeat=min(layer, chain.order))))
        rows = chain.rows(layer, np.zeros(len(before), np.int64), before)
        assert (rows.sum(axis=1) <= 2 + 1e-9).all()
        assert (rows <= chain.most(layer)[before[:, -1]] + 1e-12).all()


def with_order(rng, n, order, n_experts=4, layers=6):
    """Choices of one expert whose next layer is a function of the last ones, but for every fifth token."""
    found = rng.integers(0, n_experts, (n, layers))
    for layer in range(order, layers):
        kept = rng.random(n) < 0.8
        ruled = found[:, layer - order : layer].sum(axis=1) % n_experts
        found[kept, layer] = ruled[kept]
    return found[:, :, None]


@pytest.mark.parametrize("order", [1, 2])
def test_the_order_is_found_on_held_out_groups(order):
    rng = np.random.default_rng(order)
    rows = expert_rows_of(with_order(rng, 3000, order), 4, np.repeat(np.arange(100), 30))
    fitted = fit_inclusion_chain(rows)
    assert fitted.chain.order == order
    assert fitted.gain is not None
    assert fitted.gain.low > 0


def test_orders_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(inclusion_chain, "MOST_CELLS", 100)
    choices = random_choices(np.random.default_rng(0), 60, 4, 4, 2)
    fitted = fit_inclusion_chain(expert_rows_of(choices, 4))
    assert fitted.chain.order == 1
    assert fitted.refused == "order 2 over experts was not counted: 128 cells are too many"


def test_one_layer_and_one_token():
    fitted = fit_inclusion_chain(expert_rows_of(np.array([[[0, 2]]]), 3))
    assert fitted.chain.order == 0
    assert set(best_routes(fitted.chain, 2).states.ravel().tolist()) == {0, 2}
