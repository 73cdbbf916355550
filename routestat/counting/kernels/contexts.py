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
        The entry of each row (−1 where unknown). Of each entry in order of groups its number, some row, its cell, group
        and tokens. Of each entry, ordered by cell, then group, the same four and its part; and the context of each
        part, ordered by context, then group.
    """
    # Groups are ascending: a cell is met by a new group where the group differs from the last one that met it. Known
    # of a cell or context are, side by side, that group plus one, and its entry or part in the order of groups.
    of_cell, of_context = np.zeros((len(context), 2), np.int32), np.zeros((n_contexts, 2), np.int32)
    met, met_part = np.empty((4, len(cell)), np.int32), np.empty((2, len(cell)), np.int32)
    entry_of = np.empty(len(cell), np.int32)
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
                met_part[1, parts] = x
                parts += 1
            met[0, n], met[1, n], met[2, n], met[3, n], met_part[0, n] = i, c, group[i], 0, of_context[x, 1]
            n += 1
        e = of_cell[c, 1]
        met[3, e] += tokens[i]
        entry_of[i] = e
    number, number_of_part = _ordered(met[1, :n], len(context)), _ordered(met_part[1, :parts], n_contexts)
    part_context = np.empty(parts, np.int32)
    for p in range(parts):
        part_context[number_of_part[p]] = met_part[1, p]
    ordered, part = np.empty((4, n), np.int32), np.empty(n, np.int32)
    for e in range(n):
        to = number[e]
        for column in range(4):
            ordered[column, to] = met[column, e]
        part[to] = number_of_part[met_part[0, e]]
    for i in range(len(cell)):
        if entry_of[i] >= 0:
            entry_of[i] = number[entry_of[i]]
    return entry_of, number, met[:, :n].copy(), ordered, part, part_context


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
def entries_of_halves(
    half: Array, cell: Array, group: Array, count: Array, part: Array, part_context: Array, n_cells: int
) -> tuple[Array, ...]:  # pragma: no cover - compiled
    """Divide the entries into those of either half of the groups.

    Parameters
    ----------
    half : int array ``[group]``
        0 or 1.
    cell, group, count, part : int32 array ``[entry]``
    part_context : int32 array ``[part]``
    n_cells : int

    Returns
    -------
    tuple
        The number of each entry among those of its half; entries and parts of either half; ``[half, entry]`` the number
        of each among all entries, its cell, group and part, numbered anew, and its tokens; the context
        ``[half, part]``; and the tokens ``[half, cell]``.
    """
    entries, parts = np.zeros(2, np.int64), np.zeros(2, np.int64)
    place, number = np.empty(len(cell), np.int32), np.empty(len(part_context), np.int32)
    whole, context = np.empty((2, 4, len(cell)), np.int32), np.empty((2, len(part_context)), np.int32)
    tokens, in_cell = np.empty((2, len(cell))), np.zeros((2, n_cells))
    # Each part is of one half: that of any of its entries.
    for e in range(len(cell)):
        number[part[e]] = half[group[e]]
    for p in range(len(part_context)):
        h = number[p]
        number[p], context[h, parts[h]] = parts[h], part_context[p]
        parts[h] += 1
    for e in range(len(cell)):
        h = half[group[e]]
        to = entries[h]
        place[e], tokens[h, to] = to, count[e]
        whole[h, 0, to], whole[h, 1, to], whole[h, 2, to] = e, cell[e], group[e]
        whole[h, 3, to] = number[part[e]]
        in_cell[h, cell[e]] += count[e]
        entries[h] += 1
    return place, entries, parts, whole, tokens, context, in_cell


@compiled
def places_in_shorter(
    entry: Array,
    shorter_cell: Array,
    shorter_place: Array,
    cell: Array,
    group: Array,
    place: Array,
    half: Array,
    n_cells: int,
) -> tuple[Array, Array]:  # pragma: no cover - compiled
    """Find the cells and entries of a context among those of a shorter one.

    Parameters
    ----------
    entry : int32 array ``[entry]``
        The shorter context's entry that each belongs to.
    shorter_cell, shorter_place : int32 array ``[shorter entry]``
        Its cell, and its number among the entries of its half of the groups.
    cell, group, place : int32 array ``[entry]``
    half : int array ``[group]``
    n_cells : int

    Returns
    -------
    tuple
        The shorter context's cell ``[cell]``; and ``[half, entry of the half]`` the number of its entry in the half.
    """
    of_cell, of_half = np.empty(n_cells, np.int64), np.empty((2, len(entry)), np.int32)
    for e in range(len(entry)):
        s = entry[e]
        of_cell[cell[e]] = shorter_cell[s]
        of_half[half[group[e]], place[e]] = shorter_place[s]
    return of_cell, of_half
