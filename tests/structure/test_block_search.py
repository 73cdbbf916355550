"""Blocks of a transition: planted ones are recovered, independent data have one, and names of states do not matter."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.errors import RoutestatError
from routestat.structure.block_search import find_biclusters, matched_numbers
from routestat.traces.synthetic import planted_blocks, to_trace
from tests.calibration.nulls import BOTH, document_lengths, expert_tables, state_tables
from tests.oracle.structure_oracle import mutual_information_bits


def blocks_of(rng, n_rows, n_columns, n_blocks, strength):
    """Labels of both sides and the distribution of a table with blocks."""
    rows, columns = (rng.permutation(np.arange(n) % n_blocks) for n in (n_rows, n_columns))
    cells = np.where(rows[:, None] == columns, strength, 1.0)
    cells *= rng.gamma(5.0, size=(n_rows, 1)) * rng.gamma(5.0, size=n_columns)
    return rows, columns, cells / cells.sum()


def documents_of(rng, cells, documents, length, concentration=None):
    """Tables of documents, each with its own distribution around `cells` where a concentration is given."""
    own = [cells.ravel()] * documents
    if concentration is not None:
        own = rng.dirichlet(concentration * cells.ravel(), documents)
    return np.stack([rng.multinomial(length, one) for one in own]).reshape(documents, *cells.shape)


def test_planted_blocks_of_pairs_are_recovered_through_the_counts():
    made = planted_blocks(
        coupling=0.5,
        rng=np.random.default_rng(0),
        n_experts=8,
        top_k=2,
        layers=3,
        documents=60,
        mean_length=500,
        lengths="exponential",
    )
    counts = count(to_trace(made))
    labels = made.truth.planted["labels"]
    for place, target in enumerate(counts.routers[1:]):
        found = find_biclusters(counts.table(Context.layer(1), target), np.random.default_rng(1))
        assert (found.blocks.n_row_blocks, found.blocks.n_column_blocks) == (4, 4)
        assert adjusted_rand_score(labels[place], found.blocks.row_labels) >= 0.95
        assert adjusted_rand_score(labels[place + 1], found.blocks.column_labels) >= 0.95
        assert found.are_real
        assert not found.number.at_most
        # Blocks are all that is planted: they explain all that the layers share.
        assert found.number.gain.low < made.truth.mi_bits[place] < found.number.gain.high
        assert found.explained.low < 1.02
        assert found.explained.high > 0.98
        assert found.stability.ari > 0.95
        assert found.log10_evidence > 10
        assert found.null.mean_share < 0.5 < found.blocks.share_of_mi


@pytest.mark.parametrize("method", ["evidence", "cocluster", "bicluster"])
def test_every_method_recovers_planted_blocks_and_refuses_noise(method):
    rng = np.random.default_rng(5)
    rows, columns, cells = blocks_of(rng, 12, 10, 3, 5.0)
    tables = documents_of(rng, cells, 30, 400)
    found = find_biclusters(tables, rng, method=method, most=3)
    assert (found.blocks.n_row_blocks, found.blocks.n_column_blocks) == (3, 3)
    assert adjusted_rand_score(rows, found.blocks.row_labels) > 0.9
    assert adjusted_rand_score(columns, found.blocks.column_labels) > 0.9
    assert found.are_real
    assert math.isfinite(found.log10_evidence) == (method == "evidence")
    flat = documents_of(rng, np.outer(cells.sum(axis=1), cells.sum(axis=0)), 30, 400)
    noise = find_biclusters(flat, rng, method=method, most=3)
    assert not noise.are_real
    assert (noise.blocks.n_row_blocks, noise.blocks.n_column_blocks, noise.blocks.share_of_mi) == (1, 1, 0.0)
    assert noise.explained.value == 0.0


def test_documents_with_loads_of_their_own_have_no_blocks():
    rng = np.random.default_rng(8)
    for _ in range(6):
        tables = state_tables(rng, 28, document_lengths(rng, 40, 250, "exponential"), BOTH)
        found = find_biclusters(tables, rng)
        assert not found.are_real
        assert found.design_effect > 1.5
    tables, *_ = expert_tables(rng, 32, 4, document_lengths(rng, 30, 150, "exponential"), BOTH)
    assert not find_biclusters(tables, rng, slots=16).are_real


def test_topics_of_documents_that_both_layers_have_are_blocks():
    # Half of the documents are of either topic, and each layer prefers half of its states in it; given the document
    # the layers are independent. Marginally they are not, so that the blocks are real.
    rng = np.random.default_rng(2)
    half = np.repeat([3.0, 1.0], 5)
    tables = []
    for document in range(40):
        prefers = half if document % 2 else half[::-1]
        cells = np.outer(prefers, prefers)
        tables.append(rng.multinomial(200, (cells / cells.sum()).ravel()).reshape(10, 10))
    found = find_biclusters(tables, rng)
    assert (found.blocks.n_row_blocks, found.blocks.n_column_blocks) == (2, 2)
    # Two topics: shares of 5/16 of the same half twice, 3/16 of others.
    assert found.number.gain.low < 1 - 0.954434 < found.number.gain.high


@given(
    st.integers(0, 2**32 - 1), st.sampled_from(["lift", "conditional", "joint"]), st.sampled_from([1.0, 4.0])
)
@settings(max_examples=15, deadline=None)
def test_relabelling_the_states_changes_only_the_places(seed, matrix, strength):
    rng = np.random.default_rng(seed)
    tables = documents_of(rng, blocks_of(rng, 20, 9, 3, strength)[2], 12, 80)
    rows, columns = rng.permutation(20), rng.permutation(9)
    moved_tables = tables[:, rows][:, :, columns]
    found, moved = (
        find_biclusters(each, np.random.default_rng(1), matrix=matrix, most=4)
        for each in (tables, moved_tables)
    )
    np.testing.assert_array_equal(moved.blocks.row_labels, found.blocks.row_labels[rows])
    np.testing.assert_array_equal(moved.blocks.column_labels, found.blocks.column_labels[columns])
    assert moved.number.gain.value == pytest.approx(found.number.gain.value, abs=1e-12)
    assert moved.stability.ari == pytest.approx(found.stability.ari, nan_ok=True)
    assert moved.blocks.share_of_mi == pytest.approx(found.blocks.share_of_mi)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(0, 12),
    st.sampled_from(["lift", "conditional", "joint"]),
)
@settings(max_examples=40, deadline=None)
def test_any_tables_give_a_sound_result(seed, n_rows, n_columns, most, documents, matrix):
    rng = np.random.default_rng(seed)
    cells = rng.dirichlet(np.full(n_rows * n_columns, 0.2)).reshape(n_rows, n_columns)
    tables = documents_of(rng, cells, documents, 30) if documents else np.zeros((0, n_rows, n_columns), int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_biclusters(tables, rng, most=most, matrix=matrix)
    total = tables.sum(axis=0)
    for labels, order, axis, n in (
        (found.blocks.row_labels, found.blocks.row_order, 1, found.blocks.n_row_blocks),
        (found.blocks.column_labels, found.blocks.column_order, 0, found.blocks.n_column_blocks),
    ):
        used = total.any(axis=axis)
        np.testing.assert_array_equal(labels >= 0, used)
        assert set(labels[used].tolist()) == set(range(n))
        assert n <= most
        np.testing.assert_array_equal(np.sort(order), np.arange(len(labels)))
    if documents < 6:
        assert found.number.reason
        assert not found.are_real
    if found.are_real:
        assert found.number.gain.low > 0


def test_share_of_information_is_that_of_the_summed_table():
    rng = np.random.default_rng(3)
    tables = documents_of(rng, blocks_of(rng, 9, 9, 3, 4.0)[2], 20, 300)
    found = find_biclusters(tables, rng)
    total, blocks = tables.sum(axis=0), found.blocks
    summed = np.zeros((blocks.n_row_blocks, blocks.n_column_blocks), int)
    np.add.at(summed, (blocks.row_labels[:, None], blocks.column_labels), total)
    share = mutual_information_bits(summed.tolist()) / mutual_information_bits(total.tolist())
    assert blocks.share_of_mi == pytest.approx(share)


def test_blocks_of_both_sides_are_numbered_together():
    # Sources 2, 3 (90 counts) go to targets 0, 1; source 1 (60) to target 2; source 0 (30) to all alike.
    table = np.array([[10, 0, 10, 10], [0, 0, 60, 0], [20, 20, 0, 5], [20, 20, 0, 5]])
    (rows, columns), matched = matched_numbers(table, (np.array([0, 1, 2, 2]), np.array([1, 1, 0, 1])))
    assert rows.tolist() == [2, 1, 0, 0]
    assert columns.tolist() == [0, 0, 1, 0]
    assert matched == 2


@pytest.mark.parametrize(
    ("tables", "options", "message"),
    [
        (np.zeros((3, 3), int), {}, "3 axes|source, target"),
        (np.full((2, 2, 2), 0.5), {}, "whole"),
        (np.ones((2, 2, 2), int), {"method": "kmeans"}, "method of blocks: expected one of evidence"),
        (np.ones((2, 2, 2), int), {"matrix": "counts"}, "matrix of blocks: expected one of lift"),
        (np.ones((2, 2, 2), int), {"most": 0}, "most blocks"),
    ],
)
def test_bad_input(tables, options, message):
    with pytest.raises(RoutestatError, match=message) as caught:
        find_biclusters(tables, np.random.default_rng(0), **options)
    assert "\n" not in str(caught.value)


def test_fewer_tokens_than_states_are_not_divided():
    tables = np.zeros((8, 30, 30), int)
    tables[np.arange(8), np.arange(8), np.arange(8)] = 4
    found = find_biclusters(tables, np.random.default_rng(0), slots=4)
    assert "8 tokens are fewer than the 16 states" in found.blocks.reason
    assert found.number.reason == found.blocks.reason
