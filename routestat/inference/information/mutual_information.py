"""Mutual information of tables of counts: estimates for independent tokens, and an interval for dependent ones."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.counting.kernels.pair_tables import left_out_sums
from routestat.errors import RoutestatError
from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import (
    Estimate,
    check_level,
    effective_dof,
    sandwich_error,
    with_interval,
    without_interval,
)
from routestat.inference.base.jackknife import jackknife_value
from routestat.inference.base.special import listed_x_log_x, x_log_x
from routestat.inference.base.tables import (
    Contingency,
    Floats,
    contingency,
    expected_counts,
    for_loops,
    whole_counts,
)
from routestat.inference.base.units import too_few
from routestat.inference.information.entropy import estimator_of, nats_per_unit


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
            "table: expected [source, target], got 3 axes; sum over the groups, "
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
    if not total.size:
        return 0.0
    cells = total.ravel()
    seen = np.flatnonzero(cells)
    own, n = cells[seen], total.sum()
    source, target = np.divmod(seen, total.shape[1])
    # Cell by cell rather than as a difference of entropies, which loses a small information in their digits.
    expectation = total.sum(axis=1)[source] * total.sum(axis=0)[target] / n
    return max(0.0, float((own * np.log(own / expectation)).sum() / n))


def batch_information(tables: Floats) -> tuple[Floats, Floats]:
    """Compute plug-in information and conditional entropy H(target | source) of many tables, in nats `[batch]`.

    Parameters
    ----------
    tables
        `[batch, source, target]`, counts or their expectations. NaN where a table is empty.
    """
    n = tables.sum(axis=(1, 2))
    cells = x_log_x(tables).sum(axis=(1, 2))
    rows, columns = x_log_x(tables.sum(axis=2)).sum(axis=1), x_log_x(tables.sum(axis=1)).sum(axis=1)
    known = np.where(n > 0, n, math.nan)
    return (cells - (rows + columns) + x_log_x(n)) / known, (rows - cells) / known


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
        raise RoutestatError(f"table: expected counts [x, y, z], got {counts.ndim} axes; reshape them")
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


class EstimateInBits:
    """The names under which results give an information: its `estimate` in bits."""

    __slots__ = ()
    estimate: Estimate

    @property
    def mi_bits(self) -> float:
        """The estimate in bits."""
        return self.estimate.value

    @property
    def mi_bits_plugin(self) -> float:
        """The plug-in in bits."""
        return self.estimate.plugin

    @property
    def standard_error(self) -> float:
        """Standard error in bits."""
        return self.estimate.standard_error

    @property
    def low(self) -> float:
        """Lower limit in bits."""
        return self.estimate.low

    @property
    def high(self) -> float:
        """Upper limit in bits."""
        return self.estimate.high

    @property
    def n_groups(self) -> int:
        """Groups that held tokens."""
        return self.estimate.n_groups


@dataclass(frozen=True, slots=True)
class InformationInterval(EstimateInBits):
    """Mutual information in bits with its interval over groups; see `mutual_information_interval`.

    Attributes
    ----------
    estimate
        The delete-group jackknife estimate in bits, with the plug-in; limits may fall below zero.
    level, n
        Of confidence, and tokens.
    """

    estimate: Estimate
    level: float
    n: int

    @property
    def reason(self) -> str | None:
        """Why the error could not be computed, or None."""
        return self.estimate.reason or None


def grouped_table(tables: ArrayLike, level: float) -> tuple[Contingency, NDArray[np.integer]]:
    """Check counts per group for an interval of this level; also the counts of the kept groups, rows and columns.

    Raises
    ------
    RoutestatError
        For anything but whole counts `[group, source, target]`, or a level outside (0, 1).
    """
    check_level(level)
    table = contingency(tables)
    if table.tables is None:
        raise RoutestatError(
            "tables: expected [group, source, target], got 2 axes; count per group of documents"
        )
    return table, table.tables


def mutual_information_interval(tables: ArrayLike, level: float = 0.95) -> InformationInterval:
    """Estimate mutual information in bits with an interval that is right on dependent tokens.

    Centred on the delete-group jackknife, which takes out the bias that tokens of one document share; with the
    linearised variance G/(G-1) sum psi_g**2 / n**2, psi_g = sum of T_g (log(p/e) - I). Limits are those of
    Student's t (see `effective_dof`): with 20 to 60 groups the normal's fall a point or two short of the level, and
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
    n, groups = int(table.total.sum()), int(table.groups.size)
    if n == 0:
        return InformationInterval(without_interval(math.nan, 0, "no tokens"), level, 0)
    plugin = plugin_information(table.total) / math.log(2.0)
    size = table.sources.sum(axis=1)
    if why := too_few(size):
        return InformationInterval(without_interval(math.nan, groups, why, plugin), level, n)
    value = jackknife_value(plugin, _left_out(table, parts) / math.log(2.0), size)
    error = float(sandwich_error(information_scores(table.total, parts))) / n / math.log(2.0)
    found = with_interval(value, error, effective_dof(size), groups, level, plugin)
    return InformationInterval(found, level, n)


def _left_out(table: Contingency, parts: NDArray[np.integer]) -> Floats:
    """Plug-in information in nats without each group, `[group]`."""
    groups, left, total = len(parts), np.empty(len(parts)), table.total
    rest = total.sum() - table.sources.sum(axis=1)
    found = x_log_x(rest)
    for sign, counts, whole in (
        (1.0, parts.reshape(groups, -1), total.ravel()),
        (-1.0, table.sources.astype(parts.dtype), total.sum(axis=1)),
        (-1.0, table.targets.astype(parts.dtype), total.sum(axis=0)),
    ):
        left_out_sums(for_loops(counts), whole.astype(np.int64), listed_x_log_x(), 0.0, left)
        found += sign * left
    return np.asarray(np.divide(found, rest, out=np.full(groups, math.nan), where=rest > 0))


def pointwise_information(total: Floats) -> Floats:
    """Compute log(p/e) of every cell in nats, `[source, target]`; 0 where nothing was counted."""
    lifts = np.divide(total, expected_counts(total), out=np.ones_like(total), where=total > 0)
    return np.asarray(np.log(lifts))


def information_scores(total: Floats, parts: NDArray[Any]) -> Floats:
    """Compute the groups' scores psi_g = sum of T_g (log(p/e) - I) in nats, `[group]`; they sum to zero.

    Parameters
    ----------
    total
        `[source, target]`, the sum of the groups' counts.
    parts
        T_g `[group, source, target]`.
    """
    pointwise = pointwise_information(total)
    information = plugin_information(total)
    scores = []
    for part in chunks(len(parts), total.size):
        flat = parts[part].reshape(-1, total.size).astype(np.float64)
        scores.append(flat @ pointwise.ravel() - flat.sum(axis=1) * information)
    return np.concatenate(scores)
