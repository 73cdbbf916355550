"""Compiled loops over the cells of strata, against NumPy and plain loops."""

from collections import Counter

import numpy as np
import pytest

from routestat.counting import strata
from routestat.counting.kernels.strata import (
    leave_out,
    margin_cells,
    pair_products,
    read_in_circles,
    shuffle_within,
    sort_cells,
)
from routestat.counting.strata import numbered, places_of


def rows(rng, n, slots=(1, 1), sizes=(9, 5, 7, 300)):
    stratum, group = (rng.integers(0, size, n).astype(np.int32) for size in (sizes[0], sizes[3]))
    source, target = (
        rng.integers(0, size, (n, k)).astype(np.int32) for size, k in zip(sizes[1:3], slots, strict=True)
    )
    return stratum, source, target, group


@pytest.mark.parametrize(("n", "slots"), [(0, (1, 1)), (1, (1, 1)), (2000, (1, 1)), (300, (2, 3))])
def test_sorted_cells_are_the_distinct_ones(n, slots):
    stratum, source, target, group = rows(np.random.default_rng(n), n, slots)
    bits = np.array([3, 3, 9])
    room = np.empty((2, n * slots[0] * slots[1]), np.int64)
    keys, counts = sort_cells(stratum, source, target, group, bits, *room)
    expected = Counter(
        (((int(z) << 3 | i) << 3 | j) << 9) | int(g)
        for z, x, y, g in zip(stratum, source.tolist(), target.tolist(), group, strict=True)
        for i in x
        for j in y
    )
    assert keys.tolist() == sorted(expected)
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True)) == expected


def test_rows_are_shuffled_within_their_stratum_and_evenly():
    stratum = np.array([1, 0, 1, 0, 1, 2], np.int32)
    rng, seen = np.random.default_rng(0), Counter()
    for _ in range(6000):
        order = shuffle_within(stratum, 3, rng.random(6))
        assert sorted(order.tolist()) == list(range(6))
        assert (stratum[order] == stratum).all()
        seen[tuple(order[[0, 2, 4]].tolist())] += 1
    # All orders of a stratum are equally likely: within 5 standard errors.
    assert len(seen) == 6
    assert all(abs(times - 1000) < 5 * (1000 * 5 / 6) ** 0.5 for times in seen.values())
    # A random number just below one is no row beyond the last.
    assert sorted(shuffle_within(stratum, 3, np.full(6, 1 - 2.0**-53)).tolist()) == list(range(6))


def test_series_are_read_in_circles():
    rows = np.array([10, 11, 12, 20, 30, 31])
    # From the last entry of the first series on, three times round the second, nothing of the third.
    start, length, first, n = np.array([[0, 3, 4], [3, 1, 2], [2, 0, 1], [5, 3, 0]])
    out = np.full(8, -1)
    read_in_circles(rows, start, length, first, n, out)
    assert out.tolist() == [12, 10, 11, 12, 10, 20, 20, 20]


def test_margins_and_sums_without_a_group():
    rng = np.random.default_rng(2)
    stratum, source, target, group = (
        part.ravel().astype(np.int64) for part in rows(rng, 500, sizes=(4, 3, 6, 8))
    )
    order = np.lexsort((group, target, source, stratum))
    stratum, target, group = stratum[order], target[order], group[order]
    count = rng.integers(1, 9, 500)
    out = np.empty((4, 500), np.int64)
    n = margin_cells(stratum, target, group, count, 6, 8, out)
    expected = Counter()
    for z, y, g, c in zip(stratum.tolist(), target.tolist(), group.tolist(), count.tolist(), strict=True):
        expected[z, y, g] += c
    assert {tuple(cell[:3]): cell[3] for cell in out[:, :n].T.tolist()} == expected
    keys = out[0, :n] * 6 + out[1, :n]
    assert (np.diff(keys) >= 0).all()

    table = np.zeros((24, 8))
    np.add.at(table, (keys, out[2, :n]), out[3, :n])

    def sums(counts):
        return float((counts[counts > 0] * np.log(counts[counts > 0])).sum())

    # With a short list, most counts are not looked up.
    for length in (2, 1000):
        listed = np.array([0.0, *(c * np.log(c) for c in range(1, length))])
        change = np.zeros(8)
        whole = leave_out(keys, out[2, :n], out[3, :n], listed, change)
        assert whole == pytest.approx(sums(table.sum(axis=1)), rel=1e-12)
        without = [sums(table.sum(axis=1) - table[:, g]) for g in range(8)]
        assert whole + change == pytest.approx(without, rel=1e-12)


@pytest.mark.parametrize("groups", [3, 100])
def test_products_of_all_pairs_with_one_key(groups):
    rng = np.random.default_rng(3)
    key, group = np.sort(rng.integers(0, 20, 900)), rng.integers(0, groups, 900)
    # A key that one group has, and one that nearly all have.
    key[:2], key[-300:] = 0, 99
    weight, gram = rng.random(900), np.ones((groups, groups))
    pair_products(key, group, weight, gram)
    dense = np.zeros((100, groups))
    np.add.at(dense, (key, group), weight)
    assert gram - 1.0 == pytest.approx(dense.T @ dense, rel=1e-12)


def test_keys_are_numbered_in_order_and_found_again(monkeypatch):
    for keys in ([], [3, 1, 3, 7], [5, 10**12, 5, 0]):
        names, expected = np.unique(np.array(keys, np.int64), return_inverse=True)
        number, n = numbered(np.array(keys, np.int64))
        assert number.tolist() == expected.tolist()
        assert n == len(names)
    known, wanted = np.array([7, 2, 9]), np.array([9, 9, 2])
    assert places_of(known, wanted, 10).tolist() == [2, 2, 1]
    monkeypatch.setattr(strata, "MOST_PLACES", 5)
    assert places_of(known, wanted, 10).tolist() == [2, 2, 1]
