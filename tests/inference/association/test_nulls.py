"""Dependence beyond documents, beyond the vocabulary and inside strata, against plain loops and known answers."""

import math
from dataclasses import astuple, replace

import numpy as np
import pytest

from routestat.counting.strata import Strata
from routestat.errors import RoutestatError
from routestat.inference.association.stratified import stratified_independence
from routestat.inference.association.token_types import beyond_token_types
from routestat.inference.association.within_documents import within_documents
from routestat.inference.information.mutual_information import (
    conditional_mutual_information,
    mutual_information_interval,
)
from routestat.inference.information.stratified import conditional_information_interval
from tests.oracle.inference_oracle import tail_of_signs, without_bias


def strata_of(cube, slots=(1, 1)):
    """Strata of a dense array ``[group, stratum, source, target]``."""
    cube = np.asarray(cube)
    group, stratum, source, target = np.nonzero(cube)
    order = np.lexsort((group, target, source, stratum))
    columns = [c[order] for c in (stratum, source, target, group)]
    n = int(cube.sum() // (slots[0] * slots[1]))
    sizes = cube.shape[1], cube.shape[2], cube.shape[3], cube.shape[0]
    return Strata(*columns, cube[group, stratum, source, target][order], *sizes, slots, n, n, "token")


@pytest.fixture
def cube():
    rng = np.random.default_rng(0)
    return rng.poisson(rng.gamma(0.7, 2.0, (9, 4, 3, 5)))


def information(cube):
    """I(source; target | stratum) in bits by its definition."""
    total, n = 0.0, cube.sum()
    for table in cube.sum(axis=0):
        m = table.sum()
        for i, j in zip(*np.nonzero(table), strict=True):
            total += table[i, j] / n * math.log2(table[i, j] * m / table[i].sum() / table[:, j].sum())
    return total


def test_conditional_information_and_its_jackknife(cube):
    found = conditional_information_interval(strata_of(cube))
    left = [information(np.delete(cube, g, axis=0)) for g in range(9)]
    assert found.mi_bits_plugin == pytest.approx(information(cube), abs=1e-12)
    # The public function on a dense table agrees.
    assert found.mi_bits_plugin == pytest.approx(
        conditional_mutual_information(cube.sum(axis=0).transpose(1, 0, 2)), abs=1e-12
    )
    size = cube.sum(axis=(1, 2, 3))
    assert found.mi_bits == pytest.approx(without_bias(information(cube), left, size), abs=1e-11)
    moves = [(1 - m / cube.sum()) * (information(cube) - one) for m, one in zip(size, left, strict=True)]
    assert found.standard_error == pytest.approx(math.sqrt(9 / 8 * 9 * np.var(moves)), abs=1e-11)
    assert (found.n, found.n_groups) == (cube.sum(), 9)


def test_one_stratum_is_no_condition(cube):
    flat = cube.sum(axis=1)
    conditional = conditional_information_interval(strata_of(flat[:, None]))
    plain = mutual_information_interval(flat)
    assert conditional.mi_bits == pytest.approx(plain.mi_bits, abs=1e-12)
    assert conditional.mi_bits_plugin == pytest.approx(plain.mi_bits_plugin, abs=1e-12)
    assert conditional.standard_error == pytest.approx(plain.standard_error, rel=0.3)


def scores(cube, slots):
    """Group scores of `stratified_independence`, weighed, and the bias of U, by loops over the definition."""
    groups, strata, rows, columns = cube.shape
    sources = cube.sum(axis=3) / slots[1]
    targets = cube.sum(axis=2) / slots[0]
    tokens = cube.sum(axis=(2, 3)) / (slots[0] * slots[1])
    n = tokens.sum()
    r, c = sources.sum(axis=(0, 1)) / n, targets.sum(axis=(0, 1)) / n
    out, bias = np.zeros((groups, rows, columns)), 0.0
    for z in range(strata):
        nz = tokens[:, z].sum()
        p, q = sources[:, z].sum(axis=0) / nz, targets[:, z].sum(axis=0) / nz
        share = tokens[:, z] / nz
        s = (share**2).sum()
        between = above = below = 0.0
        for g in range(groups):
            out[g] += (
                cube[g, z]
                - np.outer(p, targets[g, z])
                - np.outer(sources[g, z], q)
                + tokens[g, z] * np.outer(p, q)
            )
            below += (tokens[g, z] * (1 - 2 * share[g] + s)) ** 2
            for h in range(groups):
                if h != g:
                    above += tokens[g, z] * tokens[h, z] * (s - share[g] - share[h]) ** 2
            if tokens[g, z]:
                a = sources[g, z] / tokens[g, z] - p
                b = targets[g, z] / tokens[g, z] - q
                between += tokens[g, z] ** 2 * (a**2 / r).sum() * (b**2 / c).sum()
        bias += above / below * between / n
    return (out / np.sqrt(n * np.outer(r, c))).reshape(groups, -1), bias


@pytest.mark.parametrize("slots", [(1, 1), (1, 2)])
def test_the_stratified_test_is_its_definition(cube, slots):
    if slots == (1, 2):
        # Tokens with one source and two targets each.
        rng = np.random.default_rng(1)
        cube = np.zeros((9, 4, 3, 5), int)
        for g, z, i in rng.integers(0, (9, 4, 3), (400, 3)):
            for j in rng.choice(5, 2, replace=False):
                cube[g, z, i, j] += 1
    w, bias = scores(cube, slots)
    gram = w @ w.T
    off = gram - np.diag(np.diag(gram))
    nu = np.trace(gram) ** 2 / (off**2).sum()
    found = stratified_independence(strata_of(cube, slots))
    assert found.nu == pytest.approx(nu, rel=1e-9)
    assert found.p_clustered == pytest.approx(tail_of_signs(off, off.sum() - bias), rel=1e-7)
    assert (found.n_groups, found.n_strata) == (9, 4)


def test_relabelling_changes_nothing(cube):
    rng = np.random.default_rng(2)
    other = cube[:, rng.permutation(4)][:, :, rng.permutation(3)][..., rng.permutation(5)]
    first, second = (conditional_information_interval(strata_of(counts)) for counts in (cube, other))
    assert (first.n, first.level) == (second.n, second.level)
    one, two = (replace(found.estimate, reason=0.0) for found in (first, second))
    assert astuple(one) == pytest.approx(astuple(two), rel=1e-9)
    assert first.reason is second.reason is None
    one, two = (astuple(stratified_independence(strata_of(counts))) for counts in (cube, other))
    assert one[:-2] == pytest.approx(two[:-2], rel=1e-9)
    assert one[-2:] == two[-2:]


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
        (np.ones((2, 2, 2), int), np.ones((2, 2, 3)), "wanted"),
        (np.ones((2, 2, 2), int), np.full((2, 2, 2), 2.0), "totals"),
        (np.ones((1, 2, 2), int), np.array([[[2.0, 1.0], [1.0, 0.0]]]), "more than zero"),
    ],
)
def test_within_documents_refuses(tables, expected, message):
    with pytest.raises(RoutestatError, match=message):
        within_documents(tables, expected)


