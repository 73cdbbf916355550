"""Orders of a chain compared by what left-out documents say, bundle by bundle."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.base.tables import Floats, Integers, read_only
from routestat.inference.bayes.likelihood import Evidence
from routestat.inference.bayes.results import OrderComparison


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """PSIS-LOO of several orders, order by order.

    Attributes
    ----------
    terms
        Log probability of each bundle without itself `[order, bundle]`, in nats.
    pareto_k
        `[order, bundle]`.
    weight
        Pseudo-BMA weights `[order]`.
    good_k
    """

    terms: Floats
    pareto_k: Floats
    weight: Floats
    good_k: float


def scored_tokens(evidence: Evidence) -> Integers:
    """Choices that are scored, tokens times layers, `[bundle]`; the same at every order."""
    kept = [cells for cells, use in zip(evidence.units, evidence.scored, strict=True) if use]
    return np.sum([cells.row_totals().sum(axis=1) for cells in kept], axis=0, dtype=np.int64)


def compare_orders(
    orders: Sequence[int], layers: tuple[int, ...], tokens: Integers, found: LeftOut
) -> OrderComparison:
    """The comparison, with intervals over bundles; the lowest order is chosen that none clearly beats.

    Parameters
    ----------
    orders
        Rising.
    layers
        Whose choices are scored.
    tokens
        Choices scored `[bundle]`.
    """
    total = found.terms.sum(axis=1)
    best = int(np.argmax(total))
    elpd = tuple(ratio(row / math.log(2), tokens) for row in found.terms)
    behind = tuple(ratio((found.terms[best] - row) / math.log(2), tokens) for row in found.terms)
    # Without intervals no order is clearly behind another, nor shown not to be.
    why = elpd[best].reason
    least = next(place for place, item in enumerate(behind) if place == best or item.low <= 0)
    return OrderComparison(
        tuple(orders),
        read_only(total),
        elpd,
        behind,
        read_only(found.weight),
        read_only(found.pareto_k),
        found.good_k,
        None if why else orders[least],
        len(tokens),
        int(tokens.sum()),
        layers,
        why,
    )


def no_comparison(orders: Sequence[int], layers: tuple[int, ...], tokens: Integers) -> OrderComparison:
    """What is left to say where all documents are in one group."""
    why = "the orders cannot be compared: that needs at least 2 groups of documents, got 1"
    nan, bundles = math.nan, len(tokens)
    blank = (Estimate(nan, nan, nan, nan, bundles, why),) * len(orders)
    nothing = read_only(np.full(len(orders), nan))
    pareto_k = read_only(np.full((len(orders), bundles), nan))
    return OrderComparison(
        tuple(orders),
        nothing,
        blank,
        blank,
        nothing,
        pareto_k,
        nan,
        None,
        bundles,
        int(tokens.sum()),
        layers,
        why,
    )
