"""Predictions of the fitted chain from a history: of the next layer, or of one some layers on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.inference.base.special import SMALLEST_ALPHA
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.markov.chain import Chain, Prediction
from routestat.inference.markov.row_posteriors import RowPosteriors, row_posterior, row_posteriors
from routestat.inference.smoothing.posterior import beta_interval, draw_rows

DRAWS = 400
# Sources less probable than this move no interval: their rows stay at their mean.
NEGLIGIBLE = 1e-6


def predict_ahead(
    chain: Chain,
    layer: int,
    history: Sequence[int],
    *,
    ahead: int = 1,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
    draws: int = DRAWS,
    events: ArrayLike | None = None,
    most: int | None = None,
) -> Prediction:
    """Predict the layer `ahead` layers after `layer`, given the choices of the last layers.

    As many layers of the history are used as the order of the chain; with a shorter history the prediction is that of
    the lower order. Choices that were never observed together have the prediction of the back-off. A layer further
    ahead is predicted from the last choice by the table of the two layers, where the chain has it, and else by the
    product of the steps between them.

    Parameters
    ----------
    chain : Chain
        In the state view.
    layer : int
        The layer of the last choice in `history`.
    history : sequence of int
        States of consecutive layers of the chain, the oldest first; one at least.
    ahead : int
        Layers of the chain to look ahead.
    level : float
        Of the credible intervals: exact Beta margins, quantiles of `draws` posterior chains where steps are multiplied.
    rng : numpy.random.Generator, optional
        Needed where steps are multiplied.
    events : bool array ``[target, event]``, optional
        Sets of states whose probabilities are returned instead of those of the states, such as
        `routestat.traces.alphabet.Alphabet.membership`, the states that contain an expert. The probability of a set
        has a Beta distribution too.
    most : int, optional
        Compute exact limits for so many of the most probable only; the others are NaN. Limits take most of the time.

    Raises
    ------
    RoutestatError
        If the layer, a state or the target does not exist, or the history reaches before the first layer.
    """
    if chain.states != "subset":
        raise RoutestatError(
            "predict_ahead needs a chain of states; chains of experts have predict and their factorised form"
        )
    gap = chain.gap_after(layer)
    states = _checked(chain, gap, history)
    if not isinstance(ahead, int | np.integer) or ahead < 1:
        raise RoutestatError(f"ahead: expected a number of layers from 1 on, got {ahead}")
    if gap + ahead > len(chain.counts):
        raise RoutestatError(
            f"{ahead} layers after layer {layer} there is none: the chain ends at layer {chain.layers[-1]}"
        )
    sets = None if events is None else _events(events, chain, gap + ahead)
    step, target = chain.direct.get((gap, gap + ahead)), chain.layers[gap + ahead]
    if step is not None:
        mean, weight, n = step.row(chain.alpha, states[-1])
        mean, low, high = _exact(mean, weight, sets, level, most)
        return Prediction(mean, low, high, n, level, target, 1, chain.note, step.design_effect, direct=True)
    row, worth = row_posterior(chain, gap, states), chain.design_effects[gap]
    n = int(row.n_tokens)
    if ahead == 1:
        mean, low, high = _exact(row.distribution, float(row.weight), sets, level, most)
        return Prediction(mean, low, high, n, level, target, row.order, chain.note, worth)
    if rng is None:
        raise RoutestatError("rng: expected a numpy Generator for more than one layer ahead, got none")
    steps = [row_posteriors(chain, here) for here in range(gap + 1, gap + ahead)]
    start = len(chain.counts[gap]), states[-1], row
    mean = _propagate(steps, *start, None)
    drawn = np.array([_propagate(steps, *start, rng) for _ in range(draws)])
    if sets is not None:
        mean, drawn = mean @ sets, drawn @ sets
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Prediction(
        read_only(mean), read_only(low), read_only(high), n, level, target, row.order, chain.note, worth
    )


def _exact(
    mean: Floats, weight: float, sets: Floats | None, level: float, most: int | None
) -> tuple[Floats, Floats, Floats]:
    """Return means and limits of states, or of sets of states, whose distribution is Dirichlet(weight · mean)."""
    found = mean.copy() if sets is None else np.minimum(mean @ sets, 1.0)
    best = np.argsort(-found, kind="stable")[:most]
    limits = np.full((2, len(found)), np.nan)
    limits[:, best] = beta_interval(weight * found[best], weight * (1.0 - found[best]), level)
    return read_only(found), read_only(limits[0]), read_only(limits[1])


def _events(events: ArrayLike, chain: Chain, place: int) -> Floats:
    found, size = np.asarray(events, np.float64), chain.counts[place - 1].shape[1]
    if found.ndim != 2 or len(found) != size or not np.isin(found, (0.0, 1.0)).all():
        raise RoutestatError(
            f"events: expected true or false for each of {size} states and each event, got {found.shape}"
        )
    return found


def _checked(chain: Chain, gap: int, history: Sequence[int]) -> list[int]:
    if not len(history):
        raise RoutestatError("history: expected one choice at least, got none")
    if len(history) > gap + 1:
        raise RoutestatError(
            f"history: {len(history)} choices up to layer {chain.layers[gap]} reach before the first layer, "
            f"{chain.layers[0]}"
        )
    states = []
    for back, state in enumerate(reversed(list(history))):
        place = gap - back
        size = len(chain.first) if place == 0 else chain.counts[place - 1].shape[1]
        if not isinstance(state, int | np.integer) or not 0 <= state < size:
            raise RoutestatError(
                f"state {state} is out of range: layer {chain.layers[place]} has 0 … {size - 1}"
            )
        states.append(int(state))
    return states[::-1]


def _propagate(
    steps: Sequence[RowPosteriors],
    n_sources: int,
    source: int,
    row: RowPosteriors,
    rng: np.random.Generator | None,
) -> Floats:
    """Compute the distribution after all steps: of one posterior draw of the chain with `rng`, else of the mean."""
    joint = np.zeros((n_sources, row.distribution.size))
    first = _drawn(row.distribution[None], np.array([float(row.weight)]), np.ones(1), rng)
    joint[source] = first[0]
    for step in steps:
        if step.distribution.ndim == 3:
            distributions = _drawn(step.distribution, step.weight, joint, rng)
            joint = np.einsum("xy,xyz->yz", joint, distributions)
        else:
            shares = joint.sum(axis=0)
            # In order 0 one row serves all sources.
            used = shares if len(step.distribution) == len(shares) else np.ones(1)
            joint = shares[:, None] * _drawn(step.distribution, step.weight, used, rng)
    return np.asarray(joint.sum(axis=0))


def _drawn(mean: Floats, weight: Floats, shares: Floats, rng: np.random.Generator | None) -> Floats:
    """Return the rows ``[…, target]``, those that matter drawn from their posterior."""
    if rng is None:
        return mean
    distributions, likely = mean.copy(), shares > NEGLIGIBLE
    distributions[likely] = draw_rows(np.maximum(weight[likely][:, None] * mean[likely], SMALLEST_ALPHA), rng)
    return distributions
