"""Compiled loops that count single experts and pairs of them."""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def unrank(
    states: Array,
    size: int,
    n_experts: int,
    binomials: Array,
    highest: Array,
    missing: int,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Expert rows ``out[row, slot]`` of states; a row of `missing` where there is no state.

    `highest` is `Alphabet.highest_places`: where the search for the expert of a slot begins. Mostly it ends there or
    one place below.
    """
    top_k, last = out.shape[1], n_experts - 1
    first = np.uint64(1023 << 4)
    for t in range(len(states)):
        state = np.uint64(states[t])
        if state >= np.uint64(size):
            for slot in range(top_k):
                out[t, slot] = missing
            continue
        rest = np.uint64(size - 1) - state
        for slot in range(top_k - 1):
            above = np.float64(rest + np.uint64(1)).view(np.uint64) >> np.uint64(48)
            c = np.int64(highest[slot, above - first])
            c -= np.int64(binomials[slot, c] > rest)
            while binomials[slot, c] > rest:
                c -= 1
            rest -= binomials[slot, c]
            out[t, slot] = last - c
        out[t, top_k - 1] = last - np.int64(rest)


@compiled
def cross_experts(
    source: Array,
    target: Array,
    starts: Array,
    stops: Array,
    groups: Array,
    lag: int,
    missing: Array,
    slots: Array,
    width: int,
    table: Array,
) -> None:  # pragma: no cover - compiled
    """Count experts i at the source and j at the target: k·k cells of ``table[group, i · width + j]`` a token.

    `slots` are two tuples as long as a row of each: their lengths are known when this is compiled, so that both loops
    over slots are unrolled.
    """
    n_sources, n_targets = len(slots[0]), len(slots[1])
    step, one = np.uint64(width), table.dtype.type(1)
    for r in range(len(starts)):
        cells = table[groups[r]]
        for t in range(starts[r] + lag, stops[r]):
            if source[t - lag, 0] == missing[0] or target[t, 0] == missing[1]:
                continue
            for i in range(n_sources):
                row = np.uint64(source[t - lag, i]) * step
                for j in range(n_targets):
                    cells[row + np.uint64(target[t, j])] += one


@compiled
def single_experts(
    target: Array, starts: Array, stops: Array, groups: Array, missing: int, table: Array
) -> None:  # pragma: no cover - compiled
    """Count the experts of every token in ``table[group, j]``."""
    for r in range(len(starts)):
        cells = table[groups[r]]
        for t in range(starts[r], stops[r]):
            if target[t, 0] != missing:
                for j in range(target.shape[1]):
                    cells[target[t, j]] += table.dtype.type(1)


@compiled
def count_expert_pairs(
    experts: Array,
    n_experts: int,
    starts: Array,
    stops: Array,
    groups: Array,
    missing: int,
    pairs: Array,
    singles: Array,
) -> None:  # pragma: no cover - compiled
    """Count the pairs i < j of every token's experts in ``pairs[group, pair]``, and the experts themselves.

    Pairs are numbered (0, 1), (0, 2), … as in an alphabet of two.
    """
    for r in range(len(starts)):
        cells, alone = pairs[groups[r]], singles[groups[r]]
        for t in range(starts[r], stops[r]):
            if experts[t, 0] == missing:
                continue
            for a in range(experts.shape[1]):
                x = np.int64(experts[t, a])
                alone[x] += alone.dtype.type(1)
                for b in range(a):
                    y = np.int64(experts[t, b])
                    i, j = min(x, y), max(x, y)
                    cells[i * (2 * n_experts - i - 1) // 2 + j - i - 1] += cells.dtype.type(1)
