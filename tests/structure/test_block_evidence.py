"""The evidence of blocks: token by token, by brute force, and by merging."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from routestat.counting.kernels.ward import ward_blocks
from routestat.structure.block_evidence import CORRECTED, log_evidence, merged_blocks
from tests.oracle.biclusters_oracle import partitions_into, sequential_log_evidence

MATRICES = tuple(CORRECTED)


def planted(rng, n_states, n_blocks, strength, n):
    """Labels of both sides and a table with blocks whose states differ in frequency."""
    labels = [rng.permutation(np.arange(n_states) % n_blocks) for _ in range(2)]
    cells = np.where(labels[0][:, None] == labels[1], strength, 1.0)
    cells *= rng.gamma(5.0, size=(n_states, 1)) * rng.gamma(5.0, size=n_states)
    return *labels, rng.multinomial(n, (cells / cells.sum()).ravel()).reshape(n_states, n_states)


def test_by_hand():
    # Two tokens in one of two cells, both with states of their own: 1/2 · 2/3 for the cells, and for the partition 1/2
    # (numbers of blocks) · 1 (sizes) · 1/2 (which states) for the rows, 1 for the column.
    table = np.array([[2], [0]])
    value = log_evidence(table, np.array([0, 1]), np.array([0]))
    assert value == pytest.approx(math.log(1 / 2 * 2 / 3 / 2 / 2))
    # One block: 1/2 · 2/3 for the states where their degrees are free, 1/2 · 1/2 where they are equal; 1/2 · 1 · 1.
    one = np.zeros(2, np.int64), np.zeros(1, np.int64)
    assert log_evidence(table, *one) == pytest.approx(math.log(1 / 2 * 2 / 3 / 2))
    assert log_evidence(table, *one, "joint") == pytest.approx(math.log(1 / 4 / 2))


@given(st.integers(0, 2**32 - 1), st.sampled_from(MATRICES))
@settings(max_examples=40, deadline=None)
def test_evidence_is_that_of_the_tokens_one_after_the_other(seed, matrix):
    rng = np.random.default_rng(seed)
    rows, columns = (rng.permutation(np.append(np.arange(n), rng.integers(0, n, 3))) for n in (3, 2))
    table = rng.integers(0, 4, (6, 5))
    expected = sequential_log_evidence(table, rows, columns, CORRECTED[matrix])
    assert log_evidence(table, rows, columns, matrix) == pytest.approx(expected, abs=1e-9)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(MATRICES),
    st.integers(1, 25),
    st.integers(1, 22),
    st.integers(1, 9),
    st.sampled_from([0.1, 1.0, 50.0]),
)
@settings(max_examples=60, deadline=None)
def test_any_table_gives_sound_partitions_and_their_evidence(seed, matrix, n_rows, n_columns, most, scale):
    rng = np.random.default_rng(seed)
    table = rng.gamma(0.3, scale, (n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < 0.6)
    found = merged_blocks(table, most, matrix)
    assert len(found.rows) == min(most, n_rows) + min(most, n_columns) - 1
    for size, (rows, columns) in enumerate(zip(found.rows, found.columns, strict=True)):
        blocks = [set(own.tolist()) for own in (rows, columns)]
        assert sum(map(len, blocks)) == size + 2
        assert all(own == set(range(len(own))) for own in blocks)
        assert max(map(len, blocks)) <= most
        value = log_evidence(table, rows, columns, matrix)
        assert found.log_evidence[size] == pytest.approx(value, rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("matrix", MATRICES)
def test_merging_finds_the_best_of_all_partitions(matrix):
    rng = np.random.default_rng(1)
    for _ in range(5):
        _, _, table = planted(rng, 6, 2, 6.0, 300)
        best = max(
            log_evidence(table, rows, columns, matrix)
            for rows in partitions_into(6, 2)
            for columns in partitions_into(6, 2)
        )
        found = merged_blocks(table, 2, matrix)
        assert found.log_evidence[2] == pytest.approx(best)


@pytest.mark.parametrize(("n_states", "n_blocks", "n"), [(28, 4, 10_000), (120, 6, 200_000)])
def test_evidence_is_largest_at_planted_blocks(n_states, n_blocks, n):
    rng = np.random.default_rng(n_states)
    rows, columns, table = planted(rng, n_states, n_blocks, 3.0, n)
    found = merged_blocks(table, n_blocks + 2)
    size = int(found.log_evidence.argmax())
    assert size == 2 * n_blocks - 2
    assert adjusted_rand_score(rows, found.rows[size]) == 1.0
    assert adjusted_rand_score(columns, found.columns[size]) == 1.0


def test_the_matrix_says_what_is_alike_inside_a_block():
    # Independent, with frequent and rare states on both sides: the lift has one block, the conditional distribution
    # blocks of targets only, the joint distribution blocks of both.
    frequent = np.repeat([1.0, 8.0], 6)
    table = np.rint(40 * np.outer(frequent, frequent))
    shapes = {}
    for matrix in MATRICES:
        found = merged_blocks(table, 4, matrix)
        size = int(found.log_evidence.argmax())
        shapes[matrix] = (int(found.rows[size].max()) + 1, int(found.columns[size].max()) + 1)
    assert shapes == {"lift": (1, 1), "conditional": (1, 2), "joint": (2, 2)}


def test_merging_stops_where_it_is_asked_to():
    _, _, table = planted(np.random.default_rng(3), 20, 4, 3.0, 5_000)
    whole, part = merged_blocks(table, 6), merged_blocks(table, 6, least=4)
    np.testing.assert_array_equal(part.rows[4:], whole.rows[4:])
    np.testing.assert_array_equal(part.columns[4:], whole.columns[4:])
    assert np.isnan(part.log_evidence[:4]).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 25), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_ward_blocks_are_those_of_scipy(seed, n, wanted):
    points = np.random.default_rng(seed).normal(size=(n, 3))
    wanted = min(wanted, n)
    labels = np.empty(n, np.int64)
    ward_blocks(points, np.ones(n), wanted, labels)
    expected = fcluster(linkage(points, "ward"), wanted, "maxclust")
    assert adjusted_rand_score(expected, labels) == 1.0
    assert set(labels.tolist()) == set(range(wanted))


def test_ward_weights_count_as_so_many_points():
    rng = np.random.default_rng(2)
    points, times = rng.normal(size=(12, 2)), rng.integers(1, 5, 12)
    labels, repeated = np.empty(12, np.int64), np.empty(int(times.sum()), np.int64)
    ward_blocks(points, times.astype(np.float64), 4, labels)
    ward_blocks(np.repeat(points, times, axis=0), np.ones(len(repeated)), 4, repeated)
    assert adjusted_rand_score(repeated, np.repeat(labels, times)) == 1.0
