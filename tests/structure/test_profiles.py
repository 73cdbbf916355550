"""Profiles against scipy pair by pair, and what is undefined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from routestat.errors import RoutestatError
from routestat.structure.profiles import correlate, profile_matrix, sorted_loads

METHODS = ["pearson", "spearman", "kendall", "jensen-shannon"]


def one_pair(a, b, method):
    if method == "jensen-shannon":
        return distance.jensenshannon(a, b, base=2) ** 2
    test = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[method]
    return test(a, b).statistic


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 6),
    places=st.integers(2, 40),
    method=st.sampled_from(METHODS),
    ties=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_every_pair_against_scipy(seed, n, places, method, ties):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 4, (n, places)).astype(float) if ties else rng.gamma(0.5, size=(n, places)) * 1e-4
    rows[:, 0] += 5e-5
    rows[:, 1] += np.arange(n) + 1.0
    found = profile_matrix(rows, method)
    for i in range(n):
        for j in range(n):
            if i != j:
                assert found[i, j] == pytest.approx(one_pair(rows[i], rows[j], method), abs=1e-12)
    np.testing.assert_array_equal(np.diag(found), 0.0 if method == "jensen-shannon" else 1.0)
    np.testing.assert_array_equal(found, found.T)


def test_by_hand():
    rows = [[1, 2, 3, 4, 5], [2, 1, 4, 3, 5], [5, 4, 3, 2, 1]]
    # Deviations -2..2 against -1, -2, 1, 0, 2: 8 over 10. Two of ten pairs are discordant: (8 - 2) / 10.
    np.testing.assert_allclose(profile_matrix(rows)[0], [1, 0.8, -1])
    np.testing.assert_allclose(profile_matrix(rows, "kendall")[0], [1, 0.6, -1])
    # Half in common: 1 - H(1/4, 1/2, 1/4) + ... = 1/2 bit.
    np.testing.assert_allclose(profile_matrix([[1, 1, 0], [0, 1, 1]], "jensen-shannon"), [[0, 0.5], [0.5, 0]])


@pytest.mark.parametrize("method", METHODS[:3])
def test_the_same_as_the_public_function(method):
    rows = np.random.default_rng(1).normal(size=(5, 28))
    found = profile_matrix(rows, method)
    assert found[1, 3] == pytest.approx(correlate(rows[1], rows[3], method), abs=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_undefined_profiles_and_the_diagonal(method):
    rows = np.array([[1.0, 2, 3], [0, 0, 0], [3, 1, 2]])
    found = profile_matrix(rows, method)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[np.ix_([0, 2], [0, 2])]).all()
    bare = profile_matrix(rows, method, diagonal=False)
    assert np.isnan(np.diag(bare)).all()
    assert bare[0, 2] == found[0, 2]
    if method != "jensen-shannon":
        assert np.isnan(profile_matrix([[2.0, 2, 2], [1, 2, 3]], method)[0, 1])


def test_sorted_loads_do_not_know_the_names():
    rng = np.random.default_rng(2)
    loads = rng.integers(1, 50, (3, 8))
    shuffled = rng.permuted(loads, axis=1)
    np.testing.assert_array_equal(sorted_loads(loads), sorted_loads(shuffled))
    np.testing.assert_allclose(sorted_loads([[1, 3], [2, 1, 1]]), [[0.75, 0.25, 0], [0.5, 0.25, 0.25]])
    np.testing.assert_allclose(sorted_loads([[1, 3], [0, 0]], 1), [[0.75], [0]])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: profile_matrix([[1, 2]], "cosine"), "pick one"),
        (lambda: profile_matrix([[1], [2]]), "two places"),
        (lambda: profile_matrix([1, 2]), "two places"),
        (lambda: profile_matrix([[1, np.nan]]), "NaN"),
        (lambda: profile_matrix([[1, 2], [1]]), "equal length"),
        (lambda: profile_matrix([[1, -2]], "jensen-shannon"), "negative"),
    ],
)
def test_bad_input_is_refused(call, says):
    with pytest.raises(RoutestatError, match=says):
        call()


def test_coefficients_by_hand() -> None:
    a, b = [1, 2, 3, 4, 5], [2, 1, 4, 3, 5]
    # Deviations -2..2 against -1, -2, 1, 0, 2: products 2, 2, 0, 0, 4 over 10. Two of ten pairs are discordant.
    assert correlate(a, b) == pytest.approx(0.8, rel=1e-14)
    assert correlate(a, [20, 10, 400, 300, 5000], "spearman") == pytest.approx(0.8, rel=1e-14)
    assert correlate(a, b, "kendall") == pytest.approx(0.6, rel=1e-14)
    # Tau-b with a tie: of three pairs two concordant, one tied in b: 2 / sqrt(3 * 2).
    assert correlate([1, 2, 3], [1, 1, 2], "kendall") == pytest.approx(2 / 6**0.5, rel=1e-14)


@pytest.mark.parametrize("method", ["pearson", "spearman", "kendall"])
def test_a_constant_side_has_no_correlation(method: str) -> None:
    assert math.isnan(correlate([1, 1, 1], [1, 2, 3], method))
    assert math.isnan(correlate([1, 2, 3], [0, 0, 0], method))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: correlate([1, np.nan], [1, 2]), "NaN"),
        (lambda: correlate([1, np.inf], [1, 2]), "infinity"),
        (lambda: correlate([1, 2, 3], [1, 2]), "equally long"),
        (lambda: correlate([1], [1]), "two or more"),
        (lambda: correlate(["x", "y"], [1, 2]), "array of numbers"),
        (lambda: correlate([1, 2], [1, 2], "tau"), "method"),
    ],
)
def test_what_has_no_correlation_is_refused(call: object, says: str) -> None:
    with pytest.raises(RoutestatError, match=says):
        call()  # type: ignore[operator]
