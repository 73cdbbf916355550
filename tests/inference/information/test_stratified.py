"""Information inside strata and its jackknife, against definitions."""

import math
from dataclasses import astuple, replace

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.information.mutual_information import (
    conditional_mutual_information,
    mutual_information_interval,
)
from routestat.inference.information.stratified import conditional_information_interval
from tests.inference.association.strata_examples import strata_of
from tests.oracle.inference_oracle import without_bias


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


def relabelled(cube):
    """The same counts under other names of strata and states."""
    rng = np.random.default_rng(2)
    return cube[:, rng.permutation(4)][:, :, rng.permutation(3)][..., rng.permutation(5)]


def test_relabelling_changes_no_information(cube):
    first, second = (conditional_information_interval(strata_of(c)) for c in (cube, relabelled(cube)))
    assert (first.n, first.level) == (second.n, second.level)
    one, two = (replace(found.estimate, reason=0.0) for found in (first, second))
    assert astuple(one) == pytest.approx(astuple(two), rel=1e-9)
    assert first.reason is second.reason is None


FEW = "1 independent unit: no test or interval below 6"


def test_conditional_information_that_cannot_be_estimated_has_a_reason(cube):
    nothing, one = strata_of(np.zeros((3, 1, 2, 2), int)), strata_of(cube[:1])
    assert "no tokens" in conditional_information_interval(nothing).reason
    found = conditional_information_interval(one)
    assert found.reason == FEW
    assert found.mi_bits_plugin > 0
    assert np.isnan([found.mi_bits, found.low, found.high, found.standard_error]).all()
    with pytest.raises(RoutestatError, match="level"):
        conditional_information_interval(strata_of(cube), level=95)
