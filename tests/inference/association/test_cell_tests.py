"""Tests of single cells, against their definition and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from routestat.inference.association.cell_tests import cell_tests
from routestat.inference.base.multiplicity import adjust
from tests.inference.association.independence_examples import coupled


def test_cells_by_their_definition():
    tables = coupled(np.random.default_rng(2), 12, 0.2, n_states=3)
    found = cell_tests(tables)
    total, n = tables.sum(axis=0), tables.sum()
    r, c = total.sum(axis=1) / n, total.sum(axis=0) / n
    spread, variance = np.zeros((3, 3)), np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            score = [
                t[i, j]
                - r[i] * t[:, j].sum()
                - t[i].sum() * c[j]
                + t.sum() * (2 * r[i] * c[j] - total[i, j] / n)
                for t in tables
            ]
            spread[i, j] = 12 / 11 * np.sum(np.square(score))
            variance[i, j] = n * r[i] * c[j] * (1 - r[i]) * (1 - c[j])
    error = np.sqrt((spread + variance * spread.sum() / variance.sum()) / 2)
    z = (total - n * np.outer(r, c)) / error
    np.testing.assert_allclose(found.z, z, rtol=1e-10)
    dof = n**2 / (tables.sum(axis=(1, 2)) ** 2).sum() - 1
    assert dof < 8
    p = np.maximum(2 * stats.t.sf(np.abs(z), dof), 0.5**11)
    np.testing.assert_allclose(found.log10_p, np.log10(p), rtol=1e-9)
    np.testing.assert_allclose(10**found.log10_q, adjust(10**found.log10_p, "by"), rtol=1e-9)


def test_cells_keep_their_size_on_sticky_tokens():
    rng = np.random.default_rng(3)
    rejected = np.mean(
        [(cell_tests(coupled(rng, 60, 0.0, 4, 100)).log10_p < math.log10(0.05)).mean() for _ in range(200)]
    )
    assert 0.03 < rejected < 0.07


@pytest.mark.parametrize(("n_states", "sticky"), [(28, 0.0), (28, 0.6), (12, 0.6)])
def test_cells_that_chance_left_empty_are_not_found(n_states: int, sticky: float):
    """With a handful of tokens expected per cell many have none, and their groups agree on that."""
    rng = np.random.default_rng(n_states)
    tests = [cell_tests(coupled(rng, 60, 0.0, n_states, mean=100, sticky=sticky)).log10_q for _ in range(40)]
    assert np.mean([(q <= math.log10(0.05)).any() for q in tests]) <= 0.1
    planted = coupled(rng, 60, 0.5, n_states, mean=100, sticky=sticky)
    assert (np.diag(cell_tests(planted).log10_q) <= math.log10(0.05)).mean() > 0.9
