"""Spectral co-clustering: rows and columns of a matrix in the space of its singular vectors, clustered together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from routestat.inference.base.tables import Integers, expected_counts
from routestat.structure.k_means import k_means

Floats = NDArray[np.float64]

MATRICES = ("lift", "counts", "conditional")
# Below this share of the largest, a singular value is not taken from the squared matrix, which has half the digits.
_SQUARED_DOWN_TO = 1e-4
_NO_STRUCTURE = 1e-10


def cocluster(
    tables: Sequence[Integers], n_blocks: int, seeds: Sequence[int], matrix: str
) -> list[tuple[Integers, Integers]]:
    """Cluster rows and columns of every table together; labels do not depend on the order of the states.

    Equal to scikit-learn's SpectralCoclustering with an exact decomposition, up to rounding.

    Parameters
    ----------
    tables : sequence of int arrays ``[source, target]``
        Without empty rows and columns, and with as many of both as there are blocks.
    n_blocks : int
        Two or more.
    seeds : sequence of int
        Of the k-means of each table.
    matrix : {"lift", "counts", "conditional"}

    Returns
    -------
    list of (int array ``[source]``, int array ``[target]``)

    References
    ----------
    Dhillon, Co-clustering documents and words using bipartite spectral graph partitioning, KDD 2001.
    """
    orders, places = [], []
    for table in tables:
        rows, columns = canonical_order(table)
        ordered = table[np.ix_(rows, columns)].astype(np.float64)
        orders.append((rows, columns))
        places.append(_coordinates(matrix_of(ordered, matrix), int(np.ceil(np.log2(n_blocks)))))
    labels: list[tuple[Integers, Integers]] = [(np.empty(0, np.int64),) * 2] * len(tables)
    sizes = np.array([len(place) for place in places])
    for size in np.unique(sizes):
        alike = np.flatnonzero(sizes == size)
        found = k_means(np.stack([places[one] for one in alike]), n_blocks, np.asarray(seeds)[alike])
        for one, own in zip(alike, found, strict=True):
            labels[one] = _undo(own, *orders[one])
    return labels


def matrix_of(counts: Floats, matrix: str) -> Floats:
    """Return the matrix that is clustered, of counts without empty rows and columns."""
    if matrix == "lift":
        return counts / expected_counts(counts)
    return counts / counts.sum(axis=1, keepdims=True) if matrix == "conditional" else counts


def _undo(labels: Integers, rows: Integers, columns: Integers) -> tuple[Integers, Integers]:
    """Labels of rows and of columns in the table's own order."""
    row_labels, column_labels = np.empty(len(rows), np.int64), np.empty(len(columns), np.int64)
    row_labels[rows], column_labels[columns] = labels[: len(rows)], labels[len(rows) :]
    return row_labels, column_labels


def _coordinates(values: Floats, dimensions: int) -> Floats:
    """Rows, then columns, in the leading singular vectors behind the first ``[row and column, dimension]``.

    The matrix is divided by the square roots of its margins. Its first singular vectors are these roots, with singular
    value one: they are known, and taken out.
    """
    row_roots, column_roots = np.sqrt(values.sum(axis=1)), np.sqrt(values.sum(axis=0))
    scaled = values / row_roots[:, None] / column_roots
    scaled -= np.outer(row_roots, column_roots) / values.sum()
    left, right = singular_vectors(scaled, dimensions)
    return np.vstack([left / row_roots[:, None], right / column_roots[:, None]])


def singular_vectors(matrix: Floats, n: int) -> tuple[Floats, Floats]:
    """Return the `n` leading left and right singular vectors ``[row, vector]``, ``[column, vector]``."""
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    size = len(wide)
    # Few eigenvectors of the square cost a tenth of all singular vectors.
    squares, vectors = eigh(wide @ wide.T, subset_by_index=[size - n, size - 1], check_finite=False)
    values, vectors = np.sqrt(np.maximum(squares[::-1], 0.0)), vectors[:, ::-1]
    # LAPACK may find none among many equal eigenvalues.
    if len(values) < n or values[-1] <= max(_NO_STRUCTURE, _SQUARED_DOWN_TO * values[0]):
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        return left[:, :n], right[:n].T
    others = wide.T @ vectors / values
    return (vectors, others) if wide is matrix else (others, vectors)


def canonical_order(table: Integers) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order rows and columns of whole counts by these alone, independent of the states' ids.

    Colour refinement: states are ranked by the counts they share with ranked states of the other side.
    """
    n_rows, n_columns = table.shape
    columns = np.zeros(n_columns, dtype=np.int64)
    for _ in range(3):
        rows = _ranks(table * n_columns + columns)
        columns = _ranks((table * n_rows + rows[:, None]).T)
    return np.argsort(rows, kind="stable"), np.argsort(columns, kind="stable")


def _ranks(coded: Integers) -> Integers:
    """Rank each row as a multiset, densely."""
    # Bytes of whole numbers without sign, largest first, compare as the numbers do.
    small = coded.max(initial=0) < 1 << 32
    rows = np.sort(coded.astype(np.uint32 if small else np.uint64), axis=1)
    rows = rows.astype(">u4" if small else ">u8")
    text, length = rows.tobytes(), rows.shape[1] * rows.itemsize
    keys = [text[at : at + length] for at in range(0, len(text), length)]
    rank = {key: place for place, key in enumerate(sorted(set(keys)))}
    return np.array([rank[key] for key in keys], dtype=np.int64)
