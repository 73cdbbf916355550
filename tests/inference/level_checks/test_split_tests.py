"""Tests of random halves against Pearson's, linear equations and loops over groups."""

import math

import numpy as np
import pytest
from scipy import stats

from routestat.inference.base.clustered_score_test import clustered_scores, score_test
from routestat.inference.base.units import log10_relabelling_floor
from routestat.inference.level_checks.split_tests import load_scores, split_tests
from tests.inference.level_checks.grouped_loads import documents

UNEQUAL = np.array([5, 80, 17, 140, 9, 22, 60, 33, 12, 71])


def some_splits(groups: int, n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).permuted(np.tile(np.arange(groups) < groups // 2, (n, 1)), axis=1)


def test_iid_test_is_pearsons_of_the_table_of_halves() -> None:
    table = documents(1, UNEQUAL)
    spread = load_scores(table, table.sum(axis=1).astype(float))
    assert spread is not None
    splits = some_splits(len(table))
    for split, p in zip(splits, split_tests(spread, splits)[0], strict=True):
        halves = np.stack([table[split].sum(axis=0), table[~split].sum(axis=0)])
        assert p == pytest.approx(stats.chi2_contingency(halves, correction=False).pvalue, rel=1e-9)


def variance_by_linear_equations(square: np.ndarray, w: np.ndarray) -> np.ndarray:
    """v from E K_gg = (1 - 2 w_g) v_g + w_g**2 sum of v, solved as the linear system that it is."""
    return np.linalg.solve(np.diag(1 - 2 * w) + np.outer(w**2, np.ones(len(w))), square)


def test_clustered_tests_against_loops_over_groups() -> None:
    table = documents(2, UNEQUAL)
    size = table.sum(axis=1).astype(float)
    n, p, w = size.sum(), table.sum(axis=0) / size.sum(), size / size.sum()
    spread = load_scores(table, size)
    assert spread is not None
    splits = some_splits(len(table))
    _, first, clustered = split_tests(spread, splits)
    for index, split in enumerate(splits):
        r = np.array([w[split].sum(), w[~split].sum()])
        scores = []
        for g, counts in enumerate(table):
            half = np.array([split[g], not split[g]], dtype=float)
            z = np.outer(half - r, counts - size[g] * p)
            scores.append(z / np.sqrt(n * np.outer(r, p)))
        gram = np.array([[(a * b).sum() for b in scores] for a in scores])
        own = variance_by_linear_equations(
            [((t - s * p) ** 2 / p).sum() / n for t, s in zip(table, size, strict=True)], w
        )
        c2 = np.array([r[1] / r[0] if half else r[0] / r[1] for half in split])
        # What the estimated margin takes out of tr it takes out of U as well.
        test = score_test(gram, bias=float(c2 @ own) - np.trace(gram))
        floor = log10_relabelling_floor(int(split.sum()), int((~split).sum()))
        assert clustered[index] == pytest.approx(max(test.p, 10.0**floor), rel=1e-8)
        assert first[index] == pytest.approx(stats.chi2.sf(gram.sum() / (c2 @ own / 5), 5), rel=1e-8)
        # The Gram matrix is that of the general routine with the half as the source.
        halves = np.stack([np.outer([h, not h], t) for h, t in zip(split, table, strict=True)])
        general = clustered_scores(halves, halves.sum(axis=2), halves.sum(axis=1), size).gram
        assert general == pytest.approx(gram, rel=1e-9)


def test_own_variance_is_unbiased_whatever_the_lengths() -> None:
    rng, lengths = np.random.default_rng(3), np.array([10, 10, 20, 40, 80, 150])
    distribution = np.array([0.5, 0.3, 0.2])
    found = []
    for _ in range(4000):
        table = rng.multinomial(lengths, distribution)
        spread = load_scores(table, lengths.astype(float))
        assert spread is not None
        found.append(spread.own)
    # Independent tokens: v_g = n_g (K - 1) / n.
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(4000)
    assert np.all(np.abs(mean - lengths * 2 / 310) < 4.5 * error + 2e-4)
