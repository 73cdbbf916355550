"""Posterior predictive checks of the chain: tables replicated from the posterior against the observed ones."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.inference.base.tables import Floats, Integers, read_only
from routestat.inference.bayes.likelihood import CollapsedLikelihood
from routestat.inference.bayes.results import Checks
from routestat.inference.smoothing.posterior import draw_rows

#: The statistics of replicated tables; see `table_statistics`.
STATISTICS = ("information_bits", "cells", "largest_share")
REPLICATES, BUNDLE_REPLICATES = 100, 40
#: Cells of the largest table that is replicated; larger ones would take hours.
MOST_CELLS = 5_000_000


def check(
    evidence: CollapsedLikelihood, arguments: Floats, rng: np.random.Generator
) -> tuple[Checks, Integers]:
    """Check one order; returns the checks and which draws of every chain they replicate.

    Parameters
    ----------
    arguments
        Draws of the evidence's arguments `[chain, draw, argument]`.
    """
    chains, draws, _ = arguments.shape
    kept = np.unique(np.linspace(0, draws - 1, max(1, REPLICATES // chains)).astype(np.int64))
    chosen = arguments[:, kept].reshape(chains * len(kept), -1)
    units = len(evidence.units)
    observed = np.full((len(STATISTICS), units), np.nan)
    replicated, above = np.full((len(STATISTICS), len(chosen), units), np.nan), observed.copy()
    effect, p_exchangeable = np.full(units, np.nan), np.full(units, np.nan)
    why = _incomparable(evidence)
    for unit, cells in enumerate(evidence.units):
        if not len(cells.count) or len(cells.parent) * cells.width > MOST_CELLS:
            continue
        observed[:, unit] = table_statistics(evidence.order, cells.table(), cells.parent)
        replicated[..., unit] = _replicate(evidence, unit, chosen, rng).T
        difference = replicated[..., unit] - observed[:, None, unit]
        above[:, unit] = (difference > 0).mean(axis=1) + (difference == 0).mean(axis=1) / 2
        if not why:
            effect[unit], p_exchangeable[unit] = _exchangeable(evidence, unit, chosen, rng)
    for array in (observed, replicated, above, effect, p_exchangeable):
        read_only(array)
    return Checks(STATISTICS, observed, replicated, above, effect, p_exchangeable, why), kept


def _incomparable(evidence: CollapsedLikelihood) -> str:
    """Return why bundles of documents cannot be compared with each other; empty if they can."""
    if evidence.order == 2:
        return "documents are compared at orders 0 and 1"
    return (
        "one group of documents: there is no other to compare it with"
        if evidence.units[0].n_bundles < 2
        else ""
    )


def _replicate(evidence: CollapsedLikelihood, unit: int, draws: Floats, rng: np.random.Generator) -> Floats:
    """Compute statistics `[draw, statistic]` of replicated tables with the observed row totals."""
    cells = evidence.units[unit]
    lengths, found = cells.row_totals().sum(axis=0), np.empty((len(draws), len(STATISTICS)))
    for place, v in enumerate(draws):
        table = new_tables(row_alpha(evidence, unit, v), lengths, rng)
        found[place] = table_statistics(evidence.order, table, cells.parent)
    return found


def _exchangeable(
    evidence: CollapsedLikelihood, unit: int, draws: Floats, rng: np.random.Generator
) -> tuple[float, float]:
    """Compute the dispersion of bundles relative to exchangeable tokens, and the p-value of that."""
    cells = evidence.units[unit]
    table, lengths = cells.table(), cells.row_totals()
    few = np.linspace(0, len(draws) - 1, BUNDLE_REPLICATES).astype(np.int64)
    found = dispersion(cells.tables())
    usual = np.array(
        [dispersion(new_tables(row_alpha(evidence, unit, v) + table, lengths, rng)) for v in draws[few]]
    )
    if not usual.mean() > 0:
        return math.nan, math.nan
    return float(found / usual.mean()), float((1 + (usual >= found).sum()) / (1 + len(usual)))


def table_statistics(order: int, counts: Integers, parent: Integers) -> Floats:
    """Compute the `STATISTICS` of a table `[row, target]`.

    The plug-in information of row and target in bits (at order 2 beyond the row's parent; at order 0 the target's
    entropy); the number of observed cells; and the share of tokens with their row's most frequent target.
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


def row_alpha(evidence: CollapsedLikelihood, unit: int, v: Floats) -> Floats:
    """Compute the prior `[row, target]` of a unit's rows at one draw `[argument]`."""
    cells, own = evidence.units[unit], v[evidence.arguments(unit)]
    shape = len(cells.parent), cells.width
    if evidence.order == 1:
        return np.broadcast_to(np.exp(own[:-1]), shape)
    if evidence.order == 0:
        return np.full(shape, math.exp(own[-1]) / cells.width)
    return math.exp(own[-1]) * evidence.bases[unit][cells.parent]


def new_tables(alpha: Floats, lengths: Integers, rng: np.random.Generator) -> Integers:
    """Draw tables `[..., row, target]` with given row totals and rows drawn once from Dirichlet(alpha) `[row, target]`.

    With the prior's alpha these are new rows; with the posterior's, new tokens of the same rows in every bundle.
    """
    return rng.multinomial(lengths, draw_rows(alpha, rng))


def dispersion(tables: Integers) -> float:
    """Compute Pearson's X2 of `[bundle, row, target]` against the same rows in every bundle."""
    pooled, lengths = tables.sum(axis=0), tables.sum(axis=2, keepdims=True)
    n = pooled.sum(axis=1, keepdims=True)
    share = np.divide(tables.astype(np.float64) ** 2, lengths, out=np.zeros(tables.shape), where=lengths > 0)
    parts = np.divide(share.sum(axis=0) * n, pooled, out=np.zeros(pooled.shape), where=pooled > 0)
    return float(parts.sum() - n.sum())
