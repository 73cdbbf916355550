"""What margins estimated from the groups themselves add to the products of two groups' scores under independence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.tables import Floats

# A group with more of a stratum's tokens than this is taken to have this many: beyond, its own part of the margins
# cannot be separated from the others'. At 0.3 to 0.45 the sizes of the tests are the same.
MOST_SHARE = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class MarginParts:
    """How the groups' margins deviate from the margins of all, one entry per group and stratum that meet, `[part]`.

    Attributes
    ----------
    group, stratum
        Whose part it is, and of which stratum. Without strata there is one.
    share
        w, the group's share of the stratum's tokens.
    rows, columns
        a and b: sums of squares of U = R - n_g r over r, and of V = C - n_g c over c, both divided by n**1.5, with
        n the tokens of the stratum.
    crossed
        d: the product of the group's score Z with U V', weighted by 1 / (r c) and divided by n**2.
    """

    group: NDArray[np.integer]
    stratum: NDArray[np.integer]
    share: Floats
    rows: Floats
    columns: Floats
    crossed: Floats


def pair_bias(parts: MarginParts, groups: int) -> Floats:
    """Compute the expected products of two groups' scores under independence, summed over strata, `[group, group]`.

    With U_g and V_g of mean zero, independent of each other and between groups, estimated margins make of a
    group's score Z_g - (1/n) (sum of U) V_g' - (1/n) U_g (sum of V)' + (n_g/n**2) (sum of U)(sum of V)'. With A
    and B the sums of a and b, the expected product of two groups is then, exactly,
    w_h d_g + w_g d_h + a_g b_h + a_h b_g - w_g (A b_h + B a_h) - w_h (A b_g + B a_g) + w_g w_h A B.
    The deviations at hand are those from the estimated margins, whose squares are (1 - 2w) a + w**2 A on average and
    whose d is (1-w)**2 d - (1-w)((a - wA) b + (b - wB) a) + w (a - wA)(b - wB); both are solved for a, b and d.

    Parameters
    ----------
    parts
        As estimated.
    groups
        How many groups there are.

    Returns
    -------
    Zero on the diagonal.
    """
    stratum, w = parts.stratum, parts.share
    n_strata = int(stratum.max()) + 1 if stratum.size else 0

    def over_groups(values: Floats) -> Floats:
        """Sum over the stratum of each part."""
        if n_strata == 1:
            return np.full(len(values), values.sum())
        return np.asarray(np.bincount(stratum, values)[stratum], np.float64)

    least = np.minimum(w, MOST_SHARE)
    kept = 1.0 - 2.0 * least
    squares = over_groups(w**2 / kept)
    own = []
    for plain in (parts.rows, parts.columns):
        total = over_groups(plain / kept) / (1.0 + squares)
        own.append((plain - w**2 * total) / kept)
    a, b = own
    all_a, all_b = over_groups(a), over_groups(b)
    rest_a, rest_b = a - w * all_a, b - w * all_b
    d = parts.crossed + (1.0 - w) * (rest_a * b + rest_b * a) - w * rest_a * rest_b
    d /= (1.0 - least) ** 2

    def table(values: Floats) -> Floats:
        """`[group, stratum]`."""
        dense = np.zeros((groups, n_strata))
        dense[parts.group, stratum] = values
        return dense

    shares = table(w)
    half = table(d - all_a * b - all_b * a + w * all_a * all_b / 2.0) @ shares.T + table(a) @ table(b).T
    bias = half + half.T
    np.fill_diagonal(bias, 0.0)
    return bias
