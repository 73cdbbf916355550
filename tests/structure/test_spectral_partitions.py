"""Spectral partitions are those of scikit-learn."""

import sys

import numpy as np
import pytest
from sklearn.cluster import SpectralBiclustering
from sklearn.metrics import adjusted_rand_score

from routestat.errors import RoutestatError
from routestat.structure.spectral_partitions import biclustered, coclustered
from tests.oracle.biclusters_oracle import spectral_coclusters


def planted(rng, n_states=20, n_blocks=3, n=40_000):
    rows, columns = (rng.permutation(np.arange(n_states) % n_blocks) for _ in range(2))
    cells = np.where(rows[:, None] == columns, 5.0, 1.0)
    cells *= rng.gamma(8.0, size=(n_states, 1)) * rng.gamma(8.0, size=n_states)
    return rows, columns, rng.multinomial(n, (cells / cells.sum()).ravel()).reshape(n_states, n_states)


@pytest.mark.parametrize(("matrix", "theirs"), [("lift", "lift"), ("joint", "counts")])
def test_coclusters_are_scikit_learns(matrix, theirs):
    rng = np.random.default_rng(0)
    tables = [planted(rng)[2] for _ in range(3)]
    found = coclustered(tables, 3, matrix, np.random.default_rng(5))
    seeds = np.random.default_rng(5)
    for table, own in zip(tables, found, strict=True):
        rows, columns = spectral_coclusters(table, 3, int(seeds.integers(2**31)), theirs)
        assert adjusted_rand_score(rows, own.rows[1]) == 1.0
        assert adjusted_rand_score(columns, own.columns[1]) == 1.0


@pytest.mark.parametrize("matrix", ["lift", "conditional", "joint"])
def test_biclusters_are_scikit_learns_and_the_planted_ones(matrix):
    rng = np.random.default_rng(1)
    rows, columns, table = planted(rng)
    (found,) = biclustered([table], 3, matrix, rng)
    values = table.astype(float)
    if matrix == "conditional":
        values /= values.sum(axis=1, keepdims=True)
    if matrix == "lift":
        values *= values.sum() / np.outer(values.sum(axis=1), values.sum(axis=0))
    theirs = SpectralBiclustering(3, random_state=0).fit(values)
    for own, other, truth in zip(
        (found.rows, found.columns), (theirs.row_labels_, theirs.column_labels_), (rows, columns), strict=True
    ):
        assert (own[0] == 0).all()
        assert adjusted_rand_score(other, own[1]) == 1.0
        assert adjusted_rand_score(truth, own[1]) == 1.0


@pytest.mark.parametrize("method", [coclustered, biclustered])
def test_states_without_tokens_and_few_states(method):
    table = planted(np.random.default_rng(2))[2]
    table[4] = table[:, 7] = 0
    (found,) = method([table], 3, "lift", np.random.default_rng(0))
    assert found.rows[1, 4] == found.columns[1, 7] == 0
    assert set(found.rows[1].tolist()) == {0, 1, 2}
    for small in (np.zeros((4, 4), int), np.eye(4, dtype=int)[:1] * 9, np.array([[9, 1], [1, 9]])):
        (few,) = method([small], 3, "lift", np.random.default_rng(0))
        n = min(len(small[small.any(axis=1)]), small.any(axis=0).sum())
        assert few.rows[1].max() + 1 == max(1, n)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(RoutestatError, match=r"pip install 'routestat\[spectral\]'"):
        biclustered([np.eye(3, dtype=int)], 2, "lift", np.random.default_rng(0))
