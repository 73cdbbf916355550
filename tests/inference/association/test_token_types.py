"""Dependence beyond token types, by hand."""

import math

import numpy as np
import pytest

from routestat.inference.association.token_types import beyond_token_types
from tests.inference.association.strata_examples import strata_of


@pytest.fixture
def cube():
    rng = np.random.default_rng(0)
    return rng.poisson(rng.gamma(0.7, 2.0, (9, 4, 3, 5)))


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
    # Every type with the same two distributions: swapping changes nothing, nothing is beyond.
    cube = np.tile(np.array([[30, 10], [10, 30]]), (4, 16, 1, 1))
    independent = np.tile(np.outer([30, 10], [20, 20]) // 20, (4, 16, 1, 1))
    assert beyond_token_types(strata_of(independent), np.random.default_rng(0)).beyond_bits == pytest.approx(
        0, abs=1e-9
    )
    coupled = beyond_token_types(strata_of(cube), np.random.default_rng(0))
    assert coupled.kept_bits == pytest.approx(0.0, abs=1e-9)
    assert coupled.beyond_bits == pytest.approx(1 + 0.25 * math.log2(0.25) + 0.75 * math.log2(0.75), abs=1e-9)


FEW = "1 independent unit: no test or interval below 6"


def test_swaps_that_cannot_be_made_have_a_reason(cube):
    nothing = strata_of(np.zeros((3, 1, 2, 2), int))
    assert "at least 4" in beyond_token_types(nothing, np.random.default_rng(0)).reason
    assert beyond_token_types(strata_of(cube[:1]), np.random.default_rng(0)).reason == FEW
