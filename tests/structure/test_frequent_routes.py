"""Routes through single experts that most tokens take, against all routes."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.counting.expert_routes import ExpertRows
from routestat.structure.frequent_routes import frequent_routes
from routestat.traces.metadata import routers_like


def expert_rows_of(choices, n_experts, group=None):
    """Rows from choices [row, layer, slot]; each row is a group unless groups are given."""
    n, layers, slots = choices.shape
    number = np.arange(n) if group is None else group
    return ExpertRows(
        routers_like(range(layers), n_experts, slots),
        choices.astype(np.int16),
        number.astype(np.int64),
        number.astype(np.int32),
        np.full(n, -1, np.int32),
        int(number.max(initial=-1)) + 1,
    )


def random_choices(rng, n, layers, n_experts, slots, skew=1.0):
    weights = np.arange(1, n_experts + 1.0) ** -skew
    keys = rng.exponential(size=(n, layers, n_experts)) / weights
    return np.sort(np.argsort(keys, axis=2)[:, :, :slots], axis=2)


def most_frequent(choices, alive, n_experts):
    """The largest number of living tokens on any route, by trying all routes."""
    return max(
        sum(all(e in token[layer] for layer, e in enumerate(route)) for token in choices[alive].tolist())
        for route in itertools.product(range(n_experts), repeat=choices.shape[1])
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 2), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_each_is_the_most_frequent_of_the_tokens_left(seed, layers, slots, n):
    choices = random_choices(np.random.default_rng(seed), n, layers, 4, slots)
    found = frequent_routes(expert_rows_of(choices, 4), 4)
    assert found.complete
    alive = np.ones(n, bool)
    for shared, rows in zip(found.shared, found.rows, strict=True):
        assert alive[rows].all()
        assert len(rows) == most_frequent(choices, alive, 4)
        for layer, experts in enumerate(shared):
            assert experts
            assert all(set(experts) <= set(choices[row, layer].tolist()) for row in rows)
        alive[rows] = False
    if len(found.rows) < 4:
        assert not alive.any() or most_frequent(choices, alive, 4) < 2


def test_planted_route():
    rng = np.random.default_rng(0)
    choices = random_choices(rng, 400, 12, 16, 3, skew=0.0)
    route = rng.integers(0, 16, 12)
    for layer, expert in enumerate(route.tolist()):
        others = np.array([e for e in range(16) if e != expert])
        choices[:30, layer] = np.sort(
            np.column_stack([np.full(30, expert), *rng.permuted(np.tile(others, (30, 1)), axis=1)[:, :2].T]),
            axis=1,
        )
    found = frequent_routes(expert_rows_of(choices, 16), 1)
    assert found.rows[0].tolist() == list(range(30))
    assert [experts for experts in found.shared[0]] == [(expert,) for expert in route.tolist()]


def test_nothing_to_find():
    nothing = frequent_routes(expert_rows_of(np.empty((0, 3, 2)), 4), 5)
    assert nothing.shared == ()
    assert nothing.complete
    different = np.array([[[0]], [[1]], [[2]]])
    assert frequent_routes(expert_rows_of(different, 3), 5).shared == ()


def test_a_cut_search_says_so():
    choices = random_choices(np.random.default_rng(1), 200, 6, 8, 2, skew=0.0)
    assert not frequent_routes(expert_rows_of(choices, 8), 5, most_nodes=1).complete