def test_swapping_types_by_hand():
    """Sixteen types alike in frequency, each with its own pair (state, state): all information is the types'."""
    cube = np.zeros((4, 16, 2, 2), int)
    for z in range(16):
        cube[:, z, z % 2, z % 2] = 5
    found = beyond_token_types(strata_of(cube), np.random.default_rng(0), n_swaps=200)
    # After a swap in bins of 8, 4 of either state: the share of types that meet their own state varies.
    assert found.kept_bits < 0.4
    assert found.kept_bits + found.beyond_bits == pytest.approx(1.0, abs=1e-9)
    assert found.n_types == 16
    # Every type with the same two laws: swapping changes nothing, nothing is beyond.
    cube = np.tile(np.array([[30, 10], [10, 30]]), (4, 16, 1, 1))
    independent = np.tile(np.outer([30, 10], [20, 20]) // 20, (4, 16, 1, 1))
    assert beyond_token_types(strata_of(independent), np.random.default_rng(0)).beyond_bits == pytest.approx(
        0, abs=1e-9
    )
    coupled = beyond_token_types(strata_of(cube), np.random.default_rng(0))
    assert coupled.kept_bits == pytest.approx(0.0, abs=1e-9)
    assert coupled.beyond_bits == pytest.approx(1 + 0.25 * math.log2(0.25) + 0.75 * math.log2(0.75), abs=1e-9)


def test_what_cannot_be_said_has_a_reason(cube):
    nothing = strata_of(np.zeros((3, 1, 2, 2), int))
    assert "no tokens" in conditional_information_interval(nothing).reason
    assert "no tokens" in stratified_independence(nothing).reason
    assert "at least 4" in beyond_token_types(nothing, np.random.default_rng(0)).reason
    one = strata_of(cube[:1])
    few = "1 independent unit: no test or interval below 6"
    assert conditional_information_interval(one).reason == few
    assert conditional_information_interval(one).mi_bits_plugin > 0
    assert stratified_independence(one).reason == few
    assert beyond_token_types(one, np.random.default_rng(0)).reason == few
    assert within_documents(np.ones((1, 2, 2), int), np.ones((1, 2, 2))).reason == few
    for found in (
        conditional_information_interval(one),
        within_documents(np.ones((5, 2, 2)), np.ones((5, 2, 2))),
    ):
        assert np.isnan([found.mi_bits, found.low, found.high, found.standard_error]).all()
    assert within_documents(np.zeros((2, 2, 2), int), np.zeros((2, 2, 2))).reason == "no tokens"
    with pytest.raises(RoutestatError, match="level"):
        conditional_information_interval(strata_of(cube), level=95)
