"""Spectral blocks: planted ones are found, and labels do not depend on ids."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from routestat.errors import RoutestatError
from routestat.structure.biclusters import spectral_blocks
from tests.oracle.structure_oracle import block_table, mutual_information_bits


def planted(rng, n_rows=28, n_columns=28, n_blocks=4, strength=4.0, evenness=8.0):
    """Row labels, column labels and the distribution of a table with blocks; low `evenness` makes rare states."""
    rows, columns = np.arange(n_rows) % n_blocks, np.arange(n_columns) % n_blocks
    rng.shuffle(rows)
    rng.shuffle(columns)
    distribution = np.where(rows[:, None] == columns, strength, 1.0)
    distribution *= rng.gamma(evenness, size=(n_rows, 1)) * rng.gamma(evenness, size=n_columns)
    return rows, columns, distribution / distribution.sum()


def draw(rng, distribution, n):
    return rng.multinomial(n, distribution.ravel()).reshape(distribution.shape)


def same(a, b):
    for name in ("row_labels", "column_labels", "row_order", "column_order"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.share_of_mi, a.n_row_blocks, a.n_column_blocks) == (
        b.share_of_mi,
        b.n_row_blocks,
        b.n_column_blocks,
    )


def test_hand_counted():
    # Sources 0, 2 lead to targets 1, 3 (20 tokens) and sources 1, 4 to targets 0, 2 (40 tokens); source 3 is
    # unused. The heavier pair of blocks is number 0. Inside a block all is even: blocks hold all information.
    table = np.zeros((5, 4), dtype=int)
    table[np.ix_([0, 2], [1, 3])] = 5
    table[np.ix_([1, 4], [0, 2])] = 10
    blocks = spectral_blocks(table, 2, np.random.default_rng(0))
    assert blocks.row_labels.tolist() == [1, 0, 1, -1, 0]
    assert blocks.column_labels.tolist() == [0, 1, 0, 1]
    assert blocks.row_order.tolist() == [1, 4, 0, 2, 3]
    assert blocks.column_order.tolist() == [0, 2, 1, 3]
    assert (blocks.n_row_blocks, blocks.n_column_blocks, blocks.n_paired, blocks.n_blocks) == (2, 2, 2, 2)
    assert blocks.share_of_mi == pytest.approx(1)
    assert blocks.reason is None


def test_order_is_heaviest_first_inside_a_block():
    table = np.kron(np.eye(2, dtype=int), np.outer([1, 3, 2], [4, 5, 6, 3]))  # both blocks weigh the same
    blocks = spectral_blocks(table, 2, np.random.default_rng(0))
    assert [state % 3 for state in blocks.row_order] == [1, 2, 0] * 2
    assert [state % 4 for state in blocks.column_order] == [2, 1, 0, 3] * 2


def test_more_blocks_than_distinct_states_warns_nobody():
    table = np.kron(np.eye(2, dtype=int), np.full((4, 4), 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blocks = spectral_blocks(table, 5, np.random.default_rng(0))
    assert 0 < blocks.share_of_mi <= 1
    assert blocks.n_row_blocks <= 5


@pytest.mark.parametrize("matrix", ["lift", "counts"])
@pytest.mark.parametrize(
    ("n_rows", "n_columns", "n_blocks"), [(28, 28, 4), (28, 28, 3), (28, 120, 4), (6, 9, 2)]
)
def test_planted_blocks_are_recovered(n_rows, n_columns, n_blocks, matrix):
    rng = np.random.default_rng(n_rows + n_columns + n_blocks)
    rows, columns, distribution = planted(rng, n_rows, n_columns, n_blocks)
    blocks = spectral_blocks(draw(rng, distribution, 100_000), n_blocks, rng, matrix)
    assert adjusted_rand_score(rows, blocks.row_labels) > 0.9
    assert adjusted_rand_score(columns, blocks.column_labels) > 0.9
    assert blocks.share_of_mi > 0.9
    assert blocks.matrix == matrix
    # Row block b and column block b were planted together.
    for b in range(n_blocks):
        row, column = rows[blocks.row_labels == b], columns[blocks.column_labels == b]
        assert np.bincount(row).argmax() == np.bincount(column).argmax()


def test_rare_states_defeat_the_lift_but_not_the_counts():
    found = {"lift": [], "counts": []}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows, _, distribution = planted(rng, 64, 64, evenness=1.0)
        table = draw(rng, distribution, 100_000)
        for matrix, scores in found.items():
            labels = spectral_blocks(table, 4, rng, matrix).row_labels
            scores.append(adjusted_rand_score(rows[labels >= 0], labels[labels >= 0]))
    assert np.mean(found["counts"]) > 0.85
    assert np.mean(found["lift"]) < np.mean(found["counts"]) - 0.1


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.sampled_from([60, 3_000, 10**9]))
@settings(max_examples=25, deadline=None)
def test_relabelling_the_experts_changes_only_the_places(seed, n_blocks, n):
    rng = np.random.default_rng(seed)
    _, _, distribution = planted(rng, 12, 15, n_blocks, strength=2.0)
    table = draw(rng, distribution, n)
    rows, columns = rng.permutation(12), rng.permutation(15)
    blocks = spectral_blocks(table, n_blocks, np.random.default_rng(1))
    moved = spectral_blocks(table[np.ix_(rows, columns)], n_blocks, np.random.default_rng(1))
    assert moved.share_of_mi == pytest.approx(blocks.share_of_mi, abs=1e-12)
    np.testing.assert_array_equal(moved.row_labels, blocks.row_labels[rows])
    np.testing.assert_array_equal(moved.column_labels, blocks.column_labels[columns])


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 400)
)
@settings(max_examples=60, deadline=None)
def test_any_table_gives_a_sound_result(seed, n_rows, n_columns, n_blocks, n):
    rng = np.random.default_rng(seed)
    table = draw(rng, rng.dirichlet(np.full(n_rows * n_columns, 0.2)).reshape(n_rows, n_columns), n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blocks = spectral_blocks(table, n_blocks, rng)
    for labels, order, used, found in (
        (blocks.row_labels, blocks.row_order, table.any(axis=1), blocks.n_row_blocks),
        (blocks.column_labels, blocks.column_order, table.any(axis=0), blocks.n_column_blocks),
    ):
        np.testing.assert_array_equal(labels >= 0, used)
        assert set(labels[used]) == set(range(found))
        assert found <= n_blocks
        np.testing.assert_array_equal(np.sort(order), np.arange(len(labels)))
        in_order = labels[order]
        assert (np.diff(in_order[: used.sum()]) >= 0).all()
        assert (in_order[used.sum() :] == -1).all()
    if blocks.reason is None:
        summed = block_table(table, blocks.row_labels.tolist(), blocks.column_labels.tolist())
        share = mutual_information_bits(summed) / mutual_information_bits(table.tolist())
        assert blocks.share_of_mi == pytest.approx(share, abs=1e-9)
    else:
        assert np.isnan(blocks.share_of_mi)
        assert max(blocks.n_row_blocks, blocks.n_column_blocks) <= 1


@pytest.mark.parametrize(
    ("table", "n_blocks", "reason"),
    [
        (np.zeros((4, 4), int), 2, "empty"),
        (np.zeros((0, 4), int), 2, "empty"),
        (np.eye(4, dtype=int)[[0, 0, 0, 0]] * 9, 2, "4 source and 1 target"),
        (np.eye(3, dtype=int) * 9, 4, "4 blocks"),
        (np.outer([1, 2, 3], [2, 5, 7]), 2, "no information"),
        (np.full((5, 5), 10**12), 2, "no information"),
    ],
)
def test_what_cannot_be_fitted_says_why(table, n_blocks, reason):
    blocks = spectral_blocks(table, n_blocks, np.random.default_rng(0))
    assert reason in blocks.reason
    assert np.isnan(blocks.share_of_mi)
    assert (blocks.row_labels[table.any(axis=1)] == 0).all()


def test_fewer_tokens_than_states_are_not_clustered():
    rng = np.random.default_rng(0)
    # Five states on either side; tokens of two cells each.
    table = np.kron(np.eye(5, dtype=int), [[4]])
    assert spectral_blocks(table, 2, rng, slots=2).reason is None
    for slots, tokens in ((3, 6), (10, 2)):
        found = spectral_blocks(table, 2, rng, slots=slots)
        assert (
            found.reason
            == f"{tokens} tokens are fewer than the 10 states that they would have to assign to blocks"
        )
        assert np.isnan(found.share_of_mi)
    assert spectral_blocks(table, 2, rng).reason is None


def test_one_block_explains_nothing_and_a_permutation_all():
    assert spectral_blocks(np.eye(5, dtype=int), 1, np.random.default_rng(0)).share_of_mi == 0
    shuffled = np.eye(4, dtype=int)[[2, 0, 3, 1]] * np.array([[10], [20], [30], [40]])
    blocks = spectral_blocks(shuffled, 4, np.random.default_rng(0))
    assert blocks.share_of_mi == pytest.approx(1)
    assert blocks.row_labels.tolist() == [3, 2, 1, 0]


def test_same_generator_same_result_and_another_numbering_never():
    rng = np.random.default_rng(2)
    table = draw(rng, planted(rng)[2], 50_000)
    first = spectral_blocks(table, 4, np.random.default_rng(7))
    same(first, spectral_blocks(table, 4, np.random.default_rng(7)))
    # Blocks this clear are the same whatever k-means starts from, so the numbering must be too.
    for seed in range(5):
        same(first, spectral_blocks(table, 4, np.random.default_rng(seed)))


def test_a_fit_is_quick():
    rng = np.random.default_rng(2)
    table = draw(rng, planted(rng)[2], 50_000)
    spectral_blocks(table, 4, rng)
    started = time.perf_counter()
    for _ in range(5):
        spectral_blocks(table, 4, rng)
    assert (time.perf_counter() - started) / 5 < 0.5  # about 12 ms on an idle core


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (np.zeros(3, int), {}, "axes"),
        ([[0.5, 0.5], [0, 1]], {}, "whole"),
        ([[-1, 1], [1, 1]], {}, "table"),
        ([[np.nan, 1], [1, 1]], {}, "finite"),
        ([[1, 2], [2, 1]], {"n_blocks": 0}, "n_blocks"),
        ([[1, 2], [2, 1]], {"n_blocks": 2.0}, "n_blocks"),
        ([[1, 2], [2, 1]], {"matrix": "residuals"}, "matrix"),
    ],
)
def test_bad_input(table, options, message):
    options = {"n_blocks": 2, "rng": np.random.default_rng(0)} | options
    with pytest.raises(RoutestatError, match=message) as caught:
        spectral_blocks(table, **options)
    assert "\n" not in str(caught.value)


def test_result_is_closed():
    blocks = spectral_blocks(np.eye(3, dtype=int), 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="read-only"):
        blocks.row_labels[0] = 1
