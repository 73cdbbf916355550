"""Differences of cells: their errors where a sample shows no variation."""

import math

import numpy as np
import pytest

from routestat.inference.base.special import log10_t_tails
from routestat.inference.two_sample.cells import cell_differences
from routestat.inference.two_sample.samples import two_samples


def test_a_cell_that_a_small_sample_never_shows_has_an_error_all_the_same():
    a, b = np.zeros((4, 3), int), np.zeros((40, 3), int)
    a[:, 0], b[:, 0] = 50, 50
    b[::5, 2] = 6
    found = cell_differences(a, b)
    place = found.cell.tolist().index(2)
    assert found.share_a[place] == 0
    assert math.isnan(found.log2_ratio[place])
    assert not found.moved.any()


@pytest.mark.parametrize("paired", [False, True])
def test_groups_that_agree_perfectly_are_as_much_evidence_as_groups(paired):
    """All of A in one state, all of B in another: nothing varies, and the p-value is finite all the same."""
    a, b = np.zeros((10, 3), int), np.zeros((10, 3), int)
    a[:, 0], b[:, 1] = 5, 7
    few = cell_differences(a, b, paired=paired)
    many = cell_differences(np.repeat(a, 30, axis=0), np.repeat(b, 30, axis=0), paired=paired)
    assert few.moved.all()
    assert many.moved.all()
    assert np.isfinite(many.log10_p).all()
    # Relabelling 10 and 10 groups could do no better than 2 in C(20, 10); exchanging pairs, than 2 in 2**10.
    assert (few.log10_p > math.log10(2 / math.comb(20, 10))).all()
    assert (many.log10_p < 10 * few.log10_p).all()


def test_a_pooled_error_is_known_no_better_than_the_groups_that_make_it_up():
    """Three documents of A hold most tokens of both: many short documents of B do not make their spread known."""
    a, b = np.zeros((8, 3), int), np.zeros((200, 3), int)
    a[:, 0], a[:3, 0], a[:3, 1] = 10, [9000, 7000, 8000], [1000, 3000, 2000]
    b[:, 0] = 4
    b[::4] = (3, 1, 0)
    found = cell_differences(a, b)
    dof = two_samples(a, b, False, 2).pooled_dof
    assert dof < 3
    assert found.log10_p == pytest.approx(log10_t_tails(found.t, dof))
    even = two_samples(np.full((5, 2), 3), np.full((9, 2), 3), False, 2)
    assert even.pooled_dof == pytest.approx(5 + 9 - 2)
