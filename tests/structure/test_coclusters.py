"""Co-clustering: the blocks of scikit-learn's SpectralCoclustering, with its decomposition made exact."""

import numpy as np
import pytest

from routestat.structure.bicluster_checks import adjusted_rand
from routestat.structure.coclusters import cocluster
from tests.oracle.biclusters_oracle import spectral_coclusters
from tests.structure.test_biclusters import draw, planted


@pytest.mark.parametrize("strength", [1.0, 1.3, 3.0])
@pytest.mark.parametrize(
    ("n_rows", "n_columns", "n_blocks"), [(28, 28, 4), (12, 30, 3), (30, 12, 5), (8, 8, 2)]
)
def test_labels_are_those_of_scikit_learn_with_the_same_seed(n_rows, n_columns, n_blocks, strength):
    rng = np.random.default_rng(n_rows + n_blocks)
    tables = [draw(rng, planted(rng, n_rows, n_columns, n_blocks, strength)[2], 30_000) for _ in range(3)]
    seeds = [5, 6, 7]
    for matrix in ("lift", "counts"):
        found = cocluster(tables, n_blocks, seeds, matrix)
        for table, seed, labels in zip(tables, seeds, found, strict=True):
            for own, expected in zip(labels, spectral_coclusters(table, n_blocks, seed, matrix), strict=True):
                np.testing.assert_array_equal(own, expected)


def test_tables_of_other_sizes_share_a_call():
    rng = np.random.default_rng(1)
    tables = [draw(rng, planted(rng, size, size + 2, 3)[2], 20_000) for size in (10, 14, 10)]
    together = cocluster(tables, 3, [1, 2, 3], "lift")
    for place, table in enumerate(tables):
        ((rows, columns),) = cocluster([table], 3, [place + 1], "lift")
        np.testing.assert_array_equal(rows, together[place][0])
        np.testing.assert_array_equal(columns, together[place][1])


def test_parts_that_share_no_state_are_blocks():
    # Singular value one occurs three times: only the known pair of vectors may be taken out.
    table = np.kron(np.eye(3, dtype=np.int64), np.arange(1, 13).reshape(3, 4))
    ((rows, columns),) = cocluster([table], 3, [0], "lift")
    np.testing.assert_array_equal(rows, np.repeat(rows[::3], 3))
    np.testing.assert_array_equal(columns, np.repeat(columns[::4], 4))
    assert sorted(rows[::3]) == sorted(columns[::4]) == [0, 1, 2]


def test_the_least_structure_is_found_beside_uneven_margins():
    # Lifts of 1 ± 1e-6: their squares are lost beside the singular value one, unless that is taken out before.
    rng = np.random.default_rng(2)
    rows, columns, distribution = planted(rng, 12, 15, 2, strength=1 + 2e-6)
    table = np.rint(distribution * 2**52).astype(np.int64)
    for matrix in ("lift", "counts"):
        ((row_labels, column_labels),) = cocluster([table], 2, [0], matrix)
        assert adjusted_rand(rows, row_labels) == adjusted_rand(columns, column_labels) == 1.0


def test_many_parts_that_share_no_state_are_decomposed():
    # Singular value one occurs dozens of times; LAPACK's few eigenvectors are then fewer than were asked for.
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows, columns = rng.permutation(79), np.sort(rng.integers(0, 70, 79))
        columns[:70] = np.arange(70)
        table = np.zeros((79, 70), dtype=np.int64)
        np.add.at(table, (rows, columns), 1)
        ((row_labels, column_labels),) = cocluster([table], 2, [0], "lift")
        assert set(row_labels) | set(column_labels) == {0, 1}
