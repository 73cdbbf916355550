"""The routing chain with its probabilities integrated out: Dirichlet-multinomial rows, of order 0, 1 or 2.

The collapsed likelihood is a sum of functions of one parameter each: of every log alpha, and of every log strength.
They are tabulated once on a grid (`tabulated`), so that the cost of a sampler depends on the number of parameters and
not on that of tokens or cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.counting.strata import Strata
from routestat.inference.base.tables import Floats, Integers, read_only
from routestat.inference.bayes.counts import Cells, cells_of_strata, cells_of_table
from routestat.inference.bayes.tabulated import RisingSums, joined, terms
from routestat.inference.smoothing.backoff_strength import fit_strength
from routestat.inference.smoothing.concentration import fit_concentration
from routestat.inference.smoothing.posterior import transition_posterior

#: Groups are assigned to at most this many bundles, which are left out one at a time.
MOST_BUNDLES = 64


@dataclass(frozen=True, slots=True, eq=False)
class CollapsedLikelihood:
    """The collapsed likelihood of one order as a function of its parameters' logarithms.

    Attributes
    ----------
    order
        0, 1 or 2.
    units
        The layers, gaps or triples.
    scored
        Units that are scored in the comparison of orders `[unit]`: those whose targets every order predicts.
    column_unit, column_target
        Of each log alpha, its unit and target state `[column]`; empty but for order 1, where rows of a gap share
        an unknown base measure. The arguments are the columns' log alpha, then the units' log
        strength.
    backing, bases
        The base of each unit of order 2: alpha `[target]` of order 1, and with the counts its
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
        """Columns and units."""
        return len(self.column_unit) + len(self.units)

    @property
    def mean_width(self) -> float:
        """Target states of a unit, on average."""
        return float(np.mean([cells.width for cells in self.units]))

    def arguments(self, unit: int) -> Integers:
        """Return the arguments of a unit's likelihood: those of its columns, if any, then its strength."""
        return np.append(np.flatnonzero(self.column_unit == unit), len(self.column_unit) + unit)

    def sums(self) -> RisingSums:
        """Build one function per argument; their sum is the log probability of all tokens in nats."""
        parts = []
        for unit, cells in enumerate(self.units):
            row, target, count = cells.pooled()
            own = self.arguments(unit)
            argument = own[target] if self.order == 1 else np.full(len(row), own[-1])
            parts.append(terms(argument, argument, count, weight=self.share(unit, row, target)))
            totals, times = np.unique(cells.row_totals().sum(axis=0), return_counts=True)
            parts.append(terms(own[-1], own[-1], totals, times=-times))
        return joined(parts, self.n_arguments)

    def share(self, unit: int, row: Integers, target: Integers) -> ArrayLike:
        """Return the alpha of each cell over its argument's exponential: one number, or `[cell]`."""
        cells = self.units[unit]
        if self.order == 2:
            return self.bases[unit][cells.parent[row], target]
        return 1.0 if self.order == 1 else 1.0 / cells.width

    def bases_without(self, unit: int) -> Floats:
        """Compute the base of a unit of order 2 without each bundle's tokens, `[bundle, parent, target]`."""
        tables = self.units[unit].parent_tables()
        return transition_posterior(tables.sum(axis=0) - tables, self.backing[unit]).mean


def evidence(order: int, units: Sequence[Cells], scored: NDArray[np.bool_]) -> CollapsedLikelihood:
    """Build the collapsed likelihood of one order; the base of order 2 is fitted by empirical Bayes."""
    columns = [(unit, target) for unit, cells in enumerate(units) for target in range(cells.width)]
    column = np.array(columns if order == 1 else np.empty((0, 2)), dtype=np.int64).reshape(-1, 2)
    backing: tuple[Floats, ...] = ()
    bases: tuple[Floats, ...] = ()
    if order == 2:
        middles = [cells.parent_tables().sum(axis=0) for cells in units]
        # A triple of layers without tokens has the prior.
        backing = tuple(fit_concentration(rows) if rows.any() else np.ones(rows.shape[1]) for rows in middles)
        bases = tuple(transition_posterior(rows, a).mean for rows, a in zip(middles, backing, strict=True))
    return CollapsedLikelihood(order, tuple(units), scored, column[:, 0], column[:, 1], backing, bases)


def chain_evidence(
    first: NDArray[np.integer], tables: Sequence[NDArray[np.integer]], triples: Sequence[Strata]
) -> tuple[CollapsedLikelihood, ...]:
    """Build the orders' likelihoods on the same tokens.

    Where there are triples, everything after the first gap is counted from them alone, so that tokens that lack a
    choice, or documents without a triple, are used by no order.
    """
    used = _bundles(tables, triples)
    gaps = [cells_of_table(tables[0], used)]
    layers = [cells_of_table(first[:, None, :], used), gaps[0].of_one_row()]
    chains = [cells_of_strata(strata, used) for strata in triples]
    gaps += [cells.of_parents() for cells in chains]
    layers += [cells.of_one_row() for cells in chains]
    from_third = 2 if triples else 1
    found = [evidence(0, layers, np.arange(len(layers)) >= from_third)]
    found.append(evidence(1, gaps, np.arange(len(gaps)) >= from_third - 1))
    if chains:
        found.append(evidence(2, chains, np.ones(len(chains), bool)))
    return tuple(found)


def _bundles(tables: Sequence[NDArray[np.integer]], triples: Sequence[Strata]) -> Integers:
    """Assign a bundle to every group `[group]`; groups that hold scored tokens are assigned in turn.

    Others join the bundle of the group before them, because they would make bundles without a score.
    """
    seen = np.zeros(len(tables[0]), bool)
    for strata in triples:
        seen[strata.group] = True
    if not triples:
        seen |= tables[0].any(axis=(1, 2))
    place = np.cumsum(seen) - 1
    return np.maximum(place, 0) % min(MOST_BUNDLES, max(1, int(seen.sum())))


def closed_form(evidence: CollapsedLikelihood) -> tuple[Floats, Floats]:
    """Fit every unit by empirical Bayes: log strengths `[unit]` and log alphas `[column]`, NaN without tokens."""
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
        base = np.broadcast_to(evidence.share(unit, row, target), count.shape)
        strengths[unit] = np.log(fit_strength(count, base, cells.row_totals().sum(axis=0)))
    return read_only(strengths), read_only(alphas)


def mean_transitions(
    evidence: CollapsedLikelihood, log_alpha: Floats, tables: Sequence[NDArray[np.integer]]
) -> tuple[Floats, ...]:
    """Compute the posterior mean of every row of order 1 `[source, target]` per gap.

    (alpha + counts) / (strength + tokens), averaged over the draws.

    Parameters
    ----------
    log_alpha
        Draws `[draw, column]`.
    tables
        Counts `[group, source, target]` per gap.
    """
    alpha = np.exp(log_alpha)
    found = []
    for gap, table in enumerate(tables):
        own, pooled = alpha[:, evidence.column_unit == gap], table.sum(axis=0)
        share = 1.0 / (own.sum(axis=1)[:, None] + pooled.sum(axis=1))
        found.append(read_only(share.T @ own / len(own) + share.mean(axis=0)[:, None] * pooled))
    return tuple(found)
