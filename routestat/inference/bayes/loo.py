"""Leave-one-bundle-out likelihoods of whole documents, and PSIS-LOO between the orders."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.base.tables import Floats, Integers, read_only
from routestat.inference.bayes.likelihood import CollapsedLikelihood
from routestat.inference.bayes.results import OrderComparison
from routestat.inference.bayes.tabulated import RisingSums, joined, terms

#: Fewest and most Chebyshev nodes, and the tolerated error.
FEWEST_NODES, MOST_NODES, ERROR = 8, 96, 1e-12


def left_out_log_likelihood(evidence: CollapsedLikelihood, v: Floats) -> Floats:
    """Compute the log probability of each bundle of groups given all others, `[draw, bundle]` in nats.

    It is summed over the scored units and exact given the parameters: in the collapsed model the tokens of the other
    bundles add to the prior. The base of order 2 is computed without the bundle too.

    Parameters
    ----------
    v
        Draws of the arguments `[draw, argument]`.

    Notes
    -----
    Every function of one parameter is evaluated at Chebyshev nodes across its draws and interpolated: its poles lie
    at a distance pi from the real line, so that the error decreases geometrically and is below rounding.
    """
    result = np.zeros((len(v), evidence.units[0].n_bundles))
    for unit in np.flatnonzero(evidence.scored).tolist():
        own, sums = v[:, evidence.arguments(unit)], left_out_sums(evidence, unit)
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


def left_out_sums(evidence: CollapsedLikelihood, unit: int) -> RisingSums:
    """Build the log probability of each bundle's tokens of a unit given all other bundles' tokens, in nats.

    Function `argument * n_bundles + bundle` holds an argument's part; arguments are numbered as in
    `CollapsedLikelihood.arguments`.
    """
    cells = evidence.units[unit]
    bundles, rows = cells.n_bundles, len(cells.parent)
    _, place = np.unique(cells.row * cells.width + cells.target, return_inverse=True)
    others, totals = np.bincount(place, cells.count)[place] - cells.count, cells.row_totals()
    argument = cells.target if evidence.order == 1 else np.zeros_like(cells.target)
    weight = evidence.share(unit, cells.row, cells.target)
    if evidence.order == 2:
        weight = evidence.bases_without(unit)[cells.bundle, cells.parent[cells.row], cells.target]
    function = argument * bundles + cells.bundle
    parts = [terms(function, argument, cells.count, weight=weight, start=others)]
    own = len(evidence.arguments(unit)) - 1
    bundle = np.broadcast_to(np.arange(bundles)[:, None], (bundles, rows))
    rest = totals.sum(axis=0) - totals
    parts.append(terms(own * bundles + bundle, own, totals, start=rest, times=-1.0))
    return joined(parts, (own + 1) * bundles)


def _nodes(reach: float) -> int:
    """Return the Chebyshev nodes that suffice for a function with poles at +-pi i on an interval of +-`reach`."""
    ellipse = math.pi / reach + math.sqrt(1 + (math.pi / reach) ** 2)
    return int(np.clip(math.ceil(math.log(1 / ERROR) / math.log(ellipse)), FEWEST_NODES, MOST_NODES))


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


def scored_tokens(evidence: CollapsedLikelihood) -> Integers:
    """Count the scored choices, tokens times layers, `[bundle]`; the same at every order."""
    kept = [cells for cells, use in zip(evidence.units, evidence.scored, strict=True) if use]
    return np.sum([cells.row_totals().sum(axis=1) for cells in kept], axis=0, dtype=np.int64)


def compare_orders(
    orders: Sequence[int], layers: tuple[int, ...], tokens: Integers, found: LeftOut
) -> OrderComparison:
    """Compare the orders with intervals over bundles and choose the lowest that no other clearly exceeds.

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
    # Without intervals no order can be chosen.
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
    """Return the comparison where all documents are in one group: undefined, with a reason."""
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
