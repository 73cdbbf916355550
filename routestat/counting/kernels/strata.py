"""Compiled loops over the cells of strata: sorting, margins, and sums without each group.

Cells are sorted by a radix sort of one whole number each, in which stratum, source, target and group have their own
bits: a few passes over the tokens, where a comparison sort takes many times as long.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled

# Bits sorted at a time: their counters stay in the L1 cache.
DIGIT = 11


@compiled
def sort_cells(
    stratum: Array, source: Array, target: Array, group: Array, bits: Array, keys: Array, spare: Array
) -> tuple[Array, Array]:  # pragma: no cover - compiled
    """Return distinct cells of the rows, sorted, and their counts.

    `source` and `target` are ``[row, slot]``. A cell is one number that holds stratum, source, target and group, the
    last three in so many `bits`. `keys` and `spare` are long enough for all cells of all rows.
    """
    n = 0
    for row in range(len(stratum)):
        for i in range(source.shape[1]):
            first = (stratum[row] << bits[0]) | source[row, i]
            for j in range(target.shape[1]):
                keys[n] = (((first << bits[1]) | target[row, j]) << bits[2]) | group[row]
                n += 1
    most = 0
    for i in range(n):
        most = max(most, keys[i])
    radix = 1 << DIGIT
    place = np.empty(radix, np.int64)
    shift = 0
    while n and (shift == 0 or most >> shift):
        place[:] = 0
        for i in range(n):
            place[(keys[i] >> shift) & (radix - 1)] += 1
        before = 0
        for digit in range(radix):
            here = place[digit]
            place[digit] = before
            before += here
        for i in range(n):
            digit = (keys[i] >> shift) & (radix - 1)
            spare[place[digit]] = keys[i]
            place[digit] += 1
        keys, spare = spare, keys
        shift += DIGIT
    # The other array takes the counts.
    found = -1
    for i in range(n):
        if found < 0 or keys[i] != keys[found]:
            found += 1
            keys[found] = keys[i]
            spare[found] = 0
        spare[found] += 1
    return keys[: found + 1], spare[: found + 1]


@compiled
def shuffle_within(stratum: Array, n_strata: int, random: Array) -> Array:  # pragma: no cover - compiled
    """Return for every row a row of the same stratum, in random order (Fisher and Yates).

    `random` has a number from 0 to 1 for every row.
    """
    start = np.zeros(n_strata + 1, np.int64)
    for row in range(len(stratum)):
        start[stratum[row] + 1] += 1
    for at in range(n_strata):
        start[at + 1] += start[at]
    own, place = np.empty(len(stratum), np.int32), start.copy()
    for row in range(len(stratum)):
        own[place[stratum[row]]] = row
        place[stratum[row]] += 1
    drawn = own.copy()
    for at in range(n_strata):
        first = start[at]
        for i in range(start[at + 1] - 1, first, -1):
            # A random number just below one may round to the number of rows.
            j = min(first + np.int64(random[i] * (i - first + 1)), i)
            drawn[i], drawn[j] = drawn[j], drawn[i]
    order = np.empty(len(stratum), np.int32)
    for i in range(len(stratum)):
        order[own[i]] = drawn[i]
    return order


@compiled
def read_in_circles(
    rows: Array, start: Array, length: Array, first: Array, n: Array, out: Array
) -> None:  # pragma: no cover - compiled
    """Fill `out` with `n` rows of each series, from its `first` on, and from its beginning again after its end.

    A series is `length` entries of `rows` from `start` on; `first` is below `length`.
    """
    to = 0
    for i in range(len(n)):
        begin, end = start[i], start[i] + length[i]
        at = begin + first[i]
        for _ in range(n[i]):
            out[to] = rows[at]
            to += 1
            at += 1
            if at == end:
                at = begin


@compiled
def margin_cells(
    stratum: Array, state: Array, group: Array, count: Array, n_states: int, n_groups: int, out: Array
) -> int:  # pragma: no cover - compiled
    """Add up cells of the same stratum, state and group; the cells are sorted by stratum.

    Fills `out` ``[4, cell]`` with stratum, state, group and count, sorted by stratum and state, and returns how many
    there are.
    """
    sums = np.zeros(n_states * n_groups, np.int64)
    met = np.empty(min(n_states * n_groups, len(stratum)), np.int64)
    place = np.empty(n_states, np.int64)
    n = first = 0
    while first < len(stratum):
        last, seen = first, 0
        place[:] = 0
        while last < len(stratum) and stratum[last] == stratum[first]:
            at = state[last] * n_groups + group[last]
            if sums[at] == 0:
                met[seen] = at
                place[state[last]] += 1
                seen += 1
            sums[at] += count[last]
            last += 1
        before = n
        for i in range(n_states):
            here = place[i]
            place[i] = before
            before += here
        for i in range(seen):
            at = met[i]
            own = at // n_groups
            to = place[own]
            out[0, to], out[1, to], out[2, to], out[3, to] = stratum[first], own, at % n_groups, sums[at]
            place[own] += 1
            sums[at] = 0
        n += seen
        first = last
    return n


@compiled
def leave_out(
    key: Array, group: Array, count: Array, listed: Array, change: Array
) -> float:  # pragma: no cover - compiled
    """Sum c ln c over the cells, and add to `change` ``[group]`` by how much the sum differs without each group.

    Cells are sorted by `key`, with one entry for each group. `listed` has x ln x of the smallest counts.
    """
    whole, first = 0.0, 0
    while first < len(key):
        last, total = first, 0
        while last < len(key) and key[last] == key[first]:
            total += count[last]
            last += 1
        every = listed[total] if total < len(listed) else total * np.log(total)
        whole += every
        for i in range(first, last):
            rest = total - count[i]
            change[group[i]] += (listed[rest] if rest < len(listed) else rest * np.log(rest)) - every
        first = last
    return whole


@compiled
def pair_products(
    key: Array, group: Array, weight: Array, gram: Array
) -> None:  # pragma: no cover - compiled
    """Add to `gram` ``[group, group]`` the products of the weights of any two cells with one key, sorted by key."""
    first, row = 0, np.zeros(len(gram))
    while first < len(key):
        last = first
        while last < len(key) and key[last] == key[first]:
            last += 1
        if (last - first) * 4 < len(gram):
            for i in range(first, last):
                for j in range(first, last):
                    gram[group[i], group[j]] += weight[i] * weight[j]
        else:
            # Where most groups have the key, whole rows are faster than single places.
            for i in range(first, last):
                row[group[i]] += weight[i]
            for i in range(first, last):
                own, by = gram[group[i]], weight[i]
                for j in range(len(row)):
                    own[j] += by * row[j]
            for i in range(first, last):
                row[group[i]] = 0.0
        first = last
