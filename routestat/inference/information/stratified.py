"""Mutual information within strata, with an interval over groups of documents."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from routestat.counting.strata import Strata
from routestat.errors import RoutestatError
from routestat.inference.base.estimate import t_quantile
from routestat.inference.base.jackknife import jackknife_value
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few
from routestat.inference.information.mutual_information import InformationInterval


def conditional_information_interval(strata: Strata, level: float = 0.95) -> InformationInterval:
    """I(source; target | stratum) in bits, centred on the delete-group jackknife.

    With hundreds of strata the plug-in is far too high: at a thousand token types of 28 x 28 cells by a fifth.
    Leaving out whole groups takes out the leading term of that bias whatever goes on inside documents, and the
    same replicates give the error: a group moves the figure by (1 - w_g)(I - I without g), w_g its share of the tokens.
    In the expert view the information is that of one source slot and one target slot of a token.

    Parameters
    ----------
    strata
        Groups are independent, tokens within one need not be.
    level
        Of confidence, between 0 and 1; Student's t (see `t_quantile`).

    Raises
    ------
    RoutestatError
        For a level outside (0, 1).

    References
    ----------
    Wolter (2007), Introduction to Variance Estimation, ch. 4 (the delete-a-group jackknife).
    """
    if not 0 < level < 1:
        raise RoutestatError(f"level: wanted a share between 0 and 1, got {level}; use 0.95")
    nan, unit = math.nan, math.log(2.0)
    if not strata.n_tokens:
        return InformationInterval(
            nan, nan, nan, nan, nan, level, 0, 0, f"no tokens with a known {strata.by}"
        )
    x, y, z = strata.source, strata.target, strata.stratum
    n = float(strata.count.sum())
    size = np.bincount(strata.group, strata.count, strata.n_groups)
    used = size > 0
    whole, left = 0.0, np.zeros(int(used.sum()))
    keys = ((z * strata.n_source + x) * strata.n_target + y, z)
    for sign, key in (
        (1, keys[0]),
        (1, keys[1]),
        (-1, z * strata.n_source + x),
        (-1, z * strata.n_target + y),
    ):
        every, without = _left_out(key, strata)
        whole, left = whole + sign * every, left + sign * without[used]
    groups = int(used.sum())
    plugin = whole / n / unit
    if why := too_few(size):
        return InformationInterval(nan, plugin, nan, nan, nan, level, strata.n_tokens, groups, why)
    replicates = left / (n - size[used]) / unit
    estimate = jackknife_value(plugin, replicates, size[used])
    moves = (1.0 - size[used] / n) * (plugin - replicates)
    error = math.sqrt(groups / (groups - 1) * float(((moves - moves.mean()) ** 2).sum()))
    reach = t_quantile(size[used], level) * error
    return InformationInterval(
        estimate, plugin, error, estimate - reach, estimate + reach, level, strata.n_tokens, groups
    )


def _left_out(key: NDArray[np.int64], strata: Strata) -> tuple[float, Floats]:
    """Sum of c ln c over the cells of `key`, and the same `[group]` without each group."""
    parts, place = np.unique(key * strata.n_groups + strata.group, return_inverse=True)
    part = np.bincount(place, strata.count)
    cell, group = np.divmod(parts, strata.n_groups)
    first = np.flatnonzero(np.concatenate([[True], cell[1:] != cell[:-1]]))
    total = np.add.reduceat(part, first)
    lengths = np.diff(np.append(first, len(cell)))
    whole, rest = np.repeat(total, lengths), np.repeat(total, lengths) - part
    change = special.xlogy(rest, rest) - special.xlogy(whole, whole)
    every = float(special.xlogy(total, total).sum())
    return every, np.asarray(every + np.bincount(group, change, strata.n_groups), np.float64)
