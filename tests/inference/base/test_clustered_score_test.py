"""The score test: its moments against all patterns of signs, its scores against loops, its cautions."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from routestat.inference.association.independence import independence
from routestat.inference.base.clustered_score_test import (
    clustered_scores,
    few_groups,
    log10_score_p,
    log10_score_ps,
    log10_tail,
    score_test,
)
from routestat.inference.base.units import (
    log10_sign_floor,
)
from tests.inference.association.independence_examples import CLUSTERED, FIGURES, documents, same
from tests.oracle.inference_oracle import clustered_by_tokens


def noisy(groups: int, seed: int, k: int = 5, tokens: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array(
        [rng.multinomial(tokens, rng.dirichlet(np.full(k * k, 2.0))) for _ in range(groups)]
    ).reshape(groups, k, k)


@pytest.mark.parametrize("groups", [6, 9, 12])
@pytest.mark.parametrize("seed", range(3))
def test_three_moments_are_those_of_all_patterns_of_signs(groups: int, seed: int) -> None:
    """The moments that the test uses, against all 2**(G - 1) patterns; and its tail, roughly, against theirs."""
    rng = np.random.default_rng([groups, seed])
    scores = rng.normal(size=(groups, 7)) * rng.uniform(0.5, 1.5, size=(groups, 1))
    gram = scores @ scores.T
    products = gram - np.diag(np.diag(gram))
    patterns = np.array([(1, *rest) for rest in itertools.product([1, -1], repeat=groups - 1)])
    values = np.einsum("pg,gh,ph->p", patterns, products, patterns)
    skewness = 8 * np.trace(products @ products @ products) / (2 * (products**2).sum()) ** 1.5
    assert values.mean() == pytest.approx(0.0, abs=1e-9 * values.std())
    assert values.var() == pytest.approx(2 * (products**2).sum())
    assert stats.skew(values) == pytest.approx(skewness)
    # Six groups have 32 patterns, too few for quantiles.
    for quantile in (0.5, 0.8, 0.9, 0.95) if groups == 12 else ():
        at = np.quantile(values, quantile)
        # Bias moves the statistic; the distribution stays.
        p = score_test(gram, bias=products.sum() - at).p
        assert p == pytest.approx(np.mean(values >= at), abs=0.03)


def test_tails_in_logs_against_scipy() -> None:
    for skewness, z in ((0.5, 2.0), (2.8, 6.0), (0.02, 3.0)):
        assert 10 ** log10_tail(z, skewness) == pytest.approx(stats.pearson3.sf(z, skewness), rel=1e-6)
    for skewness in (-1.0, 0.0):
        assert 10 ** log10_tail(2.5, skewness) == pytest.approx(stats.norm.sf(2.5), rel=1e-12)
    assert math.isfinite(log10_tail(1e6, 0.0))
    assert log10_tail(0.0099999, 0.00999) == pytest.approx(log10_tail(0.01, 0.01001), abs=2e-3)


def test_few_units_are_noted_with_the_least_p_value() -> None:
    assert few_groups(15, log10_sign_floor(15)) == (
        "only 15 groups of documents: the clustered figures are approximate and p cannot be below 6.1e-05"
    )
    assert few_groups(5) is few_groups(30) is None
    assert "p cannot be below 6.1e-05" in str(independence(noisy(15, 3)).note)


def test_the_bias_of_every_pair_against_loops_over_tokens() -> None:
    docs = documents(4, 3, [40] * 7 + [200])
    slow = clustered_by_tokens(docs)
    tables = np.array([x.T @ y for x, y in docs])
    scores = clustered_scores(tables, tables.sum(2), tables.sum(1), tables.sum((1, 2)))
    assert scores.bias == pytest.approx(slow.bias, rel=1e-9)
    assert scores.gram.sum() == pytest.approx(slow.x2, rel=1e-9)


def test_wide_tables_are_scored_in_parts_without_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = np.random.default_rng(1).poisson(1.0, (6, 9, 8))
    whole = independence(tables)
    monkeypatch.setattr("routestat.inference.base.chunks.CELLS", 100)
    same(independence(tables), whole, FIGURES + CLUSTERED)


def test_a_statistic_below_zero_has_p_one() -> None:
    # Three scores of either sign: U = -6 and the least that any signs give; with a bias taken off it is less.
    signs = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    below = score_test(np.outer(signs, signs), bias=2.0)
    assert (below.p, below.log10_p, below.cross) == (1.0, 0.0, -8.0)


def test_many_tests_at_once_are_each_of_them():
    # Normal and skewed tails, one below zero, one beyond the smallest float, one at its floor.
    cross = np.array([1.0, -3.0, 2.0, 80.0, 900.0, 60.0, -40.0])
    squares, cubes = (
        np.array([2.0, 2.0, 3.0, 1.5, 1.0, 1.0, 4.0]),
        np.array([0.0, -1.0, 0.8, 1e-3, 0.2, 0.0, 3.0]),
    )
    floors = np.array([-50.0, -50.0, -50.0, -9e9, -9e9, -7.0, -50.0])
    each = [
        log10_score_p(*case) for case in zip(cross.tolist(), squares, cubes, floors.tolist(), strict=True)
    ]
    assert log10_score_ps(cross, squares, cubes, floors) == pytest.approx(each, rel=1e-12)
    assert each[4] < -300
    assert each[5] == -7.0
