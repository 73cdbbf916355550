"""How many blocks left-out documents ask for, and the design effect of their counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.inference.association.independence import independence
from routestat.structure.block_evidence import CORRECTED, Partitions, merged_blocks
from routestat.structure.block_number import (
    choose_number,
    fewer_groups,
    gains_of_cells,
    table_design_effect,
)
from tests.oracle.biclusters_oracle import left_out_bits

ONE, TWO = np.zeros(4, np.int64), np.array([0, 0, 1, 1])


def fixed(*partitions):
    """A fit that gives every table the same partitions."""
    rows, columns = (np.stack(own) for own in zip(*partitions, strict=True))
    return lambda tables: [Partitions(rows.copy(), columns.copy(), np.zeros(len(rows))) for _ in tables]


def tables_with(rng, strength, documents=40, length=200):
    cells = np.where(TWO[:, None] == TWO, strength, 1.0)
    return rng.multinomial(length, (cells / cells.sum()).ravel(), size=documents).reshape(documents, 4, 4)


@given(st.integers(0, 2**32 - 1), st.sampled_from(tuple(CORRECTED)))
@settings(max_examples=30, deadline=None)
def test_gains_are_those_counted_cell_by_cell(seed, matrix):
    rng = np.random.default_rng(seed)
    table, left_out = rng.gamma(0.5, 5.0, (6, 5)), rng.integers(0, 4, (6, 5))
    found = merged_blocks(table, 3, matrix)
    own, lift = gains_of_cells(table, found, matrix)
    for size, (rows, columns) in enumerate(zip(found.rows, found.columns, strict=True)):
        expected = left_out_bits(table, left_out, rows, columns, CORRECTED[matrix])
        assert (own[size] * left_out).sum() == pytest.approx(expected, abs=1e-9)
    assert (lift is own) == (matrix == "lift")
    # Of one block on either side, the lift is one.
    for size in np.flatnonzero(found.columns.max(axis=1) == 0):
        np.testing.assert_allclose(lift[size] if lift is not own else 0.0, 0.0, atol=1e-12)


def test_design_effect_is_that_of_the_test_of_independence():
    rng = np.random.default_rng(0)
    tables = rng.poisson(rng.gamma(2.0, 3.0, (25, 5, 6)))
    assert table_design_effect(tables) == pytest.approx(independence(tables).design_effect)
    assert table_design_effect(tables[:1]) == 1.0
    assert table_design_effect(tables[:, :1]) == 1.0
    # Fewer than independent tokens give is not used to make counts larger.
    assert table_design_effect(np.repeat(tables[:1], 5, axis=0)) == 1.0


def test_groups_are_added_up_and_none_is_lost():
    tables = np.random.default_rng(0).integers(1, 4, (150, 2, 2))
    tables[7] = 0
    fewer = fewer_groups(tables)
    assert fewer.shape == (64, 2, 2)
    np.testing.assert_array_equal(fewer.sum(axis=0), tables.sum(axis=0))
    np.testing.assert_array_equal(fewer_groups(tables[:10]), np.delete(tables[:10], 7, axis=0))


def test_blocks_that_are_there_are_chosen_and_others_not():
    rng = np.random.default_rng(1)
    fit = fixed((ONE, ONE), (TWO, TWO))
    tables = tables_with(rng, 3.0)
    real = choose_number(tables, fit, "lift", 1.0)
    assert (real.size, real.reason, real.at_most, real.n_groups, real.n_folds) == (1, None, False, 40, 5)
    # I of two equal blocks with 3/4 of the tokens on the diagonal: 1 − H(1/4).
    assert real.gain.low < 1 - 0.8113 < real.gain.high
    assert real.saved.sum() / tables.sum() == pytest.approx(real.gain.value)
    flat = choose_number(tables_with(rng, 1.0), fit, "lift", 1.0)
    assert (flat.size, flat.reason) == (0, None)
    # What was tried and not chosen is said.
    assert flat.gain.value == pytest.approx(flat.gains_bits[1])
    assert flat.gain.low <= 0


def test_the_smallest_of_equal_numbers_is_chosen():
    finer = np.array([0, 0, 1, 2])
    fit = fixed((ONE, ONE), (TWO, TWO), (finer, TWO), (finer, finer))
    found = choose_number(tables_with(np.random.default_rng(2), 3.0), fit, "lift", 1.0)
    assert (found.size, found.at_most) == (1, False)
    halves = fixed((ONE, ONE), (ONE, TWO), (TWO, TWO))
    found = choose_number(tables_with(np.random.default_rng(2), 3.0), halves, "lift", 1.0)
    assert (found.size, found.at_most) == (2, True)


def test_one_documents_blocks_are_not_everybodys():
    # One document of half of all tokens has blocks, the others have none: nothing that left-out documents share.
    rng = np.random.default_rng(3)
    tables = tables_with(rng, 1.0, documents=30)
    tables[0] = 30 * tables_with(rng, 6.0, documents=1)[0]
    assert choose_number(tables, fixed((ONE, ONE), (TWO, TWO)), "lift", table_design_effect(tables)).size == 0


@pytest.mark.parametrize("documents", [1, 5])
def test_too_few_documents_say_so(documents):
    tables = tables_with(np.random.default_rng(0), 5.0, documents)
    found = choose_number(tables, fixed((ONE, ONE), (TWO, TWO)), "lift", 1.0)
    assert found.size == 0
    assert "no test or interval below 6" in found.reason
    assert np.isnan(found.gain.value)
