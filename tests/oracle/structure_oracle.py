"""Slow, obvious versions of what `routestat.structure` computes."""

from fractions import Fraction
from itertools import combinations, product
from math import log2


def gini(values):
    """Σ|x_i − x_j| / (2 n² mean), one pair at a time."""
    values = [float(value) for value in values]
    n, mean = len(values), sum(values) / len(values)
    return sum(abs(a - b) for a in values for b in values) / (2 * n * n * mean)


def all_paths(initial, transitions):
    """Every path of positive probability as (probability as a Fraction, states), best first, ties by name."""
    sizes = [len(initial)] + [len(matrix[0]) for matrix in transitions]
    found = []
    for states in product(*(range(size) for size in sizes)):
        probability = Fraction(initial[states[0]])
        for layer, matrix in enumerate(transitions):
            probability *= Fraction(matrix[states[layer]][states[layer + 1]])
        if probability > 0:
            found.append((probability, states))
    return sorted(found, key=lambda item: (-item[0], item[1]))


def mutual_information_bits(table):
    """Plug-in mutual information, cell by cell."""
    n = sum(sum(row) for row in table)
    rows = [sum(row) for row in table]
    columns = [sum(row[j] for row in table) for j in range(len(table[0]))]
    return sum(
        cell / n * log2(cell * n / (rows[i] * columns[j]))
        for i, row in enumerate(table)
        for j, cell in enumerate(row)
        if cell > 0
    )


def block_table(table, row_labels, column_labels):
    """The table summed over blocks, cell by cell; label −1 is left out."""
    blocks = [[0] * (max(column_labels) + 1) for _ in range(max(row_labels) + 1)]
    for i, row in enumerate(table):
        for j, cell in enumerate(row):
            if row_labels[i] >= 0 and column_labels[j] >= 0:
                blocks[row_labels[i]][column_labels[j]] += int(cell)
    return blocks


def rand_adjusted(a, b):
    """Adjusted Rand index by counting pairs of items (Hubert & Arabie 1985)."""
    pairs = list(combinations(range(len(a)), 2))
    both = sum(a[i] == a[j] and b[i] == b[j] for i, j in pairs)
    in_a = sum(a[i] == a[j] for i, j in pairs)
    in_b = sum(b[i] == b[j] for i, j in pairs)
    expected = in_a * in_b / len(pairs)
    most = (in_a + in_b) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)
