"""Information of tables of experts: against slow code, the jackknife where cells are full, known truths."""

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from routestat import RoutestatError
from routestat.inference.base.clustered_score_test import clustered_scores
from routestat.inference.base.jackknife import jackknife_value
from routestat.inference.information.inclusion_information import inclusion_information
from routestat.inference.information.mutual_information import mutual_information_interval
from routestat.study.information_budget import information_budget
from tests.calibration.nulls import DOCUMENTS, INDEPENDENT, expert_tables


def drawn(rng, n_experts, top_k, lengths, coupling=0.0, null=INDEPENDENT):
    return expert_tables(rng, n_experts, top_k, np.asarray(lengths), null, coupling)[0].astype(np.int64)


def by_digamma(tables, source_k, target_k):
    """I with X ψ(X) for X log X, from summed tables, written out."""
    product = lambda x: float(sum(v * special.psi(v) for v in np.ravel(x) if v > 0))  # noqa: E731
    total = np.sum(tables, axis=0)
    n = total.sum() / (source_k * target_k)
    sources, targets = total.sum(axis=1) / target_k, total.sum(axis=0) / source_k
    return (
        product(total) / (n * source_k * target_k)
        - product(sources) / (n * source_k)
        - product(targets) / (n * target_k)
        + math.log(n)
    )


def test_the_product_by_digamma_is_nearly_unbiased_where_the_plain_one_is_not():
    for mean in (1.0, 3.0, 8.0):
        x = np.arange(1, 200)
        p = stats.poisson.pmf(x, mean)
        bias = float((p * x * special.psi(x)).sum()) - mean * math.log(mean)
        assert bias == pytest.approx(mean * special.exp1(mean), rel=1e-9)
        plain = float((p * x * np.log(x)).sum()) - mean * math.log(mean)
        assert plain > 0.5 > 2.2 * bias


def test_the_estimate_against_groups_and_halves_left_out_one_by_one():
    rng = np.random.default_rng(0)
    tables = drawn(rng, 5, 2, [400, 330, 300, 250, 240, 200], coupling=0.3)
    size = tables.sum(axis=(1, 2)) / 4
    share, whole = size / size.sum(), by_digamma(tables, 2, 2)
    left = [by_digamma(np.delete(tables, g, axis=0), 2, 2) for g in range(6)]
    single = jackknife_value(whole, left, size)
    # One of each two groups of like size: each half and its other half.
    gained, weight = 0.0, 0.0
    for a, b, c in itertools.product((0, 1), (2, 3), (4, 5)):
        half, other = [a, b, c], [1 - a, 5 - b, 9 - c]
        w, v = share[half].sum(), share[other].sum()
        gained += whole - w**2 * by_digamma(tables[half], 2, 2) - v**2 * by_digamma(tables[other], 2, 2)
        weight += 1 - w**2 - v**2
    bias = clustered_scores(tables, tables.sum(axis=2) / 2, tables.sum(axis=1) / 2, size).bias
    margins = bias.sum() - np.trace(bias)
    expected = 2.0 * single - gained / weight - margins / (2 * size.sum() * 4)
    found = inclusion_information(tables, 2, 2)
    # Cells of dozens of counts hide nothing.
    assert found.mi_bits == pytest.approx(expected / math.log(2), abs=1e-9)
    assert found.mi_bits_plugin == mutual_information_interval(tables).mi_bits_plugin
    assert (found.n, found.n_groups, found.level) == (1720, 6, 0.95)
    assert found.high + found.low == pytest.approx(2 * found.mi_bits, rel=1e-9)


def test_where_cells_are_full_and_layers_depend_it_is_the_jackknife():
    rng = np.random.default_rng(1)
    tables = drawn(rng, 6, 2, np.full(50, 400), coupling=0.4)
    found, plain = inclusion_information(tables, 2, 2), mutual_information_interval(tables)
    assert found.reason is None
    assert abs(found.mi_bits - plain.mi_bits) < 0.1 * plain.standard_error
    assert found.standard_error == pytest.approx(plain.standard_error, rel=0.05)


