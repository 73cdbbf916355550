"""Spectral co-clustering by scikit-learn."""

import numpy as np
from sklearn.cluster import SpectralCoclustering


def spectral_coclusters(table, n_blocks, seed, matrix):
    """Row and column labels by scikit-learn, its decomposition exact, the states ordered by their counts alone."""
    n_rows, n_columns = table.shape
    columns = np.zeros(n_columns, dtype=np.int64)
    for _ in range(3):
        rows = _ranks(table * n_columns + columns)
        columns = _ranks((table * n_rows + rows[:, None]).T)
    rows, columns = np.argsort(rows, kind="stable"), np.argsort(columns, kind="stable")
    ordered = table[np.ix_(rows, columns)].astype(np.float64)
    expected = np.outer(ordered.sum(axis=1), ordered.sum(axis=0)) / ordered.sum()
    # Oversampling to the full width makes the randomised decomposition exact.
    model = SpectralCoclustering(n_blocks, n_svd_vecs=min(table.shape), random_state=seed)
    model.fit(ordered / expected if matrix == "lift" else ordered)
    row_labels, column_labels = np.empty(n_rows, np.int64), np.empty(n_columns, np.int64)
    row_labels[rows], column_labels[columns] = model.row_labels_, model.column_labels_
    return row_labels, column_labels


def _ranks(coded):
    """Each row ranked as a multiset."""
    return np.unique(np.sort(coded, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
