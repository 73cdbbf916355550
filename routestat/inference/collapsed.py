"""The routing chain with its probabilities integrated out: Dirichlet-multinomial rows, of order 0, 1 or 2.

Given the prior of a row its probabilities drop out of the model, and what is left is a sum of functions of one
number each: of every log alpha, and of every log strength. They are worked out once, on a grid, so that a sampler
pays for the number of parameters and not for that of tokens or cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, sparse, special

from routestat.counting.strata import Strata
from routestat.inference.concentration import fit_concentration
from routestat.inference.dirichlet import draw_rows, transition_posterior
from routestat.inference.rising import log_rising
from routestat.inference.strength import fit_strength
from routestat.inference.tables import Floats, Integers, read_only

#: What `tabulate` covers, in log alpha. Beyond it every term is as good as straight.
LOW, HIGH, STEP = -16.0, 20.0, 0.125
#: Whole groups are put into this many bundles to be left out.
MOST_BUNDLES = 64
TERMS_AT_ONCE = 1 << 16
#: What replicated tables are compared in; see `table_statistics`.
STATISTICS = ("information_bits", "cells", "largest_share")


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Sparse counts of one unit of the chain: a layer (order 0), a gap (order 1) or a triple of layers (order 2).

    Attributes
    ----------
    row, target, bundle, count
        One entry per seen cell `[cell]`. A row is a context: nothing, the layer before, or the two before.
    parent
        Of each row `[row]` the row of order 1 that it backs off to (itself below order 2).
    width, n_bundles
        Target states; bundles of groups.
    """

    row: Integers
    target: Integers
    bundle: Integers
    count: Integers
    parent: Integers
    width: int
    n_bundles: int

    def pooled(self) -> tuple[Integers, Integers, Integers]:
        """(row, target, count) of the cells that were seen in any bundle."""
        key, place = np.unique(self.row * self.width + self.target, return_inverse=True)
        row, target = np.divmod(key, self.width)
        return row, target, np.bincount(place, self.count).astype(np.int64)

    def table(self) -> Integers:
        """Counts `[row, target]`."""
        return self._sum(self.row * self.width + self.target, len(self.parent), self.width)

    def tables(self) -> Integers:
        """Counts `[bundle, row, target]`."""
        rows = len(self.parent)
        cell = (self.bundle * rows + self.row) * self.width + self.target
        return self._sum(cell, self.n_bundles, rows, self.width)

    def row_totals(self) -> Integers:
        """Tokens `[bundle, row]`."""
        rows = len(self.parent)
        return self._sum(self.bundle * rows + self.row, self.n_bundles, rows)

    def _sum(self, key: Integers, *shape: int) -> Integers:
        return np.bincount(key, self.count, math.prod(shape)).astype(np.int64).reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class RisingSums:
    """Functions of one number each: sum over a function's terms of times * log[(w e^v + start) rising by count].

    Attributes
    ----------
    function, argument
        Of each term, which function it belongs to and which `v` it takes `[term]`.
    weight, start, count, times
        w, start >= 0, count >= 1, and the factor before the logarithm `[term]`.
    n_functions
    """

    function: Integers
    argument: Integers
    weight: Floats
    start: Floats
    count: Floats
    times: Floats
    n_functions: int

    def __call__(self, v: Floats) -> Floats:
        """Values `[function, node]` in nats at `v` `[argument, node]`."""
        result, factor = np.zeros((self.n_functions, v.shape[1])), np.exp(v)
        for first in range(0, len(self.function), TERMS_AT_ONCE):
            part = slice(first, first + TERMS_AT_ONCE)
            at = self.weight[part, None] * factor[self.argument[part]] + self.start[part, None]
            count, values = self.count[part], np.empty_like(at)
            one = count == 1
            values[one] = np.log(at[one])
            values[~one] = log_rising(at[~one], count[~one, None])
            place = self.function[part], np.arange(len(count))
            sums = sparse.csr_array(
                (self.times[part], place), shape=(self.n_functions, len(count)), dtype=np.float64
            )
            result += sums @ values
        return result


_Terms = tuple[Integers, Integers, Floats, Floats, Floats, Floats]


