"""Random tables with given margins, of which only a sum over the cells is kept."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.counting.kernels.random_tables import draw_tables
from routestat.inference.base.special import x_log_x
from routestat.inference.base.tables import Floats

# Up to this count logarithms are looked up.
TABULATED = 1 << 20
# Up to so many tokens for each column, drawing every token of a row is faster than drawing every cell.
SHORT = 16


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

        Row after row: cell by cell from the hypergeometric distribution (Patefield 1981, Algorithm AS 159), or token by
        token without replacement where a row has few.

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
        draw_tables(*ordered, self._log_factorials, self._x_log_x, SHORT, rng, sums)
        return sums
