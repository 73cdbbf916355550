"""How probable whole bundles of documents are to a chain that knows all other documents."""

import math

import numpy as np

from routestat.inference.base.tables import Floats
from routestat.inference.bayes.likelihood import Evidence
from routestat.inference.bayes.rising_sums import RisingSums, joined, terms

#: Chebyshev nodes at the fewest and at the most, and the error that they are to keep to.
FEWEST_NODES, MOST_NODES, ERROR = 8, 96, 1e-12


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


def left_out_sums(evidence: Evidence, unit: int) -> RisingSums:
    """Log probability of each bundle's tokens of a unit given all other bundles' tokens, in nats.

    Function `argument * n_bundles + bundle` holds an argument's part; arguments are numbered as in
    `Evidence.arguments`.
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
    """Chebyshev nodes that suffice for a function with poles at +-pi i on an interval of +-`reach`."""
    ellipse = math.pi / reach + math.sqrt(1 + (math.pi / reach) ** 2)
    return int(np.clip(math.ceil(math.log(1 / ERROR) / math.log(ellipse)), FEWEST_NODES, MOST_NODES))
