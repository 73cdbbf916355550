"""The most probable routes of any order against enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.structure import route_search
from routestat.structure.route_search import TooWideError, best_routes


class Tables:
    """Any function of a root and the last states, as tables ``[layer][root, state, …, target]``."""

    def __init__(self, rng, sizes, order, n_roots, bounded, sums=1.0, halves=False):
        self.sizes, self.order, self.bounded = sizes, order, bounded
        self._roots = rng.dirichlet(np.ones(n_roots))
        self.tables = []
        for layer, size in enumerate(sizes):
            before = tuple(sizes[max(0, layer - order) : layer])
            if halves:
                table = 2.0 ** -rng.integers(0, 3, (n_roots, *before, size))
            else:
                table = rng.dirichlet(np.full(size, 0.5), (n_roots, *before)) * sums
            self.tables.append(np.minimum(table, 1.0))
        if halves:
            self._roots = 2.0 ** -rng.integers(0, 2, n_roots).astype(float)

    def roots(self):
        return self._roots

    def rows(self, layer, roots, last):
        assert last.shape[1] == min(layer, self.order)
        return self.tables[layer][(roots, *last.T)]

    def most(self, layer):
        if not self.bounded:
            return None
        table = self.tables[layer].max(axis=0)
        size = self.sizes[layer - 1] if layer else 1
        if not (self.order and layer):
            return np.tile(table, (size, 1))
        return table.reshape(-1, *table.shape[-2:]).max(axis=0)

    def enumerated(self):
        found = []
        for root, route in itertools.product(
            range(len(self._roots)), itertools.product(*map(range, self.sizes))
        ):
            p = self._roots[root]
            for layer, state in enumerate(route):
                p *= self.tables[layer][(root, *route[max(0, layer - self.order) : layer], state)]
            if p > 0:
                found.append((p, root, route))
        return found


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 3), min_size=1, max_size=5),
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(1, 30),
    st.booleans(),
    st.sampled_from([1.0, 2.5]),
)
@settings(max_examples=100, deadline=None)
def test_k_best_equals_brute_force(seed, sizes, order, n_roots, n_routes, bounded, sums):
    model = Tables(np.random.default_rng(seed), sizes, order, n_roots, bounded, sums)
    truth = sorted(model.enumerated(), key=lambda item: -item[0])
    found = best_routes(model, n_routes)
    assert len(found.states) == min(n_routes, len(truth))
    of = {(root, route): p for p, root, route in truth}
    pairs = [(int(r), tuple(s)) for r, s in zip(found.roots, found.states.tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs)
    np.testing.assert_allclose([of[pair] for pair in pairs], [p for p, _, _ in truth[:n_routes]], rtol=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(1, 40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_ties_are_in_order_of_root_and_states(seed, order, n_routes, bounded):
    model = Tables(np.random.default_rng(seed), [2, 3, 2, 2], order, 2, bounded, halves=True)
    truth = sorted(model.enumerated(), key=lambda item: (-item[0], item[1], item[2]))
    found = best_routes(model, n_routes)
    pairs = [(int(r), tuple(s)) for r, s in zip(found.roots, found.states.tolist(), strict=True)]
    assert pairs == [(root, route) for _, root, route in truth[:n_routes]]


def test_a_search_that_would_be_too_wide_says_so(monkeypatch):
    monkeypatch.setattr(route_search, "MOST_CANDIDATES", 100)
    flat = Tables(np.random.default_rng(0), [9] * 4, 3, 1, bounded=False)
    for table in flat.tables:
        table[:] = 1 / 9
    with pytest.raises(TooWideError, match="more than 100 beginnings"):
        best_routes(flat, 200)
