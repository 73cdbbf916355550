"""Random tables with given margins, of which only a sum over the cells is kept."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.counting.context_kernels import compiled
from routestat.inference.base.special import x_log_x
from routestat.inference.base.tables import Floats

Array = Any
# Up to this count logarithms are looked up.
TABULATED = 1 << 20


class RandomTables:
    """Draws tables with the margins of given ones, independent of source and target otherwise.

    Parameters
    ----------
    most : int
        The most tokens that a table has.
    """

    def __init__(self, most: int) -> None:
        whole = np.arange(min(most, TABULATED) + 1, dtype=np.float64)
        self._log_factorials, self._x_log_x = special.gammaln(whole + 1.0), x_log_x(whole)

    def sums(self, rows: ArrayLike, columns: ArrayLike, rng: np.random.Generator, n: int) -> Floats:
        """Draw `n` tables and return their sums of c ln c ``[table]``.

        Cell by cell from the hypergeometric distribution, row after row (Patefield 1981, Algorithm AS 159).

        Parameters
        ----------
        rows, columns
            Their sums, whole and of the same total.
        rng
        n
        """
        sums = np.empty(n)
        # The last cells follow from the others, and are the largest; a row is complete once its tokens are placed.
        ordered = np.sort(np.asarray(rows, np.int64)), np.sort(np.asarray(columns, np.int64))[::-1].copy()
        _draw(*ordered, self._log_factorials, self._x_log_x, rng, sums)
        return sums


@compiled
def _log_factorial(n: int, table: Array) -> float:  # pragma: no cover - compiled
    return table[n] if n < len(table) else math.lgamma(n + 1.0)


@compiled
def _of_cell(n: int, table: Array) -> float:  # pragma: no cover - compiled
    """Return n ln n."""
    return table[n] if n < len(table) else n * math.log(n)


@compiled
def _hypergeometric(
    rng: Any, total: int, good: int, drawn: int, table: Array
) -> int:  # pragma: no cover - compiled
    """Draw how many of `drawn` tokens are among the `good` of `total`, by inversion from the mode on."""
    bad = total - good
    least, most = max(0, drawn - bad), min(drawn, good)
    if least == most:
        return least
    mode = int((drawn + 1.0) * (good + 1.0) / (total + 2.0))
    p = math.exp(
        _log_factorial(good, table)
        + _log_factorial(bad, table)
        + _log_factorial(drawn, table)
        + _log_factorial(total - drawn, table)
        - _log_factorial(total, table)
        - _log_factorial(mode, table)
        - _log_factorial(good - mode, table)
        - _log_factorial(drawn - mode, table)
        - _log_factorial(bad - drawn + mode, table)
    )
    u = rng.random() - p
    if u < 0:
        return mode
    up = down = mode
    p_up = p_down = p
    while up < most or down > least:
        if up < most:
            p_up *= (good - up) * float(drawn - up) / ((up + 1.0) * (bad - drawn + up + 1.0))
            up += 1
            u -= p_up
            if u < 0:
                return up
        if down > least:
            p_down *= down * float(bad - drawn + down) / ((good - down + 1.0) * (drawn - down + 1.0))
            down -= 1
            u -= p_down
            if u < 0:
                return down
    # Probabilities sum to one but for rounding.
    return mode


@compiled
def _draw(
    rows: Array, columns: Array, log_factorials: Array, logs: Array, rng: Any, sums: Array
) -> None:  # pragma: no cover - compiled
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
