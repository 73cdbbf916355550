"""Compiled loops over whole distributions by back-off, each without the tokens of one group of documents.

A part is a context and a group that holds it. Every part has a distribution over all states. It differs from that of
the shorter context, scaled, only in the states that were seen after its own context: those are kept, with the
probabilities of inclusion of all experts and the most probable state.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def starts_of(number: Array, n: int) -> Array:  # pragma: no cover - compiled
    """Return where each of the numbers 0 to n − 1 begins in ascending ones ``[n + 1]``, the last is their end."""
    starts = np.empty(n + 1, np.int64)
    at = 0
    for one in range(n + 1):
        while at < len(number) and number[at] < one:
            at += 1
        starts[one] = at
    return starts


@compiled
def cells_of_entries(
    entry: Array, cell: Array, n: int
) -> tuple[Array, Array, Array]:  # pragma: no cover - compiled
    """Count the rows of each entry by the cell of documents that they are in.

    Parameters
    ----------
    entry : int32 array ``[row]``
        −1 for rows that are left out.
    cell : int32 array ``[row]``
        Ascending.
    n : int
        Entries.

    Returns
    -------
    tuple
        Where the cells of each entry begin ``[entry + 1]``, the cells, and how many rows each has.
    """
    starts, last = np.zeros(n + 1, np.int32), np.full(n, -1, np.int32)
    for i in range(len(entry)):
        e = entry[i]
        if e >= 0 and last[e] != cell[i]:
            last[e] = cell[i]
            starts[e + 1] += 1
    for e in range(n):
        starts[e + 1] += starts[e]
    at = starts[:n].copy()
    found, rows = np.full(starts[n], -1, np.int32), np.zeros(starts[n], np.int32)
    for i in range(len(entry)):
        e = entry[i]
        if e >= 0:
            to = at[e]
            if rows[to] and found[to] != cell[i]:
                to += 1
                at[e] = to
            found[to] = cell[i]
            rows[to] += 1
    return starts, found, rows


@compiled
def distributions_without(
    bounds: Array,
    starts: Array,
    entry_cell: Array,
    entry_part: Array,
    own: Array,
    target: Array,
    amount: Array,
    total: Array,
    whole: Array,
    to_base: Array,
    strength: float,
    discount: float,
    wanted: Array,
    members: Array,
    place: Array,
    base_context: Array,
    base_part: Array,
    lower_bounds: Array,
    lower_starts: Array,
    lower_values: Array,
    lower_at: Array,
    lower_inclusion: Array,
    lower_best: Array,
    lower_height: Array,
    keep: bool,
    values: Array,
    inclusion: Array,
    best: Array,
    height: Array,
) -> Array:  # pragma: no cover - compiled
    """Compute the distributions of the parts of some contexts, in order.

    Parameters
    ----------
    bounds : int array ``[4]``
        The first context and the one after the last; the first part.
    starts : int64 array ``[3, context + 1]``
        Where the cells, the parts and the entries of each context begin.
    entry_cell, entry_part : int32 array ``[entry]``
    own : float array ``[entry]``
        What the entry's group holds of its cell.
    target : int32 array ``[cell]``
    amount, total : float arrays ``[cell]``, ``[context]``
        Tokens, or draws, of all groups.
    whole, to_base : float arrays ``[part]``
        What the group holds of the context, and tokens that the base has the weight of.
    strength, discount : float
    wanted : bool array ``[part]``
        Others are left as they are.
    members : int array ``[state, k]``
    place : int array ``[cell]``
        The shorter context's cell.
    base_context, base_part : int array ``[context]``, ``[part]``
        The shorter context, and its part.
    lower_bounds, lower_starts, lower_values, lower_at, lower_inclusion, lower_best, lower_height
        Of the shorter contexts, as here.
    keep : bool
        Whether `values` holds all parts, or is used anew for each context.
    values : float array
        Filled with the probabilities of the states seen after each context, part after part.
    inclusion : float array ``[part from the first, expert]``
        Filled with the probabilities of inclusion.
    best, height : int32, float array ``[part from the first]``
        Filled with the most probable state, the first of equals, and its probability.

    Returns
    -------
    int64 array ``[context from the first]``
        Where each begins in `values`.
    """
    n_experts, top_k = inclusion.shape[1], members.shape[1]
    at = np.zeros(bounds[1] - bounds[0], np.int64)
    every, used = np.empty(n_experts), 0
    for x in range(bounds[0], bounds[1]):
        c0, p0 = starts[0, x], starts[1, x]
        n, parts = starts[0, x + 1] - c0, starts[1, x + 1] - p0
        begin = used if keep else 0
        at[x - bounds[0]] = begin
        if parts == 0:
            continue
        if keep:
            used += n * parts
        row = values[begin : begin + n]
        every[:] = 0.0
        for i in range(n):
            row[i] = max(amount[c0 + i] - discount, 0.0)
            for s in range(top_k):
                every[members[target[c0 + i], s]] += row[i]
        for q in range(parts):
            to = begin + q * n
            if q:
                for i in range(n):
                    values[to + i] = row[i]
            for j in range(n_experts):
                inclusion[p0 - bounds[2] + q, j] = every[j]
        for e in range(starts[2, x], starts[2, x + 1]):
            c, p = entry_cell[e], entry_part[e]
            to = begin + (p - p0) * n + c - c0
            left = max(max(amount[c] - own[e], 0.0) - discount, 0.0)
            fewer = values[to] - left
            values[to] = left
            for s in range(top_k):
                inclusion[p - bounds[2], members[target[c], s]] -= fewer
        y = base_context[x]
        lower_c0, lower_n = lower_starts[0, y], lower_starts[0, y + 1] - lower_starts[0, y]
        for p in range(p0, p0 + parts):
            if not wanted[p]:
                continue
            q, b = p - bounds[2], base_part[p] - lower_bounds[2]
            inverse, share = 1.0 / (max(total[x] - whole[p], 0.0) + strength), to_base[p]
            shorter = lower_at[y - lower_bounds[0]] + (base_part[p] - lower_starts[1, y]) * lower_n - lower_c0
            to = begin + (p - p0) * n
            # A state that was not seen after the context has what the shorter one gives it.
            highest, first = share * lower_height[b] * inverse, lower_best[b]
            for i in range(n):
                value = (values[to + i] + share * lower_values[shorter + place[c0 + i]]) * inverse
                values[to + i] = value
                if value >= highest:
                    z = target[c0 + i]
                    if value > highest or z < first:
                        highest, first = value, z
            height[q], best[q] = highest, first
            for j in range(n_experts):
                inclusion[q, j] = (inclusion[q, j] + share * lower_inclusion[b, j]) * inverse
    return at


@compiled
def score_distributions(
    first: int,
    stop: int,
    first_part: int,
    entry_at: Array,
    entry_cell: Array,
    entry_part: Array,
    bits: Array,
    target: Array,
    members: Array,
    inclusion: Array,
    best: Array,
    wanted: Array,
    cell_starts: Array,
    cell: Array,
    rows: Array,
    bins: int,
    sums: Array,
) -> None:  # pragma: no cover - compiled
    """Sum the scores of the tokens of entries `first` to `stop`, as in `predictors.score_predictions`.

    Parameters
    ----------
    first, stop, first_part : int
        Entries, and the part of ``inclusion[0]``.
    entry_at : int array ``[entry]``
        The number of each among the entries of all groups, which `cell_starts`, `cell` and `rows` are kept by; see
        `cells_of_entries`.
    entry_cell, entry_part : int32 array ``[entry]``
    bits : float array ``[entry]``
        −log2 of the probability of its target.
    target : int32 array ``[cell]``
    members : int array ``[state, k]``
    inclusion, best : arrays ``[part from the first, expert]``, ``[part from the first]``
    wanted : bool array ``[part]``
    cell_starts, cell, rows : int32 arrays
    bins : int
    sums : float array ``[cell of documents, …]``
    """
    n_experts, top_k = inclusion.shape[1], members.shape[1]
    order = np.empty(inclusion.shape)
    square, bin_of = np.zeros(len(inclusion)), np.empty(inclusion.shape, np.int32)
    for p in range(len(inclusion)):
        for j in range(n_experts if wanted[first_part + p] else 0):
            # Equal to twelve digits is equal: sums in another order differ by rounding.
            order[p, j] = np.rint(inclusion[p, j] * 1e12)
    if bins:
        for p in range(len(inclusion)):
            for j in range(n_experts if wanted[first_part + p] else 0):
                inside = min(max(inclusion[p, j], 0.0), 1.0)
                inclusion[p, j] = inside
                square[p] += inside * inside
                bin_of[p, j] = 5 + 4 * top_k + 3 * min(int(np.sqrt(inside) * bins), bins - 1)
    ranks = np.empty(top_k, np.int64)
    for e in range(first, stop):
        held = entry_at[e]
        if cell_starts[held] == cell_starts[held + 1]:
            continue
        p, z = entry_part[e] - first_part, target[entry_cell[e]]
        right, error = 0, square[p] + top_k
        for s in range(top_k):
            a = members[z, s]
            own, above = order[p, a], 0
            for j in range(n_experts):
                above += order[p, j] > own
            for j in range(a):
                above += order[p, j] == own
            ranks[s] = above
            right += above < top_k
            error -= 2.0 * inclusion[p, a]
        for t in range(cell_starts[held], cell_starts[held + 1]):
            total, n = sums[cell[t]], rows[t]
            total[0] += n
            total[1] += n * (best[p] == z)
            total[2] += n * (right > 0)
            total[3] += n * bits[e]
            for s in range(top_k):
                if ranks[s] < 4 * top_k:
                    total[5 + ranks[s]] += n
            if bins:
                total[4] += n * error
                for j in range(n_experts):
                    total[bin_of[p, j]] += n
                    total[bin_of[p, j] + 1] += n * inclusion[p, j]
                for s in range(top_k):
                    total[bin_of[p, members[z, s]] + 2] += n
