"""Differences of rates, against differences of shares and by hand."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.two_sample.cells import cell_differences
from routestat.inference.two_sample.rates import rate_differences


def tables(seed, groups, cells=4, mean=40):
    rng = np.random.default_rng(seed)
    size = rng.integers(mean // 2, 2 * mean, groups)
    return np.array([rng.multinomial(n, rng.dirichlet(np.full(cells, 2.0))) for n in size])


@pytest.mark.parametrize("paired", [False, True])
def test_properties_that_exclude_each_other_are_cells(paired: bool):
    a, b = tables(0, 12), tables(1, 12)
    found = rate_differences(a, b, a.sum(axis=1), b.sum(axis=1), paired=paired)
    cells = cell_differences(a, b, paired=paired)
    np.testing.assert_allclose(found.rate_a[cells.cell], cells.share_a, rtol=1e-12)
    np.testing.assert_allclose(found.difference[cells.cell], cells.difference, rtol=1e-10)
    np.testing.assert_allclose(found.log10_p[cells.cell], cells.log10_p, rtol=1e-8)
    np.testing.assert_allclose(found.log2_ratio[cells.cell], cells.log2_ratio, rtol=1e-8)


def test_properties_that_overlap_are_tested_each_on_its_own():
    a, b = tables(2, 10), tables(3, 14)
    one = rate_differences(a[:, :1], b[:, :1], a.sum(axis=1), b.sum(axis=1))
    twice = rate_differences(a[:, [0, 0]], b[:, [0, 0]], a.sum(axis=1), b.sum(axis=1))
    assert twice.log10_p.tolist() == pytest.approx([one.log10_p[0]] * 2)
    assert twice.low.tolist() == pytest.approx([one.low[0]] * 2)
    assert one.low[0] < one.difference[0] < one.high[0]
    assert one.ratio_low[0] < one.log2_ratio[0] < one.ratio_high[0]


def test_one_that_a_sample_never_has_is_no_certain_difference():
    a, b = tables(4, 8), tables(5, 30)
    rare = np.zeros((30, 1), int)
    rare[3] = 1
    found = rate_differences(np.zeros((8, 1), int), rare, a.sum(axis=1), b.sum(axis=1))
    assert found.log10_p[0] > np.log10(0.05)
    assert np.isnan(found.log2_ratio[0])
    everywhere = rate_differences(a.sum(axis=1, keepdims=True), 0 * b[:, :1], a.sum(axis=1), b.sum(axis=1))
    assert everywhere.log10_p[0] < -4
    assert everywhere.difference[0] == 1


def test_groups_without_tokens_do_not_count():
    a, b = tables(6, 9), tables(7, 11)
    with_empty = np.vstack([a, np.zeros((5, 4), int)])
    one = rate_differences(a, b, a.sum(axis=1), b.sum(axis=1))
    two = rate_differences(with_empty, b, with_empty.sum(axis=1), b.sum(axis=1))
    np.testing.assert_allclose(one.log10_p, two.log10_p)


def test_too_few_groups_and_bad_tables():
    a, b = tables(8, 3), tables(9, 11)
    found = rate_differences(a, b, a.sum(axis=1), b.sum(axis=1))
    assert "3 independent units" in found.reason
    assert np.isnan(found.log10_p).all()
    assert np.isfinite(found.difference).all()
    with pytest.raises(RoutestatError, match=r"expected \[group, item\]"):
        rate_differences(a, b, a, b.sum(axis=1))
