"""Compiled loops that number contexts of tokens and count them by group of documents.

Sorting the keys of all tokens, once per context, takes ten times as long as these passes over tables of numbers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

Array = Any


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter lock and without checks for division by zero, cached where possible."""
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:
        # Neither the package's folder nor the user's is writable: compile anew in every process.
        return njit(nogil=True, error_model="numpy")(function)


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
    # Groups are ascending: a cell is met by a new group where the group differs from the last one that met it.
    last, last_of_context = np.full(n_cells, -1, np.int32), np.full(n_contexts, -1, np.int32)
    next_entry, next_part = np.zeros(n_cells + 1, np.int32), np.zeros(n_contexts + 1, np.int32)
    for i in range(len(cell)):
        c = cell[i]
        if c >= 0 and last[c] != group[i]:
            last[c] = group[i]
            next_entry[c + 1] += 1
            x = context[c]
            if last_of_context[x] != group[i]:
                last_of_context[x] = group[i]
                next_part[x + 1] += 1
    for c in range(n_cells):
        next_entry[c + 1] += next_entry[c]
        last[c] = -1
    for x in range(n_contexts):
        next_part[x + 1] += next_part[x]
        last_of_context[x] = -1
    n, parts = next_entry[n_cells], next_part[n_contexts]
    entry_of, row_of = np.empty(len(cell), np.int32), np.empty(n, np.int32)
    cell_of, group_of, part_of = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    count = np.zeros(n, np.int32)
    part_context = np.empty(parts, np.int32)
    for i in range(len(cell)):
        c = cell[i]
        if c < 0:
            entry_of[i] = -1
            continue
        if last[c] != group[i]:
            last[c] = group[i]
            x = context[c]
            if last_of_context[x] != group[i]:
                last_of_context[x] = group[i]
                part_context[next_part[x]] = x
                next_part[x] += 1
            e = next_entry[c]
            next_entry[c] += 1
            row_of[e], cell_of[e], group_of[e], part_of[e] = i, c, group[i], next_part[x] - 1
        e = next_entry[c] - 1
        count[e] += tokens[i]
        entry_of[i] = e
    return entry_of, row_of, cell_of, group_of, count, part_of, part_context
