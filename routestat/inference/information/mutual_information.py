"""Entropy and information of tables of counts, and how far the estimates can be trusted.

Tokens are taken as independent by every estimator here except `mutual_information_interval`, which takes only
the groups of documents as independent.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import t_quantile
from routestat.inference.base.jackknife import jackknife_value
from routestat.inference.base.tables import Contingency, Floats, contingency, expected_counts, whole_counts
from routestat.inference.base.units import too_few
from routestat.inference.information.entropy import estimator_of, nats_per_unit

# Wide tables are large as floats: so many groups of them are held at a time.
GROUPS_AT_ONCE = 32


def mutual_information(table: ArrayLike, estimator: str = "plugin", base: float = 2) -> float:
    """I(source; target) = H(source) + H(target) - H(source, target), in bits unless `base` says otherwise.

    Parameters
    ----------
    table
        Whole counts `[source, target]`. Empty rows and columns are dropped; the alphabet of the joint entropy
        is then every cell of what is left.
    estimator, base
        As in `entropy`. Only the plug-in is sure to be zero or more.

    Returns
    -------
    The estimate; NaN where there is no token.

    Raises
    ------
    RoutestatError
        For anything but such a table, an unknown estimator or an impossible base.
    """
    unit = nats_per_unit(base)
    if np.ndim(table) == 3:
        raise RoutestatError(
            "table: wanted [source, target], got 3 axes; sum over the groups, "
            "or use conditional_mutual_information for [x, y, z]"
        )
    total = contingency(table).total
    estimate = estimator_of(estimator, total.sum(), total.size)
    if not total.size:
        return math.nan
    if estimator == "plugin":
        return plugin_information(total) / unit
    return (estimate(total.sum(axis=1)) + estimate(total.sum(axis=0)) - estimate(total.ravel())) / unit


def plugin_information(total: Floats) -> float:
    """Plug-in mutual information in nats of a table that `contingency` has checked; never below zero."""
    seen = total > 0
    # Cell by cell rather than as a difference of entropies, which loses a small information in their digits.
    return max(0.0, float((total[seen] * np.log((total / expected_counts(total))[seen])).sum() / total.sum()))


def conditional_mutual_information(table: ArrayLike, estimator: str = "plugin", base: float = 2) -> float:
    """I(X; Z | Y) = H(XY) + H(YZ) - H(XYZ) - H(Y), in bits unless `base` says otherwise.

    Parameters
    ----------
    table
        Whole counts `[x, y, z]`. States of x, y or z without tokens are dropped; alphabets are then the
        products of what is left.
    estimator, base
        As in `entropy`. Only the plug-in is sure to be zero or more.

    Returns
    -------
    The estimate; NaN where there is no token.

    Raises
    ------
    RoutestatError
        For anything but such a table, an unknown estimator or an impossible base.
    """
    unit = nats_per_unit(base)
    counts = whole_counts(table, "table")
    if counts.ndim != 3:
        raise RoutestatError(f"table: wanted counts [x, y, z], got {counts.ndim} axes; reshape them")
    kept = [np.flatnonzero(counts.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    cube = counts[np.ix_(*kept)].astype(np.float64)
    estimate = estimator_of(estimator, cube.sum(), cube.size)
    if not cube.size:
        return math.nan
    if estimator == "plugin":
        slices = [contingency(cube[:, y, :]).total for y in range(cube.shape[1])]
        return float(sum(s.sum() * plugin_information(s) for s in slices) / cube.sum()) / unit
    parts = [estimate(part.ravel()) for part in (cube.sum(2), cube.sum(0), cube, cube.sum((0, 2)))]
    return (parts[0] + parts[1] - parts[2] - parts[3]) / unit


@dataclass(frozen=True, slots=True)
class InformationInterval:
    """Mutual information with what the groups say of its error; see `mutual_information_interval`.

    Attributes
    ----------
    mi_bits, mi_bits_plugin
        The delete-group jackknife estimate and the plug-in, in bits.
    standard_error, low, high
        In bits; the limits are centred on the jackknife estimate and may fall below zero.
    level, n, n_groups
        The confidence level asked for, the tokens and the groups that held any.
    reason
        Why the error could not be computed, or None.
    """

    mi_bits: float
    mi_bits_plugin: float
    standard_error: float
    low: float
    high: float
    level: float
    n: int
    n_groups: int
    reason: str | None = None


def grouped_table(tables: ArrayLike, level: float) -> tuple[Contingency, NDArray[np.integer]]:
    """Counts per group, checked, for an interval of this level; and those of the kept groups, rows and columns.

    Raises
    ------
    RoutestatError
        For anything but whole counts `[group, source, target]`, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise RoutestatError(f"level: wanted a share between 0 and 1, got {level}; use 0.95")
    table = contingency(tables)
    if table.tables is None:
        raise RoutestatError(
            "tables: wanted [group, source, target], got 2 axes; count per group of documents"
        )
    return table, table.tables


