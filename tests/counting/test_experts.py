"""The expert view: rows of experts from states, and their tables, against the slow obvious code."""

from itertools import combinations

import numpy as np
import pytest

from routestat import Router
from routestat.counting.experts import expert_rows
from routestat.counting.kernels.experts import cross_experts


@pytest.mark.parametrize(
    ("n_experts", "top_k"), [(1, 1), (5, 1), (8, 2), (6, 6), (9, 4), (10, 7), (3, 2), (16, 5)]
)
def test_every_state_gives_its_subset(n_experts, top_k):
    router = Router(0, n_experts, top_k)
    states = np.arange(router.alphabet.size, dtype=router.alphabet.dtype)
    rows = expert_rows(states, router)
    assert rows.tolist() == [list(subset) for subset in combinations(range(n_experts), top_k)]
    missing = expert_rows(np.array([router.alphabet.missing], router.alphabet.dtype), router)
    assert (missing == np.iinfo(rows.dtype).max).all()


@pytest.mark.parametrize(
    ("n_experts", "top_k"), [(64, 6), (128, 8), (256, 8), (300, 8), (65, 32), (4096, 5), (67, 25)]
)
def test_states_of_wide_alphabets_give_the_subsets_they_were_made_of(n_experts, top_k):
    router, rng = Router(0, n_experts, top_k), np.random.default_rng(n_experts)
    alphabet = router.alphabet
    rows = np.sort(rng.random((300, n_experts)).argpartition(top_k - 1, axis=1)[:, :top_k], axis=1)
    # The ends, and beside every place where the first experts change.
    edges = [0, alphabet.size - 1]
    edges += [alphabet.size - 1 - int(b) + d for b in alphabet.binomials.ravel() for d in (-1, 0, 1)]
    states = np.array(sorted({e for e in edges if 0 <= e < alphabet.size}), alphabet.dtype)
    assert np.array_equal(expert_rows(alphabet.rank(rows), router), rows)
    assert np.array_equal(alphabet.rank(expert_rows(states, router)), states)


@pytest.mark.parametrize("top_k", [1, 2, 3, 4, 5, 6, 8, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tables_of_experts_are_counted_for_every_number_of_slots(top_k, dtype):
    rng, rows, n_experts, lag = np.random.default_rng(top_k), 60, 12, 1
    missing = np.iinfo(dtype).max
    source, target = (
        np.sort(rng.random((rows, n_experts)).argsort(axis=1)[:, :k], axis=1).astype(dtype)
        for k in (top_k, top_k + 1)
    )
    source[rng.random(rows) < 0.2] = missing
    target[rng.random(rows) < 0.2] = missing
    starts, stops = np.array([0, 40, 25]), np.array([25, 60, 40])
    groups = np.array([0, 0, 2])
    slots = (0,) * top_k, (0,) * (top_k + 1)
    table = np.zeros((3, n_experts, n_experts), np.uint32)
    cross_experts(
        source,
        target,
        starts,
        stops,
        groups,
        lag,
        np.array([missing, missing]),
        slots,
        n_experts,
        table.reshape(3, -1),
    )
    expected = np.zeros_like(table)
    for start, stop, group in zip(starts, stops, groups, strict=True):
        for t in range(start + lag, stop):
            for i in source[t - lag]:
                for j in target[t]:
                    if i != missing and j != missing:
                        expected[group, i, j] += 1
    assert np.array_equal(table, expected)
