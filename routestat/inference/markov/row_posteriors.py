"""The rows of a fitted step: their distributions and their weights in independent tokens (see `row_weight`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routestat.inference.base.tables import Floats
from routestat.inference.markov.chain import Chain
from routestat.inference.smoothing.design_effect import row_weight


@dataclass(frozen=True, slots=True, eq=False)
class RowPosteriors:
    """The posterior of each row, Dirichlet(weight · distribution).

    Attributes
    ----------
    distribution : float array ``[…, target]``
    weight : float array ``[…]``
        In independent tokens.
    n_tokens : float array ``[…]``
        Tokens of each row beside its prior.
    order : int
        Of the step.
    """

    distribution: Floats
    weight: Floats
    n_tokens: Floats
    order: int


def row_posteriors(chain: Chain, gap: int, order: int | None = None) -> RowPosteriors:
    """Return all rows of one step: of order 2 ``[before, source]``, of order 1 ``[source]``, of order 0 ``[1]``.

    Parameters
    ----------
    chain : Chain
        In the state view.
    gap : int
    order : int, optional
        The step's own unless given; a step without counts of order 2 has order 1 at most.
    """
    worth, second, table = chain.design_effects[gap], chain.second[gap], chain.counts[gap]
    wanted = chain.orders[gap] if order is None else order
    total = np.array([table.sum()])
    if wanted == 0:
        return RowPosteriors(
            chain.own_distribution(gap)[None], chain.own_prior(gap).sum() + total / worth, total, 0
        )
    n = table.sum(axis=1)
    prior = float(chain.priors[gap + 1].sum())
    first = row_weight(chain.alpha, prior, total / worth, n / worth)
    if wanted == 1 or second is None:
        return RowPosteriors(chain.transition(gap), first, n, 1)
    counts = second.dense()
    n2 = counts.sum(axis=2)
    weight = row_weight(chain.alpha, second.weights(counts), first[None, :], n2 / worth)
    return RowPosteriors(second.distributions(counts), weight, n2, 2)


def row_posterior(chain: Chain, gap: int, states: Sequence[int]) -> RowPosteriors:
    """Return the row of the layer after `gap` given the last choices, as far as these and the step's order go."""
    second, worth = chain.second[gap], chain.design_effects[gap]
    if chain.orders[gap] < 2 or second is None or len(states) < 2:
        rows = row_posteriors(chain, gap, min(chain.orders[gap], 1))
        at = states[-1] if rows.order else 0
        return RowPosteriors(rows.distribution[at], rows.weight[at], rows.n_tokens[at], rows.order)
    before, source = states[-2:]
    n = second.row(before, source).sum()
    # The base of order 2 is the row of order 1, whose weight bounds that of the base.
    base = row_posteriors(chain, gap, 1).weight[source]
    weight = row_weight(chain.alpha, second.weight(before, source), base, n / worth)
    return RowPosteriors(second.distribution(before, source), weight, n, 2)
