"""Dependence beyond documents, by hand and against groups left out one by one."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.association.within_documents import within_documents
from routestat.inference.information.mutual_information import (
    mutual_information_interval,
)
from tests.oracle.inference_oracle import without_bias


def test_within_documents_by_hand():
    """Documents of two kinds with no state in common, each independent inside: all of the dependence is theirs."""
    tables = np.zeros((6, 2, 2), int)
    tables[::2, 0, 0] = tables[1::2, 1, 1] = 10
    expected = tables.astype(float)
    found = within_documents(tables, expected)
    assert mutual_information_interval(tables).mi_bits_plugin == pytest.approx(1.0)
    assert found.mi_bits_plugin == 0.0
    assert found.p_clustered == 1.0
    # One document with both states, in step: 20 tokens, each cell expected 5 times.
    coupled = np.array([[[10, 0], [0, 10]]] * 6)
    found = within_documents(coupled, np.full((6, 2, 2), 5.0))
    assert found.mi_bits_plugin == pytest.approx(1.0)
    assert found.mi_bits == pytest.approx(1.0)


def test_documents_of_one_token_have_nothing_within_them():
    """Layers in step: 1 bit in each token, but no document has two tokens to show that within it."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, 60)
    single = np.zeros((60, 2, 2), int)
    single[np.arange(60), x, x] = 1
    found = within_documents(single, single.astype(float), documents=np.ones(60, int))
    assert np.isnan([found.mi_bits, found.low, found.high, found.p_clustered]).all()
    assert "all documents have one token" in found.reason
    # Several such documents to a group are no longer documents.
    bundled = single.reshape(6, 10, 2, 2).sum(axis=1)
    found = within_documents(bundled, bundled.astype(float), documents=np.full(6, 10))
    assert np.isnan(found.mi_bits)
    # Of one choice each, but many tokens: nothing varies within, which is a finding without an interval.
    found = within_documents(single * 9, single * 9.0, documents=np.ones(60, int))
    assert (found.mi_bits, found.p_clustered) == (0.0, 1.0)
    assert np.isnan([found.low, found.high]).all()
    assert "nothing varies" in found.reason


def test_short_documents_show_too_little_within_and_that_is_said():
    """In step, 1 bit: the expectation of n tokens holds 1 / n of the joint distribution itself."""
    rng = np.random.default_rng(1)
    for length, said in ((2, True), (3, True), (10, True), (19, True), (40, False)):
        states = rng.integers(0, 2, (6000 // length, length))
        tables = np.zeros((len(states), 2, 2), int)
        tables[:, 1, 1] = states.sum(axis=1)
        tables[:, 0, 0] = length - tables[:, 1, 1]
        rows = tables.sum(axis=2)
        expected = rows[:, :, None] * rows[:, None, :] / length
        found = within_documents(tables, expected, documents=np.ones(len(tables), int))
        # Diagonal cells are expected 1/4 + 1/(4 n), the others the rest.
        truth = 1.0 - np.log2(1.0 + 1.0 / length)
        assert found.mi_bits == pytest.approx(truth, abs=0.02)
        assert bool(found.caution) is said
        if said:
            assert f"documents have {length} tokens on average: {100 / length:.2g} %" in found.caution
        assert within_documents(tables, expected).caution is None


def test_within_documents_jackknife():
    rng = np.random.default_rng(3)
    tables = rng.poisson(3.0, (8, 3, 4)) + 1
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    expected = rows[:, :, None] * columns[:, None, :] / tables.sum(axis=(1, 2))[:, None, None]

    def divergence(t, e):
        return (t.sum(axis=0) * np.log2(t.sum(axis=0) / e.sum(axis=0))).sum() / t.sum()

    left = [divergence(np.delete(tables, g, 0), np.delete(expected, g, 0)) for g in range(8)]
    found = within_documents(tables, expected)
    estimate = without_bias(divergence(tables, expected), left, tables.sum(axis=(1, 2)))
    assert found.mi_bits == pytest.approx(estimate, abs=1e-12)


@pytest.mark.parametrize(
    ("tables", "expected", "message"),
    [
        (np.ones((2, 2, 2), int), np.ones((2, 2, 3)), "expected"),
        (np.ones((2, 2, 2), int), np.full((2, 2, 2), 2.0), "totals"),
        (np.ones((1, 2, 2), int), np.array([[[2.0, 1.0], [1.0, 0.0]]]), "more than zero"),
    ],
)
def test_within_documents_refuses(tables, expected, message):
    with pytest.raises(RoutestatError, match=message):
        within_documents(tables, expected)


FEW = "1 independent unit: no test or interval below 6"


def test_dependence_within_documents_that_cannot_be_estimated_has_a_reason():
    assert within_documents(np.ones((1, 2, 2), int), np.ones((1, 2, 2))).reason == FEW
    found = within_documents(np.ones((5, 2, 2)), np.ones((5, 2, 2)))
    assert np.isnan([found.mi_bits, found.low, found.high, found.standard_error]).all()
    assert within_documents(np.zeros((2, 2, 2), int), np.zeros((2, 2, 2))).reason == "no tokens"
