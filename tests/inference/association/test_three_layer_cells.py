"""Tests of cells of three layers, against their definition."""

import numpy as np
import pytest
from scipy import stats

from routestat.counting.three_layers import count_three_layers
from routestat.inference.association.cell_tests import cell_tests
from routestat.inference.association.three_layer_cells import three_layer_cells
from routestat.inference.base.multiplicity import adjust
from tests.counting.three_layer_traces import random_sample, sample_of, tokens_of
from tests.oracle import triples_oracle as oracle


def cells_of(sample, states="subset", **how):
    layers = count_three_layers(sample, sample.routers, states)
    return layers, three_layer_cells(layers, **how)


@pytest.mark.parametrize(("states", "n_experts", "top_k"), [("subset", 4, 1), ("expert", 4, 2)])
def test_cells_by_their_definition(states: str, n_experts: int, top_k: int):
    lengths = np.random.default_rng(0).integers(5, 40, 12)
    sample = random_sample(4, lengths, n_experts, top_k, missing=0.05)
    layers, found = cells_of(sample, states)
    tokens = tokens_of(sample, states)
    x, y, z = (part.tolist() for part in layers.choices(found.key))
    cells = list(zip(x, y, z, strict=True))
    assert len(cells) == found.n_possible
    for model, part in (("independence", found.from_independence), ("chain", found.from_chain)):
        expected = oracle.z_values(tokens, cells, model)
        assert part.n_tested == len(expected)
        np.testing.assert_allclose([expected[cell] for cell in cells], part.z, rtol=1e-9)
        np.testing.assert_allclose(
            [oracle.scores(tokens, cell, model)[2] for cell in cells], part.expected, rtol=1e-12
        )
        sizes = [oracle.scores(tokens, cell, model)[4] for cell in cells]
        dof = np.array([1 / ((size / size.sum()) ** 2).sum() - 1 for size in sizes])
        floor = np.array([0.5 ** ((size > 0).sum() - 1) for size in sizes])
        p = np.maximum(2 * stats.t.sf(np.abs(part.z), dof), floor)
        np.testing.assert_allclose(part.log10_p, np.log10(p), rtol=1e-9)
        np.testing.assert_allclose(10**part.log10_q, adjust(p, "by"), rtol=1e-9)


def test_one_middle_choice_is_a_table_of_two_layers():
    rng = np.random.default_rng(1)
    lengths = rng.integers(20, 60, 15)
    n = lengths.sum()
    x = rng.integers(0, 3, n)
    states = np.stack([x, np.zeros(n, int), np.where(rng.random(n) < 0.3, x, rng.integers(0, 3, n))], axis=1)
    sample = sample_of(states, lengths, 3, 1)
    _, found = cells_of(sample)
    tables = np.zeros((15, 3, 3), int)
    np.add.at(tables, (np.repeat(np.arange(15), lengths), states[:, 0], states[:, 2]), 1)
    np.testing.assert_allclose(found.from_chain.z, cell_tests(tables).z.ravel(), rtol=1e-9)
    np.testing.assert_allclose(found.from_chain.log10_q, cell_tests(tables).log10_q.ravel(), rtol=1e-9)


def test_cells_with_most_expected_tokens_are_tested():
    sample = random_sample(5, [40] * 20, 6, 2)
    layers, every = cells_of(sample)
    _, some = cells_of(sample, most=50)
    assert len(some.key) == some.from_chain.n_tested == 50
    assert some.n_possible == every.n_possible == len(every.key)
    least = np.sort(every.from_chain.expected)[-50]
    assert (some.from_chain.expected >= least).all()
    kept = np.isin(every.key, some.key)
    np.testing.assert_allclose(every.from_chain.expected[kept], some.from_chain.expected)
    np.testing.assert_array_equal(some.count, layers.cells.counts(some.key))


def test_a_departure_from_the_chain_is_found_and_a_chain_is_not():
    """The last layer is the first plus the middle: all cells depart from the chain, though layers are independent."""
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 4, (2, 4000))
    sum_ = np.where(rng.random(4000) < 0.5, (x + y) % 4, rng.integers(0, 4, 4000))
    _, found = cells_of(sample_of(np.stack([x, y, sum_], axis=1), [100] * 40, 4, 1))
    assert (found.from_chain.log10_q < np.log10(0.05)).mean() > 0.9
    chain = np.where(rng.random(4000) < 0.5, y, rng.integers(0, 4, 4000))
    _, found = cells_of(sample_of(np.stack([x, y, chain], axis=1), [100] * 40, 4, 1))
    assert not (found.from_chain.log10_q < np.log10(0.05)).any()
    assert (found.from_independence.log10_q < np.log10(0.05)).any()


def test_what_cannot_be_tested_says_why():
    constant = np.zeros((80, 3), int)
    _, found = cells_of(sample_of(constant, [10] * 8, 4, 1))
    assert "no cell can differ" in found.from_chain.reason
    assert "no cell can differ" in found.from_independence.reason
    _, few = cells_of(random_sample(6, [50] * 4))
    assert "4 independent units" in few.from_chain.reason
    assert np.isnan(few.from_chain.z).all()
    assert np.isfinite(few.from_chain.expected).all()
    _, none = cells_of(random_sample(6, [50] * 8, missing=1.0))
    assert none.n_possible == len(none.key) == 0
    same = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 0]] * 5)
    orders = [np.random.default_rng(seed).permutation(30) for seed in range(8)]
    _, equal = cells_of(sample_of(np.concatenate([same[order] for order in orders]), [30] * 8, 4, 1))
    assert "equal proportions" in equal.from_chain.reason
