"""Compiled sums over the cells of one pair's tables, against NumPy."""

import numpy as np
import pytest
from scipy import special

from routestat.counting.kernels.pair_tables import (
    centred_block,
    deviations,
    half_sums,
    left_out_sums,
    table_margins,
)


def tables(groups=7, sources=5, targets=6, seed=0):
    counts = np.random.default_rng(seed).poisson(2.0, (groups, sources, targets)).astype(np.uint32)
    counts.flags.writeable = False
    return counts


def listed(digamma, length):
    x = np.arange(1.0, length)
    return np.concatenate([[0.0], x * (special.psi(x) if digamma else np.log(x))])


def terms(counts, digamma):
    x = np.maximum(counts, 1).astype(float)
    return np.where(counts > 0, x * (special.psi(x) if digamma else np.log(x)), 0.0)


def test_margins_are_sums_over_the_axes():
    counts = tables()
    rows, columns, total = (np.zeros(shape, np.int64) for shape in ((7, 5), (7, 6), (5, 6)))
    table_margins(counts, rows, columns, total)
    for found, axis in ((rows, 2), (columns, 1), (total, 0)):
        assert found.tolist() == counts.sum(axis=axis).tolist()


def test_scores_of_a_block_of_sources():
    counts, rng = tables(), np.random.default_rng(1)
    r, c, scales = rng.random(5), rng.random(6), rng.random((5, 6))
    own_r, columns, pull_r, pull_c = (rng.random((7, n)) for n in (5, 6, 5, 6))
    out, crossed = np.empty((7, 3, 6)), np.ones(7)
    centred_block(counts, 2, r, c, own_r, columns, pull_r, pull_c, scales, crossed, out)
    z = counts - r[:, None] * columns[:, None, :] - own_r[:, :, None] * c
    assert out == pytest.approx((z * scales)[:, 2:], rel=1e-12)
    pulled = np.einsum("gij,gi,gj->g", z[:, 2:], pull_r[:, 2:], pull_c)
    assert crossed == pytest.approx(1.0 + pulled, rel=1e-12)


def test_deviations_from_shares_of_the_total_in_units_of_a_scale():
    counts, rng = tables().reshape(7, -1), np.random.default_rng(3)
    share, total, scales, out = rng.random(7), rng.random(4), rng.random(4), np.empty((7, 4))
    deviations(counts, 5, share, total, scales, out)
    assert out == pytest.approx((counts[:, 5:9] - np.outer(share, total)) * scales, rel=1e-12)


@pytest.mark.parametrize("digamma", [0.0, 1.0])
def test_sums_without_each_group(digamma):
    counts = tables().reshape(7, -1)
    # Counts beyond the list: Stirling's series is as good there.
    large = counts * np.uint32(5000)
    for given, length in ((counts, 1000), (large, 2000)):
        total, left = given.sum(axis=0, dtype=np.int64), np.empty(7)
        whole = left_out_sums(given, total, listed(digamma, length), digamma, left)
        assert whole == pytest.approx(terms(total, digamma).sum(), rel=1e-12)
        without = [terms(total - one, digamma).sum() for one in given.astype(np.int64)]
        assert left == pytest.approx(without, rel=1e-12)


@pytest.mark.parametrize(("factor", "length"), [(1, 1000), (5000, 2000)])
def test_sums_over_halves_are_those_of_hadamards_signs(factor, length):
    counts = tables(groups=11, sources=20, targets=9, seed=2).reshape(11, -1) * np.uint32(factor)
    total, halves = counts.sum(axis=0, dtype=np.int64), 8
    column, sign = np.arange(11) // 2 % 7 + 1, np.where(np.arange(11) % 2, -1, 1)
    one, other = np.zeros(halves), np.zeros(halves)
    half_sums(counts, total, column, sign, listed(1.0, length), 1.0, one, other)
    for half in range(halves):
        entry = np.array([(-1) ** bin(half & int(at)).count("1") for at in column])
        inside = sign * entry < 0
        own = counts[inside].sum(axis=0, dtype=np.int64)
        assert one[half] == pytest.approx(terms(own, 1.0).sum(), rel=1e-12)
        assert other[half] == pytest.approx(terms(total - own, 1.0).sum(), rel=1e-12)
