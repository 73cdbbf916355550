"""How far blocks can be trusted: agreement over bootstraps of documents, and what blocks of noise explain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import random_table
from sklearn.metrics import adjusted_rand_score

from routestat.structure.bicluster_checks import adjusted_rand, null_share, stability
from routestat.structure.biclusters import share_of_information, spectral_blocks
from tests.oracle.structure_oracle import rand_adjusted


def distribution(rng, n_rows=12, n_columns=12, n_blocks=3, strength=4.0):
    rows, columns = np.arange(n_rows) % n_blocks, np.arange(n_columns) % n_blocks
    cells = np.where(rows[:, None] == columns, strength, 1.0)
    cells *= rng.gamma(8.0, size=(n_rows, 1)) * rng.gamma(8.0, size=n_columns)
    return cells / cells.sum()


def draw(rng, cells, n, documents):
    return rng.multinomial(n, cells.ravel(), size=documents).reshape(documents, *cells.shape)


def refit_with(n_blocks, rng):
    """Spectral blocks of each table; states without tokens are in block 0."""

    def refit(tables):
        found = [spectral_blocks(table, n_blocks, rng) for table in tables]
        return [(np.maximum(one.row_labels, 0), np.maximum(one.column_labels, 0)) for one in found]

    return refit


def test_stability_is_high_for_planted_blocks_and_low_for_noise():
    rng = np.random.default_rng(4)
    refit = refit_with(3, rng)
    cells = distribution(rng)
    tables = draw(rng, cells, 300, 40)
    clear = stability(tables, refit([tables.sum(axis=0)])[0], refit, rng)
    assert clear.ari > 0.8
    assert clear.ari == pytest.approx((clear.row_ari + clear.column_ari) / 2)
    assert (clear.n_resamples, clear.n_groups, clear.reason) == (10, 40, None)
    flat = np.outer(cells.sum(axis=1), cells.sum(axis=0))
    tables = draw(rng, flat, 300, 40)
    assert stability(tables, refit([tables.sum(axis=0)])[0], refit, rng).ari < 0.3


def test_stability_against_a_plain_bootstrap():
    tables = draw(np.random.default_rng(9), distribution(np.random.default_rng(1), 8, 9, 2, 1.4), 60, 12)
    labels = refit_with(2, np.random.default_rng(5))([tables.sum(axis=0)])[0]
    rng = np.random.default_rng(3)
    result = stability(tables, labels, refit_with(2, rng), rng, n_resamples=6)
    # All resamples are drawn before the first is fitted, as in every bootstrap of groups.
    again, scores = np.random.default_rng(3), []
    for times in again.multinomial(12, np.full(12, 1 / 12), size=6):
        drawn = np.repeat(np.arange(12), times)
        refit = spectral_blocks(sum(tables[g] for g in drawn), 2, again)
        used = refit.row_labels >= 0
        scores.append(rand_adjusted(labels[0][used], refit.row_labels[used]))
    assert result.row_ari == pytest.approx(np.mean(scores))


def test_stability_ignores_empty_groups_and_says_why_it_cannot():
    rng = np.random.default_rng(4)
    refit = refit_with(3, rng)
    one = draw(rng, distribution(rng), 5_000, 1)
    tables = np.concatenate([one, np.zeros_like(one)])
    alone = stability(tables, refit(one)[0], refit, rng)
    assert np.isnan(alone.ari)
    assert "2 groups" in alone.reason
    single = np.zeros(12, np.int64), np.zeros(12, np.int64)
    assert "one block" in stability(tables, single, refit, rng).reason


def test_null_share_is_that_of_independent_tables_with_the_same_margins():
    rng = np.random.default_rng(6)
    table = draw(rng, distribution(rng, strength=3.0), 20_000, 1)[0]
    refit = refit_with(3, rng)
    null = null_share(table, refit, rng, n_draws=10)
    assert null.shares.shape == (10,)
    assert null.mean_share == pytest.approx(null.shares.mean())
    assert 0 < null.mean_share < 0.4 < share_of_information(table, *refit([table])[0])
    # A table that is itself such a draw lies among the draws.
    flat = random_table(table.sum(axis=1), table.sum(axis=0), seed=rng).rvs(5)
    shares = [spectral_blocks(one, 3, rng).share_of_mi for one in flat]
    assert null.shares.min() / 2 < np.mean(shares) < null.shares.max() * 2
    assert "Patefield" in null.method


def test_null_share_at_any_size():
    rng = np.random.default_rng(6)
    cells = distribution(rng)
    for n in (10**9, 10**12):
        null = null_share(np.rint(cells * n).astype(np.int64), refit_with(3, rng), rng, n_draws=3)
        assert 0 < null.mean_share < 0.4
    assert "multinomial" in null.method


def test_draws_without_information_say_so():
    one = np.zeros(1, np.int64)
    null = null_share(np.array([[7]]), lambda tables: [(one, one)] * len(tables), np.random.default_rng(0))
    assert np.isnan(null.mean_share)
    assert "no draw" in null.reason


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=20))
def test_adjusted_rand_is_that_of_scikit_learn(pairs):
    a, b = np.array(pairs).T
    assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
