"""Routes of states: probabilities and best routes against enumeration, with and without the token id."""

import itertools

import numpy as np
import pytest

from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.fitted_context import fit_context
from routestat.structure.route_search import best_routes
from routestat.structure.state_routes import StateRoutes

SIZES = (3, 3, 2, 3)


def fitted_routes(order, given_token, seed=0, n=300):
    rng = np.random.default_rng(seed)
    states = np.stack([rng.integers(0, size, n) for size in SIZES])
    states[2] = (states[0] + states[1]) % 2
    token = rng.choice([3, 5, 8], n, p=[0.6, 0.3, 0.1])
    steps = []
    for layer, size in enumerate(SIZES):
        columns = {f"layer-{back}": states[layer - back] for back in range(1, min(order, layer) + 1)}
        names = tuple(columns)
        if given_token:
            columns["token id"] = token
            names = (*names, "token id")
        steps.append(fit_context(TokenRows(states[layer], size, np.arange(n) % 20, columns), names))
    ids, counts = np.unique(token, return_counts=True) if given_token else (np.empty(0, int), np.empty(0))
    return StateRoutes(order, steps, ids, counts / n)


def by_enumeration(model):
    """Every pair of a root and a route with its probability, from the distributions one by one."""
    found = {}
    roots = model.roots()
    for root, route in itertools.product(range(len(roots)), itertools.product(*map(range, SIZES))):
        p = roots[root]
        for layer, state in enumerate(route):
            context = list(route[max(0, layer - model.order) : layer])[::-1]
            if len(model.token_ids):
                context.append(int(model.token_ids[root]))
            p *= model.steps[layer].distributions(np.array([context], int).reshape(1, -1))[0, state]
        found[root, route] = p
    return found


@pytest.mark.parametrize(
    ("order", "given_token"), [(0, False), (1, False), (2, False), (3, False), (1, True)]
)
def test_best_routes_equal_brute_force(order, given_token):
    model = fitted_routes(order, given_token)
    truth = by_enumeration(model)
    assert sum(truth.values()) == pytest.approx(1)
    found = best_routes(model, 15)
    pairs = [(int(r), tuple(s)) for r, s in zip(found.roots, found.states.tolist(), strict=True)]
    np.testing.assert_allclose([truth[pair] for pair in pairs], sorted(truth.values())[::-1][:15], rtol=1e-9)
    np.testing.assert_allclose(
        model.log2_probability(found.roots, found.states), np.log2([truth[pair] for pair in pairs])
    )
    summed = [sum(p for (_, route), p in truth.items() if route == pair[1]) for pair in pairs]
    np.testing.assert_allclose(model.probability(found.states), summed)
