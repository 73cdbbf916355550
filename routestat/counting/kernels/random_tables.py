"""Compiled draws of tables with given margins."""

import math
from typing import Any

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, within


@within
def _random(state: Array) -> float:  # pragma: no cover - compiled
    """Return the next random number from 0 to below 1 of SplitMix64 (Steele, Lea & Flood 2014).

    A call of NumPy's generator takes longer than all else that is done for a token.
    """
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@within
def _log_factorial(n: int, table: Array) -> float:  # pragma: no cover - compiled
    return table[np.uint64(n)] if n < len(table) else math.lgamma(n + 1.0)


@within
def _of_cell(n: int, table: Array) -> float:  # pragma: no cover - compiled
    """Return n ln n."""
    return table[np.uint64(n)] if n < len(table) else n * math.log(n)


@within
def _hypergeometric(
    state: Array, total: int, good: int, drawn: int, table: Array
) -> int:  # pragma: no cover - compiled
    """Draw how many of `drawn` tokens are among the `good` of `total`, by inversion from the mode on."""
    if good == 0 or drawn == total:
        return good
    none = total - good - drawn
    mode = int((drawn + 1.0) * (good + 1.0) / (total + 2.0))
    p = math.exp(
        _log_factorial(good, table)
        + _log_factorial(total - good, table)
        + _log_factorial(drawn, table)
        + _log_factorial(total - drawn, table)
        - _log_factorial(total, table)
        - _log_factorial(mode, table)
        - _log_factorial(good - mode, table)
        - _log_factorial(drawn - mode, table)
        - _log_factorial(none + mode, table)
    )
    u = _random(state) - p
    if u < 0:
        return mode
    # In floats, whose products are fast; both sides at a time, until beyond either end the terms are zero.
    up, down, p_up, p_down = float(mode), float(mode), p, p
    g, d, n = float(good), float(drawn), float(none)
    while p_up > 0 or p_down > 0:
        p_up *= (g - up) * (d - up) / ((up + 1.0) * (n + up + 1.0))
        p_down *= down * (n + down) / ((g - down + 1.0) * (d - down + 1.0))
        up += 1.0
        down -= 1.0
        u -= p_up
        if u < 0:
            return int(up)
        u -= p_down
        if u < 0:
            return int(down)
    # Probabilities sum to one but for rounding.
    return mode


@within
def _row_of_tokens(
    state: Array, tokens: int, labels: Array, left: Array, table: Array
) -> float:  # pragma: no cover - compiled
    """Draw the columns of a row's tokens, take them from `left`, and return the row's sum of c ln c.

    `labels` has the column of every token that is left; those that stay are moved to its beginning.
    """
    n, drawn = len(labels), np.zeros(len(left), np.int64)
    for _ in range(tokens):
        # Below n, also when rounded: a random number is at most 1 - 2**-53.
        at = int(_random(state) * n)
        n -= 1
        column = labels[at]
        labels[at] = labels[n]
        drawn[column] += 1
    found = 0.0
    for j in range(len(left)):
        left[j] -= drawn[j]
        found += _of_cell(drawn[j], table)
    return found


@compiled
def draw_tables(
    rows: Array, columns: Array, log_factorials: Array, logs: Array, short: int, rng: Any, sums: Array
) -> None:  # pragma: no cover - compiled
    """Fill `sums` with the sums of c ln c of random tables with the margins `rows` and `columns`.

    `log_factorials` and `logs` hold ln n! and n ln n of the smallest whole numbers. Rows are ascending: the columns of
    the first, of up to `short` tokens for each column, are drawn token by token without replacement, the cells of the
    others one by one.
    """
    last_row, last_column = len(rows) - 1, len(columns) - 1
    tokens = columns.sum()
    # Where most rows are longer, a copy of all tokens for each table would take longer than their cells.
    longest = short * len(columns) if tokens <= 2 * short * len(columns) * len(rows) else 0
    ordered, place = np.empty(tokens if longest else 0, np.int32), 0
    if longest:
        for j in range(len(columns)):
            ordered[place : place + columns[j]] = j
            place += columns[j]
    state = np.empty(1, np.uint64)
    for resample in range(len(sums)):
        # Every table has a stream of its own.
        state[0] = np.uint64(rng.random() * 2.0**53) << np.uint64(11)
        labels, left, without, found = ordered.copy(), columns.copy(), tokens, 0.0
        for i in range(last_row):
            mine, beyond = rows[i], without
            without -= mine
            if 0 < mine <= longest:
                found += _row_of_tokens(state, mine, labels[:beyond], left, logs)
                continue
            for j in range(last_column):
                if mine == 0:
                    break
                x = _hypergeometric(state, beyond, left[j], mine, log_factorials)
                beyond -= left[j]
                left[j] -= x
                mine -= x
                found += _of_cell(x, logs)
            left[last_column] -= mine
            found += _of_cell(mine, logs)
        for j in range(len(columns)):
            found += _of_cell(left[j], logs)
        sums[resample] = found
