"""Compiled sums over the cells of one pair's tables ``[group, source, target]``.

Sums without each group and over halves of the groups are of x ln x or x ψ(x) of whole counts, of which the smallest are
looked up.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, within

# Cells taken at a time: the sums of all columns over them stay in the L2 cache.
BLOCK = 128


@compiled
def table_margins(
    tables: Array, rows: Array, columns: Array, total: Array
) -> None:  # pragma: no cover - compiled
    """Add the tables up to `rows` ``[group, source]``, `columns` ``[group, target]``, `total` ``[source, target]``."""
    for g in range(len(tables)):
        for i in range(tables.shape[1]):
            own = np.int64(0)
            for j in range(tables.shape[2]):
                count = np.int64(tables[g, i, j])
                own += count
                columns[g, j] += count
                total[i, j] += count
            rows[g, i] = own


@compiled
def centred_block(
    tables: Array,
    first: int,
    r: Array,
    c: Array,
    own_r: Array,
    columns: Array,
    pull_r: Array,
    pull_c: Array,
    scales: Array,
    crossed: Array,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Fill `out` ``[group, source, target]`` with the scores under independence of the sources from `first` on.

    A score is z = T - r C' - (R - n r) c' times `scales` ``[source, target]``. Adds the sum of
    z * `pull_r` ``[group, source]`` * `pull_c` ``[group, target]`` to `crossed` ``[group]``.
    """
    width = len(c)
    pulled = np.empty(width)
    for g in range(len(tables)):
        pulled[:] = 0.0
        for k in range(out.shape[1]):
            i = first + k
            by, own, pull = r[i], own_r[g, i], pull_r[g, i]
            for j in range(width):
                z = tables[g, i, j] - by * columns[g, j] - own * c[j]
                pulled[j] += pull * z
                out[g, k, j] = z * scales[i, j]
        for j in range(width):
            crossed[g] += pulled[j] * pull_c[g, j]


@compiled
def deviations(
    tables: Array, first: int, share: Array, total: Array, scales: Array, out: Array
) -> None:  # pragma: no cover - compiled
    """Fill `out` ``[group, cell]`` with (T - `share` ``[group]`` * `total` ``[cell]``) * `scales` ``[cell]``.

    The cells are those of ``tables[group, cell]`` from `first` on.
    """
    for g in range(len(out)):
        own = share[g]
        for c in range(out.shape[1]):
            out[g, c] = (tables[g, first + c] - own * total[c]) * scales[c]


@within
def _term(count: int, listed: Array, digamma: float) -> float:  # pragma: no cover - compiled
    """Return x ln x (`digamma` 0) or x ψ(x) (1) of a count; `listed` has those of the smallest counts."""
    if count < len(listed):
        return listed[count]
    # Stirling's series; what it leaves out is below the last digit from some hundred on.
    return count * np.log(count) - digamma * (0.5 + 1.0 / (12.0 * count))


@compiled
def left_out_sums(
    tables: Array, total: Array, listed: Array, digamma: float, left: Array
) -> float:  # pragma: no cover - compiled
    """Sum the terms of `total` ``[cell]``, and fill `left` ``[group]`` with the sums without each group.

    `tables` ``[group, cell]`` sum to `total`.
    """
    whole = 0.0
    terms = np.empty(BLOCK)
    left[:] = 0.0
    for first in range(0, len(total), BLOCK):
        own = total[first : first + BLOCK]
        short = _all_listed(own, listed)
        for c in range(len(own)):
            terms[c] = _term(own[c], listed, digamma)
            whole += terms[c]
        for g in range(len(tables)):
            change = 0.0
            if short:
                # Without a branch: most counts are zero or nearly so, in no order that could be predicted.
                for c in range(len(own)):
                    change += listed[own[c] - np.int64(tables[g, first + c])] - terms[c]
            else:
                for c in range(len(own)):
                    change += _term(own[c] - np.int64(tables[g, first + c]), listed, digamma) - terms[c]
            left[g] += change
    for g in range(len(left)):
        left[g] += whole
    return whole


@compiled
def half_sums(
    tables: Array,
    total: Array,
    column: Array,
    sign: Array,
    listed: Array,
    digamma: float,
    one: Array,
    other: Array,
) -> None:  # pragma: no cover - compiled
    """Add to `one` and `other` ``[half]`` the terms of all cells of balanced halves of the groups, and of the rest.

    Half h, of a power of two, has the counts (total - sum over the groups of sign * H[h, column] * table) / 2, with
    Hadamard's matrix H: all halves come from one fast transform of the groups' counts.
    """
    halves = len(one)
    sums = np.empty((halves, BLOCK), np.int64)
    for first in range(0, len(total), BLOCK):
        width = min(BLOCK, len(total) - first)
        sums[:] = 0
        for g in range(len(tables)):
            to = sums[column[g]]
            if sign[g] > 0:
                for c in range(width):
                    to[c] += np.int64(tables[g, first + c])
            else:
                for c in range(width):
                    to[c] -= np.int64(tables[g, first + c])
        step = 1
        while step < halves:
            for at in range(0, halves, 2 * step):
                for i in range(at, at + step):
                    low, high = sums[i], sums[i + step]
                    for c in range(width):
                        a, b = low[c], high[c]
                        low[c] = a + b
                        high[c] = a - b
            step *= 2
        short = _all_listed(total[first : first + width], listed)
        for h in range(halves):
            own = rest = 0.0
            if short:
                for c in range(width):
                    count = (total[first + c] - sums[h, c]) >> 1
                    own += listed[count]
                    rest += listed[total[first + c] - count]
            else:
                for c in range(width):
                    count = (total[first + c] - sums[h, c]) >> 1
                    own += _term(count, listed, digamma)
                    rest += _term(total[first + c] - count, listed, digamma)
            one[h] += own
            other[h] += rest


@within
def _all_listed(total: Array, listed: Array) -> bool:  # pragma: no cover - compiled
    most = 0
    for c in range(len(total)):
        most = max(most, total[c])
    return most < len(listed)