def test_at_independence_pairs_of_groups_count_once():
    rng = np.random.default_rng(2)
    results = []
    for _ in range(60):
        tables = drawn(rng, 24, 3, np.full(40, 100))
        found, plain = inclusion_information(tables, 3, 3), mutual_information_interval(tables)
        results.append((found.mi_bits, found.standard_error, plain.standard_error))
    known = np.array(results)[~np.isnan(np.array(results)).any(axis=1)]
    assert len(known) > 54
    value, error, plain = known.T
    # The jackknife's error is √2 times what it should be.
    assert 1.2 < plain.mean() / error.mean() < 1.5
    assert 0.75 < error.mean() / value.std() < 1.35
    assert abs(value.mean()) < 4 * value.std() / math.sqrt(60)


def test_names_of_experts_and_the_direction_change_nothing():
    rng = np.random.default_rng(3)
    tables = drawn(rng, 8, 2, rng.integers(100, 200, 12), coupling=0.2)
    found = inclusion_information(tables, 2, 2)
    renamed = inclusion_information(tables[:, rng.permutation(8)][:, :, rng.permutation(8)], 2, 2)
    turned = inclusion_information(tables.swapaxes(1, 2), 2, 2)
    wider = inclusion_information(np.pad(tables, ((0, 1), (0, 2), (1, 0))), 2, 2)
    for other in (renamed, turned, wider):
        for name in ("mi_bits", "standard_error", "low", "high"):
            assert getattr(other, name) == pytest.approx(getattr(found, name), rel=1e-9), name


def test_routers_may_differ_in_k():
    rng = np.random.default_rng(4)
    choices = np.argsort(rng.random((4000, 9)), axis=1)
    source, target = (np.zeros((4000, 9), np.int64) for _ in range(2))
    np.put_along_axis(source, choices[:, :3], 1, axis=1)
    np.put_along_axis(target, choices[:, :1], 1, axis=1)
    tables = np.einsum("gti,gtj->gij", source.reshape(40, 100, 9), target.reshape(40, 100, 9))
    found = inclusion_information(tables, 3, 1)
    # The target is one of the source's three: a slot of the source holds it in a third of the cases.
    truth = math.log2(3) / 3 + 2 * math.log2(3 / 4) / 3
    assert found.low < truth < found.high
    assert found.n == 4000


@pytest.mark.parametrize(
    ("shape", "lengths", "null", "reason"),
    [
        ((64, 6), np.full(30, 10), INDEPENDENT, "too few tokens for so many cells: nearly empty ones"),
        (
            (64, 6),
            np.full(10, 10),
            INDEPENDENT,
            "too few tokens for so many cells: less than one count a cell",
        ),
        ((24, 3), np.full(12, 400), DOCUMENTS, "too few groups of documents"),
        ((8, 2), [520, *[40] * 12], INDEPENDENT, "one group of documents holds 52% of the tokens"),
        ((8, 2), [500], INDEPENDENT, "1 independent unit: no test or interval below 6"),
    ],
)
def test_there_is_no_number_where_it_could_not_be_trusted(shape, lengths, null, reason):
    tables = drawn(np.random.default_rng(5), *shape, lengths, null=null)
    found = inclusion_information(tables, shape[1], shape[1])
    assert found.reason is not None
    assert reason in found.reason
    assert "\n" not in found.reason
    for value in (found.mi_bits, found.low, found.high, found.standard_error):
        assert math.isnan(value)
    assert found.mi_bits_plugin > 0
    assert inclusion_information(np.zeros_like(tables), 2, 2).reason == "no tokens"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: inclusion_information(t, 2, 2, level=95), "level: expected a share between 0 and 1"),
        (lambda t: inclusion_information(t[0], 2, 2), "expected \\[group, source, target\\], got 2 axes"),
        (lambda t: inclusion_information(t, 3, 3), "expected 9 cells of every token"),
    ],
)
def test_bad_input_is_one_line(ask, message):
    tables = drawn(np.random.default_rng(6), 6, 2, [50, 51, 50])
    with pytest.raises(RoutestatError, match=message) as caught:
        ask(tables)
    assert "\n" not in str(caught.value)


def test_a_sum_over_depth_says_which_part_of_it_is_not_there():
    full = inclusion_information(drawn(np.random.default_rng(7), 6, 2, np.full(20, 300), coupling=0.3), 2, 2)
    sparse = inclusion_information(drawn(np.random.default_rng(7), 64, 6, np.full(20, 10)), 6, 6)
    assert "no information to add up" not in information_budget([full, full], []).reason
    found = information_budget([full, sparse], [])
    assert math.isnan(found.adjacent_bits)
    assert found.reason.startswith("1 of 2 pairs of layers have no information to add up; ")