def _joined(parts: Sequence[_Terms], n_functions: int) -> RisingSums:
    function, argument, weight, start, count, times = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return RisingSums(function, argument, weight, start, count, times, n_functions)


def _terms(
    function: ArrayLike,
    argument: ArrayLike,
    count: ArrayLike,
    *,
    weight: ArrayLike = 1.0,
    start: ArrayLike = 0.0,
    times: ArrayLike = 1.0,
) -> _Terms:
    """The terms of the cells that hold tokens; one number stands for all cells."""
    tokens = np.asarray(count, np.float64)
    kept = tokens > 0

    def column(values: ArrayLike, kind: type) -> NDArray:
        return np.broadcast_to(np.asarray(values, kind), tokens.shape)[kept]

    whole = column(function, np.int64), column(argument, np.int64)
    return (
        *whole,
        column(weight, np.float64),
        column(start, np.float64),
        tokens[kept],
        column(times, np.float64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The collapsed likelihood of one order as a function of its parameters' logarithms.

    Attributes
    ----------
    order
        0, 1 or 2.
    units
        The layers, gaps or triples.
    scored
        Which units count where orders are compared `[unit]`: those whose targets every order predicts.
    column_unit, column_target
        Of each log alpha, its unit and target state `[column]`; empty but for order 1, where rows of a gap share
        a base measure that is unknown itself. The arguments are the columns' log alpha, then the units' log
        strength.
    backing, bases
        Of each unit of order 2, what its rows back off to: alpha `[target]` of order 1, and with the counts its
        posterior mean `[parent, target]`.
    """

    order: int
    units: tuple[Cells, ...]
    scored: NDArray[np.bool_]
    column_unit: Integers
    column_target: Integers
    backing: tuple[Floats, ...] = ()
    bases: tuple[Floats, ...] = ()

    @property
    def n_arguments(self) -> int:
        return len(self.column_unit) + len(self.units)

    def arguments(self, unit: int) -> Integers:
        """Which arguments a unit's likelihood takes: those of its columns, if any, then its strength."""
        return np.append(np.flatnonzero(self.column_unit == unit), len(self.column_unit) + unit)

    def sums(self) -> RisingSums:
        """One function per argument; their sum is the log probability of all tokens in nats."""
        parts = []
        for unit, cells in enumerate(self.units):
            row, target, count = cells.pooled()
            own = len(self.column_unit) + unit
            argument, weight = self._of_cells(unit, row, target)
            parts.append(_terms(argument, argument, count, weight=weight))
            totals, times = np.unique(cells.row_totals().sum(axis=0), return_counts=True)
            parts.append(_terms(own, own, totals, times=-times))
        return _joined(parts, self.n_arguments)

    def left_out(self, unit: int) -> RisingSums:
        """Log probability of each bundle's tokens of a unit given all other bundles' tokens.

        Function `argument * n_bundles + bundle` holds an argument's part; arguments are numbered as in
        `arguments`.
        """
        cells = self.units[unit]
        bundles, rows, width = cells.n_bundles, len(cells.parent), cells.width
        _, place = np.unique(cells.row * width + cells.target, return_inverse=True)
        others, totals = np.bincount(place, cells.count)[place] - cells.count, cells.row_totals()
        argument = cells.target if self.order == 1 else np.zeros_like(cells.target)
        weight: ArrayLike = 1.0 / width if self.order == 0 else 1.0
        if self.order == 2:
            base = self._base_without(unit)
            weight = base[cells.bundle, cells.parent[cells.row], cells.target]
        parts = [
            _terms(argument * bundles + cells.bundle, argument, cells.count, weight=weight, start=others)
        ]
        own = len(self.arguments(unit)) - 1
        bundle = np.broadcast_to(np.arange(bundles)[:, None], (bundles, rows))
        rest = totals.sum(axis=0) - totals
        parts.append(_terms(own * bundles + bundle, own, totals, start=rest, times=-1.0))
        return _joined(parts, (own + 1) * bundles)

    def _of_cells(self, unit: int, row: Integers, target: Integers) -> tuple[Integers, ArrayLike]:
        """The argument and the weight of each pooled cell."""
        own = self.arguments(unit)
        if self.order == 1:
            return own[target], 1.0
        cells = self.units[unit]
        weight = 1.0 / cells.width if self.order == 0 else self.bases[unit][cells.parent[row], target]
        return np.full(len(row), own[-1]), weight

    def _base_without(self, unit: int) -> Floats:
        """The same without each bundle's tokens, `[bundle, parent, target]`."""
        tables = self._middle(unit)
        return transition_posterior(tables.sum(axis=0) - tables, self.backing[unit]).mean

    def _middle(self, unit: int) -> Integers:
        """Counts `[bundle, parent, target]` of an order-2 unit's last gap."""
        cells = self.units[unit]
        parents = int(cells.parent.max(initial=-1)) + 1
        key = (cells.bundle * parents + cells.parent[cells.row]) * cells.width + cells.target
        counts = np.bincount(key, cells.count, cells.n_bundles * parents * cells.width)
        return counts.astype(np.int64).reshape(cells.n_bundles, parents, cells.width)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Functions of one number on a grid: polynomials of degree 5 between its points, straight lines outside.

    Attributes
    ----------
    coefficients
        `[function, interval, 6]`, of rising powers of (v - the interval's start).
    slope
        At the two ends `[function, 2]`.
    low, high, step
    """

    coefficients: Floats
    slope: Floats
    low: float
    high: float
    step: float


def tabulate(sums: RisingSums, low: float = LOW, high: float = HIGH, step: float = STEP) -> Curves:
    """Every function as a quintic spline through its exact values on a grid.

    The functions are smooth: they add up log(1 + e^(v - a)) for different a, whose poles are pi away from the
    real line. The error of the spline falls with the sixth power of the step.
    """
    grid = low + step * np.arange(round((high - low) / step) + 1)
    arguments = int(sums.argument.max()) + 1 if len(sums.argument) else 0
    values = sums(np.broadcast_to(grid, (max(arguments, sums.n_functions), len(grid))))
    spline = interpolate.make_interp_spline(grid, values, k=5, axis=1)
    # The spline's own pieces join several steps at the ends; each step gets the piece that it lies in.
    faculty = special.factorial(np.arange(6))
    pieces = np.stack([spline(grid[:-1], nu=power) for power in range(6)], axis=-1) / faculty
    slope = spline(grid[[0, -1]], nu=1)
    return Curves(read_only(pieces), read_only(slope), low, high, step)


def evidence(order: int, units: Sequence[Cells], scored: NDArray[np.bool_]) -> Evidence:
    """The collapsed likelihood of one order; the law that order 2 backs off to is fitted by empirical Bayes."""
    columns = [(unit, target) for unit, cells in enumerate(units) for target in range(cells.width)]
    column = np.array(columns if order == 1 else np.empty((0, 2)), dtype=np.int64).reshape(-1, 2)
    bare = Evidence(order, tuple(units), scored, column[:, 0], column[:, 1])
    if order < 2:
        return bare
    middles = [bare._middle(unit).sum(axis=0) for unit in range(len(units))]
    # Of a gap without tokens nothing follows, whatever its prior.
    backing = tuple(fit_concentration(rows) if rows.any() else np.ones(rows.shape[1]) for rows in middles)
    bases = tuple(transition_posterior(rows, a).mean for rows, a in zip(middles, backing, strict=True))
    return Evidence(order, tuple(units), scored, column[:, 0], column[:, 1], backing, bases)


def chain_evidence(
    first: NDArray[np.int64], tables: Sequence[NDArray[np.int64]], triples: Sequence[Strata]
) -> tuple[Evidence, ...]:
    """The orders' likelihoods on the same tokens.

    Where there are triples, all that comes after the first gap is counted from them alone: tokens that lack a
    choice, or documents that no triple was taken of, would be known to one order and not to another.
    """
    used = _bundles(first, tables, triples)
    layers = [_of_table(first[:, None, :], used)]
    layers += [_of_table(table.sum(axis=1)[:, None, :], used) for table in tables[:1]]
    gaps = [_of_table(table, used) for table in tables[:1]]
    chains = [_of_strata(strata, used) for strata in triples]
    for cells in chains:
        nothing = np.zeros_like(cells.row)
        gaps.append(_coarser(cells, cells.parent[cells.row], int(cells.parent.max(initial=-1)) + 1))
        layers.append(_coarser(cells, nothing, 1))
    from_third = 2 if triples else 1
    found = [evidence(0, layers, np.arange(len(layers)) >= from_third)]
    found.append(evidence(1, gaps, np.arange(len(gaps)) >= from_third - 1))
    if chains:
        found.append(evidence(2, chains, np.ones(len(chains), bool)))
    return tuple(found)


def _bundles(first: NDArray, tables: Sequence[NDArray], triples: Sequence[Strata]) -> Integers:
    """The bundle of every group `[group]`; groups that hold no token get one too, and add nothing."""
    seen = first.any(axis=1)
    for table in tables:
        seen |= table.any(axis=(1, 2))
    place = np.cumsum(seen) - 1
    return np.maximum(place, 0) % min(MOST_BUNDLES, max(1, int(seen.sum())))


def _of_table(table: NDArray, bundle: Integers) -> Cells:
    group, row, target = np.nonzero(table)
    count = table[group, row, target].astype(np.int64)
    rows = np.arange(table.shape[1])
    return _merged(row, target, bundle[group], count, rows, table.shape[2], int(bundle.max()) + 1)


def _of_strata(strata: Strata, bundle: Integers) -> Cells:
    seen, row = np.unique(strata.stratum * strata.n_source + strata.source, return_inverse=True)
    parent, own = seen // strata.n_source, bundle[strata.group]
    return _merged(row, strata.target, own, strata.count, parent, strata.n_target, int(bundle.max()) + 1)


def _coarser(cells: Cells, row: Integers, n_rows: int) -> Cells:
    """The same tokens with fewer rows."""
    rows = np.arange(n_rows)
    return _merged(row, cells.target, cells.bundle, cells.count, rows, cells.width, cells.n_bundles)


def _merged(
    row: Integers,
    target: Integers,
    bundle: Integers,
    count: Integers,
    parent: Integers,
    width: int,
    n_bundles: int,
) -> Cells:
    key = (row * width + target) * n_bundles + bundle
    key, place = np.unique(key, return_inverse=True)
    rest, own = np.divmod(key, n_bundles)
    row, target = np.divmod(rest, width)
    return Cells(row, target, own, np.bincount(place, count).astype(np.int64), parent, width, n_bundles)


def closed_form(evidence: Evidence) -> tuple[Floats, Floats]:
    """Empirical Bayes of every unit by itself: log strengths `[unit]` and log alphas `[column]`, NaN without tokens."""
    strengths = np.full(len(evidence.units), np.nan)
    alphas = np.full(len(evidence.column_unit), np.nan)
    for unit, cells in enumerate(evidence.units):
        row, target, count = cells.pooled()
        if not len(count):
            continue
        if evidence.order == 1:
            alpha = fit_concentration(cells.table())
            alphas[evidence.arguments(unit)[:-1]] = np.log(alpha)
            strengths[unit] = np.log(alpha.sum())
            continue
        _, weight = evidence._of_cells(unit, row, target)
        base = np.broadcast_to(weight, count.shape)
        strengths[unit] = np.log(fit_strength(count, base, cells.row_totals().sum(axis=0)))
    return read_only(strengths), read_only(alphas)


def left_out_log_likelihood(evidence: Evidence, v: Floats) -> Floats:
    """Log probability of each bundle of groups given all others, over the scored units: `[draw, bundle]` in nats.

    Exact given the parameters: in the collapsed model the tokens of the other bundles act as more prior. What
    order 2 backs off to is worked out without the bundle too.

    Parameters
    ----------
    v
        Draws of the arguments `[draw, argument]`.

    Notes
    -----
    Every function of one number is evaluated at Chebyshev nodes across its draws and interpolated: poles lie pi
    off the real line, so that the error falls geometrically and is kept below rounding.
    """
    result = np.zeros((len(v), evidence.units[0].n_bundles))
    for unit in np.flatnonzero(evidence.scored).tolist():
        own, sums = v[:, evidence.arguments(unit)], evidence.left_out(unit)
        middle = (own.max(axis=0) + own.min(axis=0)) / 2
        reach = np.maximum((own.max(axis=0) - own.min(axis=0)) / 2, 1e-9)
        used = np.unique(sums.argument)
        if not len(used):
            continue
        nodes = _nodes(float(reach[used].max()))
        at = np.polynomial.chebyshev.chebpts1(nodes)
        values = sums(middle[:, None] + reach[:, None] * at)
        inverse = np.linalg.inv(np.polynomial.chebyshev.chebvander(at, nodes - 1))
        for argument in used.tolist():
            place = np.polynomial.chebyshev.chebvander(
                (own[:, argument] - middle[argument]) / reach[argument], nodes - 1
            )
            part = values[argument * result.shape[1] :][: result.shape[1]]
            result += place @ (inverse @ part.T)
    return result


def _nodes(reach: float) -> int:
    """Chebyshev nodes for an error of 1e-12 of a function with poles at +-pi i on an interval of +-`reach`."""
    ellipse = math.pi / reach + math.sqrt(1 + (math.pi / reach) ** 2)
    return int(np.clip(math.ceil(math.log(1e12) / math.log(ellipse)), 8, 96))


def table_statistics(order: int, counts: Integers, parent: Integers) -> Floats:
    """STATISTICS of a table `[row, target]`.

    What the row tells of the target in bits (at order 2: beyond its parent; at order 0 the target's entropy), all
    plug-in; how many cells were seen; and the share of tokens that have their row's commonest target.
    """
    n = max(int(counts.sum()), 1)
    backs_to = np.zeros_like(parent) if order < 2 else parent
    coarse = np.zeros((backs_to.max(initial=0) + 1, counts.shape[1]))
    np.add.at(coarse, backs_to, counts)
    information = _entropy_nats(coarse) - (0.0 if order == 0 else _entropy_nats(counts))
    largest = counts.max(axis=1, initial=0).sum()
    return np.array([information / n / math.log(2), np.count_nonzero(counts), largest / n])


def _entropy_nats(counts: ArrayLike) -> float:
    """Sum over the rows of their tokens times the plug-in entropy of their targets."""
    cells = np.asarray(counts, np.float64)
    rows = cells.sum(axis=1)
    return float(special.xlogy(rows, rows).sum() - special.xlogy(cells, cells).sum())


def row_alpha(evidence: Evidence, unit: int, v: Floats) -> Floats:
    """The prior `[row, target]` of a unit's rows at one draw `[argument]`."""
    cells, own = evidence.units[unit], v[evidence.arguments(unit)]
    shape = len(cells.parent), cells.width
    if evidence.order == 1:
        return np.broadcast_to(np.exp(own[:-1]), shape)
    if evidence.order == 0:
        return np.full(shape, math.exp(own[-1]) / cells.width)
    return math.exp(own[-1]) * evidence.bases[unit][cells.parent]


def new_tables(alpha: Floats, lengths: Integers, rng: np.random.Generator) -> Integers:
    """Tables `[..., row, target]` of the given row lengths, all of one law drawn from Dirichlet(alpha) `[row, target]`.

    With the prior's alpha, new rows; with the posterior's, new tokens of the same rows, alike in every bundle.
    """
    return rng.multinomial(lengths, draw_rows(alpha, rng))


def dispersion(tables: Integers) -> float:
    """Pearson's X2 of `[bundle, row, target]` against the same law of the rows in every bundle."""
    pooled, lengths = tables.sum(axis=0), tables.sum(axis=2, keepdims=True)
    n = pooled.sum(axis=1, keepdims=True)
    share = np.divide(tables.astype(np.float64) ** 2, lengths, out=np.zeros(tables.shape), where=lengths > 0)
    parts = np.divide(share.sum(axis=0) * n, pooled, out=np.zeros(pooled.shape), where=pooled > 0)
    return float(parts.sum() - n.sum())