def mutual_information_interval(tables: ArrayLike, level: float = 0.95) -> InformationInterval:
    """Mutual information in bits with an interval that is right on dependent tokens.

    Centred on the delete-group jackknife, which takes out the bias that tokens of one document share; with the
    linearised variance G/(G-1) sum psi_g**2 / n**2, psi_g = sum of T_g (log(p/e) - I). Limits are those of
    Student's t (see `t_quantile`): with 20 to 60 groups the normal's fall a point or two short of the level, and
    with more the two agree. Where source and target are independent the variance's leading term
    vanishes and the interval says little: test that with `independence`.

    Parameters
    ----------
    tables
        Whole counts `[group, source, target]`; groups are independent, tokens within one need not be.
    level
        Of confidence, between 0 and 1.

    Raises
    ------
    RoutestatError
        For anything but such tables, or a level outside (0, 1).
    """
    table, parts = grouped_table(tables, level)
    n, groups, nan = int(table.total.sum()), int(table.groups.size), math.nan
    if n == 0:
        return InformationInterval(nan, nan, nan, nan, nan, level, 0, 0, "no tokens")
    plugin = plugin_information(table.total) / math.log(2.0)
    size = parts.sum(axis=(1, 2))
    if why := too_few(size):
        return InformationInterval(nan, plugin, nan, nan, nan, level, n, groups, why)
    left_out, scores = _leave_each_out(table)
    estimate = jackknife_value(plugin, left_out / math.log(2.0), size)
    error = math.sqrt(groups / (groups - 1) * float(scores @ scores)) / n / math.log(2.0)
    reach = t_quantile(size, level) * error
    return InformationInterval(estimate, plugin, error, estimate - reach, estimate + reach, level, n, groups)


def _leave_each_out(table: Contingency) -> tuple[Floats, Floats]:
    """Plug-in information in nats without each group, and each group's score psi_g."""
    total, n = table.total, table.total.sum()
    information = plugin_information(total)
    ratio = total / expected_counts(total)
    pointwise = np.log(ratio, out=np.zeros_like(ratio), where=total > 0)
    if table.tables is None:
        return np.empty(0), np.empty(0)
    margins = total.sum(axis=1), total.sum(axis=0)
    left_out, scores = [], []
    for first in range(0, len(table.tables), GROUPS_AT_ONCE):
        parts = table.tables[first : first + GROUPS_AT_ONCE].astype(np.float64)
        size, rows, columns = parts.sum(axis=(1, 2)), parts.sum(axis=2), parts.sum(axis=1)
        cells = _log_products(total - parts).sum(axis=(1, 2))
        ends = _log_products(margins[0] - rows).sum(axis=1) + _log_products(margins[1] - columns).sum(axis=1)
        left_out.append((cells - ends + _log_products(n - size)) / (n - size))
        scores.append(parts.reshape(len(parts), -1) @ pointwise.ravel() - size * information)
    return np.concatenate(left_out), np.concatenate(scores)


def _log_products(counts: Floats) -> Floats:
    """x ln x of whole counts; 0 at 0."""
    return counts * np.log(np.maximum(counts, 1.0))
