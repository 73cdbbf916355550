"""Compiled draws of tables with given margins."""

import math
from typing import Any

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, within


@within
def _log_factorial(n: int, table: Array) -> float:  # pragma: no cover - compiled
    return table[np.uint64(n)] if n < len(table) else math.lgamma(n + 1.0)


@within
def _of_cell(n: int, table: Array) -> float:  # pragma: no cover - compiled
    """Return n ln n."""
    return table[np.uint64(n)] if n < len(table) else n * math.log(n)


@within
def _hypergeometric(
    rng: Any, total: int, good: int, drawn: int, table: Array
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
    u = rng.random() - p
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


@compiled
def draw_tables(
    rows: Array, columns: Array, log_factorials: Array, logs: Array, rng: Any, sums: Array
) -> None:  # pragma: no cover - compiled
    """Fill `sums` with the sums of c ln c of random tables with the margins `rows` and `columns`.

    `log_factorials` and `logs` hold ln n! and n ln n of the smallest whole numbers.
    """
    last_row, last_column = len(rows) - 1, len(columns) - 1
    tokens = columns.sum()
    for resample in range(len(sums)):
        left, without, found = columns.copy(), tokens, 0.0
        for i in range(last_row):
            mine, beyond = rows[i], without
            for j in range(last_column):
                if mine == 0:
                    break
                x = _hypergeometric(rng, beyond, left[j], mine, log_factorials)
                beyond -= left[j]
                left[j] -= x
                mine -= x
                found += _of_cell(x, logs)
            left[last_column] -= mine
            found += _of_cell(mine, logs)
            without -= rows[i]
        for j in range(len(columns)):
            found += _of_cell(left[j], logs)
        sums[resample] = found
