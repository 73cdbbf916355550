"""Compiled loops that number contexts of tokens and count them by group of documents.

Sorting the keys of all tokens, once per context, takes ten times as long as these passes over tables of numbers.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, within


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
) -> tuple[Array, ...]:  # pragma: no cover - compiled
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
        The entry of each row (−1 where unknown); the entries in order of groups; a row, the cell, the group, the tokens
        and the part of each entry, ordered by cell, then group; and the context of each part, ordered by context, then
        group.
    """
    # Groups are ascending: a cell is met by a new group where the group differs from the last one that met it. Known
    # of a cell or context are, side by side, that group plus one, and its entry or part in the order in which they are
    # met, which is that of groups.
    of_cell, of_context = np.zeros((len(context), 2), np.int32), np.zeros((n_contexts, 2), np.int32)
    met = np.empty((len(cell), 4), np.int32)
    entry_of, met_context = np.empty(len(cell), np.int32), np.empty(len(cell), np.int32)
    n = parts = 0
    for i in range(len(cell)):
        c = cell[i]
        if c < 0:
            entry_of[i] = -1
            continue
        own = group[i] + 1
        if of_cell[c, 0] != own:
            of_cell[c, 0], of_cell[c, 1] = own, n
            x = context[c]
            if of_context[x, 0] != own:
                of_context[x, 0], of_context[x, 1] = own, parts
                met_context[parts] = x
                parts += 1
            met[n, 0], met[n, 1], met[n, 2], met[n, 3] = i, c, of_context[x, 1], 0
            n += 1
        e = of_cell[c, 1]
        met[e, 3] += tokens[i]
        entry_of[i] = e
    in_order, part_of = _ordered(met[:n, 1], len(context)), _ordered(met_context[:parts], n_contexts)
    part_context = np.empty(parts, np.int32)
    for part in range(parts):
        part_context[part_of[part]] = met_context[part]
    row_of, cell_of, group_of = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    count, part = np.empty(n, np.int32), np.empty(n, np.int32)
    for e in range(n):
        to = in_order[e]
        row_of[to], cell_of[to], count[to] = met[e, 0], met[e, 1], met[e, 3]
        group_of[to], part[to] = group[met[e, 0]], part_of[met[e, 2]]
    for i in range(len(cell)):
        if entry_of[i] >= 0:
            entry_of[i] = in_order[entry_of[i]]
    return entry_of, in_order, row_of, cell_of, group_of, count, part, part_context


@within
def _ordered(key: Array, n_keys: int) -> Array:  # pragma: no cover - compiled
    """Return the place of each item in the stable order of keys."""
    start = np.zeros(n_keys + 1, np.int32)
    for i in range(len(key)):
        start[key[i] + 1] += 1
    for at in range(n_keys):
        start[at + 1] += start[at]
    place = np.empty(len(key), np.int32)
    for i in range(len(key)):
        place[i] = start[key[i]]
        start[key[i]] += 1
    return place


@compiled
def entries_in(
    chosen: Array, cell: Array, group: Array, count: Array, part: Array, part_context: Array, n_cells: int
) -> tuple[Array, ...]:  # pragma: no cover - compiled
    """Select the entries of some groups.

    Parameters
    ----------
    chosen : bool array ``[group]``
    cell, group, count, part : int32 array ``[entry]``
    part_context : int32 array ``[part]``
    n_cells : int

    Returns
    -------
    tuple
        Of each entry of these groups its number among all, its cell, group, tokens, and part, numbered anew; the context
        of each of their parts; the number of each of all entries among these; and the tokens of each cell.
    """
    n, place = 0, np.empty(len(cell), np.int32)
    number = np.zeros(len(part_context), np.int32)
    for e in range(len(cell)):
        place[e] = n
        if chosen[group[e]]:
            number[part[e]] = 1
            n += 1
    parts, context = 0, np.empty(len(part_context), np.int32)
    for p in range(len(part_context)):
        if number[p]:
            number[p], context[parts] = parts, part_context[p]
            parts += 1
    at, own_cell, own_group = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    own_count, own_part, tokens = np.empty(n), np.empty(n, np.int32), np.zeros(n_cells)
    for e in range(len(cell)):
        if chosen[group[e]]:
            to = place[e]
            at[to], own_cell[to], own_group[to], own_count[to] = e, cell[e], group[e], count[e]
            own_part[to] = number[part[e]]
            tokens[cell[e]] += count[e]
    return at, own_cell, own_group, own_count, own_part, context[:parts].copy(), place, tokens
