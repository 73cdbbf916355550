"""Independence inside strata, against its definition."""

from dataclasses import astuple

import numpy as np
import pytest

from routestat.inference.association.stratified import stratified_independence
from tests.inference.association.strata_examples import strata_of
from tests.oracle.inference_oracle import tail_of_signs


@pytest.fixture
def cube():
    rng = np.random.default_rng(0)
    return rng.poisson(rng.gamma(0.7, 2.0, (9, 4, 3, 5)))


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


def relabelled(cube):
    """The same counts under other names of strata and states."""
    rng = np.random.default_rng(2)
    return cube[:, rng.permutation(4)][:, :, rng.permutation(3)][..., rng.permutation(5)]


def test_relabelling_changes_no_stratified_test(cube):
    one, two = (astuple(stratified_independence(strata_of(c))) for c in (cube, relabelled(cube)))
    assert one[:-2] == pytest.approx(two[:-2], rel=1e-9)
    assert one[-2:] == two[-2:]


FEW = "1 independent unit: no test or interval below 6"


def test_a_stratified_test_that_cannot_be_made_has_a_reason(cube):
    assert "no tokens" in stratified_independence(strata_of(np.zeros((3, 1, 2, 2), int))).reason
    assert stratified_independence(strata_of(cube[:1])).reason == FEW
