"""Compiled sums over the cells of one pair's tables ``[group, source, target]``.

Sums without each group and over halves of the groups are of x ln x or x ψ(x) of whole counts, of which the smallest are
looked up.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, within

# Cells taken at a time: the sums of all columns over them stay in the L1 and L2 caches.
BLOCK = 64


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
    terms = np.empty(len(total))
    for c in range(len(total)):
        terms[c] = _term(total[c], listed, digamma)
        whole += terms[c]
    for g in range(len(tables)):
        change = 0.0
        for c in range(len(total)):
            if tables[g, c]:
                change += _term(total[c] - np.int64(tables[g, c]), listed, digamma) - terms[c]
        left[g] = whole + change
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
            own, to = sign[g], sums[column[g]]
            for c in range(width):
                to[c] += own * np.int64(tables[g, first + c])
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
        for h in range(halves):
            own = rest = 0.0
            for c in range(width):
                count = (total[first + c] - sums[h, c]) >> 1
                own += _term(count, listed, digamma)
                rest += _term(total[first + c] - count, listed, digamma)
            one[h] += own
            other[h] += rest
