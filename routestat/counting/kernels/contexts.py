"""Compiled loops that number contexts of tokens and count them by group of documents.

Sorting the keys of all tokens, once per context, takes ten times as long as these passes over tables of numbers.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def number_pairs(
    first: Array, second: Array, width: int, table: Array
) -> tuple[Array, Array]:  # pragma: no cover - compiled
    """Find the distinct pairs of two columns, and number them in order, 0, 1, ….

    Parameters
    ----------
    first, second : int32 array ``[row]``
        −1 where unknown; `second` is below `width`.
    width : int
    table : int32 array ``[first · width + second]``
        Of zeros, for use within.

    Returns
    -------
    tuple
        The number of each row's pair, −1 where one of both is unknown; and ``first · width + second`` of each number.
    """
    for i in range(len(first)):
        if first[i] >= 0 and second[i] >= 0:
            table[np.int64(first[i]) * width + second[i]] = 1
    keys, n = np.empty(min(len(table), len(first)), np.int64), 0
    for key in range(len(table)):
        if table[key]:
            keys[n] = key
            table[key] = n
            n += 1
    number = np.empty(len(first), np.int32)
    for i in range(len(first)):
        number[i] = -1
        if first[i] >= 0 and second[i] >= 0:
            number[i] = table[np.int64(first[i]) * width + second[i]]
    return number, keys[:n]


@compiled
def count_by_group(
    cell: Array, group: Array, tokens: Array, context: Array, n_contexts: int
) -> tuple[Array, Array, Array, Array, Array, Array, Array]:  # pragma: no cover - compiled
    """Count rows by cell and group, and number the (context, group) that occur.

    Parameters
    ----------
    cell : int32 array ``[row]``
        −1 where the context is unknown.
    group : int32 array ``[row]``
        Ascending.
    tokens : int32 array ``[row]``
    context : int32 array ``[cell]``
        From 0 to `n_contexts` − 1.
    n_contexts : int

    Returns
    -------
    tuple
        The entry of each row (−1 where unknown); a row, the cell, the group, the tokens and the part of each entry,
        ordered by cell, then group; and the context of each part, ordered by context, then group.
    """
    n_cells = len(context)
    # Groups are ascending: a cell is met by a new group where the group differs from the last one that met it. What is
    # known of a cell or context is side by side: the last group, and the number of its next entry or part.
    of_cell, of_context = np.zeros((n_cells + 1, 2), np.int32), np.zeros((n_contexts + 1, 2), np.int32)
    of_cell[:, 0], of_context[:, 0] = -1, -1
    for i in range(len(cell)):
        c = cell[i]
        if c >= 0 and of_cell[c, 0] != group[i]:
            of_cell[c, 0] = group[i]
            of_cell[c, 1] += 1
            x = context[c]
            if of_context[x, 0] != group[i]:
                of_context[x, 0] = group[i]
                of_context[x, 1] += 1
    n = parts = 0
    for c in range(n_cells):
        n, of_cell[c, 1], of_cell[c, 0] = n + of_cell[c, 1], n, -1
    for x in range(n_contexts):
        parts, of_context[x, 1], of_context[x, 0] = parts + of_context[x, 1], parts, -1
    entry_of, row_of, part_of = np.empty(len(cell), np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    part_context, part_group = np.empty(parts, np.int64), np.empty(parts, np.int64)
    count = np.zeros(n, np.int32)
    for i in range(len(cell)):
        c = cell[i]
        if c < 0:
            entry_of[i] = -1
            continue
        if of_cell[c, 0] != group[i]:
            of_cell[c, 0] = group[i]
            x = context[c]
            if of_context[x, 0] != group[i]:
                of_context[x, 0] = group[i]
                part_context[of_context[x, 1]], part_group[of_context[x, 1]] = x, group[i]
                of_context[x, 1] += 1
            row_of[of_cell[c, 1]], part_of[of_cell[c, 1]] = i, of_context[x, 1] - 1
            of_cell[c, 1] += 1
        e = of_cell[c, 1] - 1
        count[e] += tokens[i]
        entry_of[i] = e
    cell_of, group_of = np.empty(n, np.int64), np.empty(n, np.int64)
    e = 0
    for c in range(n_cells):
        while e < of_cell[c, 1]:
            cell_of[e], group_of[e] = c, part_group[part_of[e]]
            e += 1
    return entry_of, row_of, cell_of, group_of, count, part_of, part_context
