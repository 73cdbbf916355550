"""Figures with their delete-group replicates: estimates without their leading bias, bands, and sums of figures.

Figures that come from the same documents share their groups, so the error of a mean or a slope of figures is that of
the groups' moves added up, never that of figures taken as independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.inference.base.jackknife import student, unbiased
from routestat.inference.base.tables import Floats, read_only

# Wide tables: groups are bundled until all of them have about so many cells, but into no fewer than LEAST.
CELLS, LEAST = 2_500_000, 32


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """Figures with their intervals, read-only arrays of one shape; NaN where there is none.

    Attributes
    ----------
    value
        The delete-group jackknife estimate; `plugin` is the figure of the tables as they are.
    low, high
        Limits by documents, centred on `value`: they may leave the figure's range where it is near its end.
    """

    value: Floats
    low: Floats
    high: Floats
    plugin: Floats


def bands(whole: ArrayLike, left_out: ArrayLike, size: ArrayLike, level: float = 0.95) -> Bands:
    """Every figure with its interval.

    Parameters
    ----------
    whole
        Figures of all groups, of any shape.
    left_out, size
        The figures without each group and the group's tokens, `[..., group]`.
    level
        Of confidence; Student's t (see `student`).
    """
    figures = np.asarray(whole, dtype=np.float64)
    without, tokens = np.asarray(left_out, np.float64), np.asarray(size, np.float64)
    found = np.full((4, *figures.shape), math.nan)
    for at in np.ndindex(figures.shape):
        row = figures[at][None], without[at][None], tokens[at][None]
        found[(slice(None), *at)] = _combined(*row, np.ones(1), level)
    return Bands(*(read_only(np.array(part)) for part in found))


def combined(
    whole: ArrayLike, left_out: ArrayLike, size: ArrayLike, weights: ArrayLike, level: float = 0.95
) -> Bands:
    """One sum of figures with its interval, arrays of no axes: each group moves all figures at once.

    Parameters
    ----------
    whole
        Figures `[figure]`.
    left_out, size
        `[figure, group]`, as in `bands`.
    weights
        `[figure]`: 1/n for a mean.
    level
        Of confidence.
    """
    figures, without, tokens, weight = (
        np.asarray(a, dtype=np.float64) for a in (whole, left_out, size, weights)
    )
    found = _combined(figures, without, tokens, weight, level)
    return Bands(*(read_only(np.array(number)) for number in found))


def contributions(whole: float, left_out: Floats, size: Floats) -> tuple[Floats, Floats]:
    """What each group adds to the jackknife estimate, `[group]`, and the share of it that it has by its size.

    (1 - w)(F - (1 - w) F_-g) / (1 - sum of w**2) and (1 - w) w / (1 - sum of w**2): the first sum to `unbiased`, the
    second to one.
    """
    share = size / size.sum()
    scale = (1.0 - share) / (1.0 - float((share**2).sum()))
    return scale * (whole - (1.0 - share) * left_out), scale * share


def _combined(
    whole: Floats, left_out: Floats, size: Floats, weights: Floats, level: float
) -> tuple[float, float, float, float]:
    plugin, nan = float(weights @ whole), math.nan
    groups = int((size > 0).any(axis=0).sum())
    if not whole.size or not np.isfinite(left_out).all() or ((size > 0).sum(axis=1) < 2).any():
        return nan, nan, nan, plugin if whole.size else nan
    value = sum(
        w * unbiased(f, left, n) for w, f, left, n in zip(weights, whole, left_out, size, strict=True)
    )
    share = size / size.sum(axis=1, keepdims=True)
    moves = weights @ ((1.0 - share) * (whole[:, None] - left_out))
    moves = moves[(size > 0).any(axis=0)]
    error = math.sqrt(groups / (groups - 1) * float(((moves - moves.mean()) ** 2).sum()))
    reach = student(size.sum(axis=0), level) * error
    return value, value - reach, value + reach, plugin


@dataclass(frozen=True, slots=True, eq=False)
class Bundles:
    """Groups with tokens, put together where there are more of them than wide tables allow; see `bundles_of`.

    Attributes
    ----------
    order
        Groups, bundle after bundle.
    starts
        Where in `order` each bundle starts.
    """

    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    def of_table(self, table: NDArray[np.integer]) -> NDArray[np.integer]:
        """Counts `[bundle, ...]` of counts `[group, ...]`."""
        if len(self.starts) == len(self.order):
            return table if len(self.order) == len(table) else table[self.order]
        return np.add.reduceat(table[self.order], self.starts, axis=0, dtype=np.int64)


def bundles_of(tables: Sequence[NDArray[np.integer]]) -> Bundles:
    """Bundles for these tables `[group, source, target]`: each group with tokens in any of them is in one.

    A bundle of groups is a group; fewer of them leave errors a little less well known and cost less. As many as have
    `CELLS` cells together, but `LEAST` of them at least.
    """
    used = [np.flatnonzero(table.any(axis=(1, 2))) for table in tables]
    groups = np.unique(np.concatenate(used)) if used else np.empty(0, np.intp)
    widest = max((table[0].size for table in tables if len(table)), default=1)
    n = min(len(groups), max(LEAST, CELLS // max(1, widest)))
    if not n:
        return Bundles(groups, groups)
    # Neighbouring numbers may be neighbouring documents: every n-th goes together.
    parts = [groups[first::n] for first in range(n)]
    return Bundles(np.concatenate(parts), np.cumsum([0, *map(len, parts[:-1])]))
