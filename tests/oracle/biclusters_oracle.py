"""Spectral co-clustering by scikit-learn, and the evidence of blocks token by token."""

import itertools
import math
from collections import Counter

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


def sequential_log_evidence(table, row_blocks, column_blocks, corrected):
    """Log evidence of a partition: the tokens one after the other, each by what came before it, and the prior.

    Block cells, and states of a block on corrected sides, by Laplace's rule of succession; else states are equal.
    """
    table, labels = np.asarray(table), (list(row_blocks), list(column_blocks))
    shape = [max(own) + 1 for own in labels]
    sizes = [[own.count(block) for block in range(n)] for own, n in zip(labels, shape, strict=True)]
    cells = Counter()
    states, blocks = (Counter(), Counter()), (Counter(), Counter())
    total, seen = 0.0, 0
    for i, j in np.argwhere(table):
        for _ in range(table[i, j]):
            where = (labels[0][i], labels[1][j])
            total += math.log((cells[where] + 1) / (seen + shape[0] * shape[1]))
            for side, state in enumerate((i, j)):
                block, n = where[side], sizes[side][where[side]]
                if corrected[side]:
                    total += math.log((states[side][state] + 1) / (blocks[side][block] + n))
                else:
                    total -= math.log(n)
                states[side][state] += 1
                blocks[side][block] += 1
            cells[where] += 1
            seen += 1
    for own, n, size in zip(labels, shape, sizes, strict=True):
        ways = math.factorial(len(own)) // math.prod(math.factorial(one) for one in size)
        total -= math.log(len(own) * math.comb(len(own) - 1, n - 1) * ways)
    return total


def partitions_into(n, blocks):
    """Every partition of n states into so many blocks, once."""
    for labels in itertools.product(range(blocks), repeat=n):
        first = [labels.index(block) for block in range(blocks) if block in labels]
        if len(first) == blocks and first == sorted(first):
            yield np.array(labels)


def left_out_bits(table, left_out, row_blocks, column_blocks, corrected):
    """Bits that a partition fitted to `table` saves on the tokens of `left_out` over one block, cell by cell."""

    def probability(i, j, rows, columns):
        n_a, n_b = max(rows) + 1, max(columns) + 1
        in_a = [x for x in range(len(rows)) if rows[x] == rows[i]]
        in_b = [y for y in range(len(columns)) if columns[y] == columns[j]]
        value = (table[np.ix_(in_a, in_b)].sum() + 1) / (table.sum() + n_a * n_b)
        for state, inside, axis, yes in ((i, in_a, 1, corrected[0]), (j, in_b, 0, corrected[1])):
            counts = table.sum(axis=axis)
            value *= (counts[state] + 1) / (counts[inside].sum() + len(inside)) if yes else 1 / len(inside)
        return value

    one = [0] * table.shape[0], [0] * table.shape[1]
    return sum(
        left_out[i, j]
        * math.log2(probability(i, j, list(row_blocks), list(column_blocks)) / probability(i, j, *one))
        for i in range(table.shape[0])
        for j in range(table.shape[1])
    )
