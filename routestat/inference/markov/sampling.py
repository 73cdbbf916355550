"""New tokens drawn from the fitted chain: the choice of each in every layer."""

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.special import SMALLEST_ALPHA
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.markov.chain import Chain
from routestat.inference.markov.row_posteriors import row_posteriors
from routestat.inference.smoothing.posterior import draw_rows
from routestat.progress import Progress
from routestat.traces.alphabet import smallest_unsigned
from routestat.traces.categorical import categorical

PARAMETERS = ("drawn", "mean")


def draw_states(
    chain: Chain,
    n_tokens: int,
    rng: np.random.Generator,
    parameters: str = "drawn",
    *,
    progress: Progress = lambda done, total: None,
) -> NDArray[np.unsignedinteger]:
    """Draw states ``[token, layer]`` of new tokens, each gap by its own order.

    Tokens are independent given the parameters: a chain over depth does not model the dependence between tokens, so
    that documents made of such tokens differ by chance alone.

    Parameters
    ----------
    chain : Chain
        In the state view.
    n_tokens : int
    rng : numpy.random.Generator
    parameters : {"drawn", "mean"}
        "drawn": the probabilities are drawn once from their posterior, the same for all tokens, so that draws with
        different generators vary with the posterior uncertainty of the chain; counts are divided by the design
        effect (the first layer has that of the first gap). "mean": the posterior means.
    progress : callable(layers_done, layers_in_all), optional

    Returns
    -------
    unsigned array ``[token, layer]``
        Contiguous layer by layer; in the narrowest type that also has a value for *missing*, which does not occur.

    Raises
    ------
    RoutestatError
        For a chain of experts, a layer without data, or parameters that are neither.
    """
    if chain.states != "subset":
        raise RoutestatError(
            "draw_states needs a chain of states; chains of experts are drawn by their factorised form"
        )
    if parameters not in PARAMETERS:
        raise RoutestatError(f"parameters: expected drawn or mean, got {parameters!r}")
    if isinstance(n_tokens, bool) or not isinstance(n_tokens, int | np.integer) or n_tokens < 1:
        raise RoutestatError(f"n_tokens: expected a whole number from 1 on, got {n_tokens}")
    if not isinstance(rng, np.random.Generator):
        raise RoutestatError("rng: expected a numpy Generator; use np.random.default_rng(seed)")
    require_data(chain)
    own = rng if parameters == "drawn" else None
    widths = [len(chain.first), *(table.shape[1] for table in chain.counts)]
    states = np.empty((len(widths), n_tokens), smallest_unsigned(max(widths) + 1))
    worth = chain.design_effects[0] if chain.design_effects else 1.0
    weight = chain.priors[0].sum() + chain.first.sum() / worth
    first = _rows(chain.initial[None], np.array([weight]), own)
    states[0] = categorical(first, np.zeros(n_tokens, np.intp), rng)
    progress(1, len(widths))
    for gap in range(len(chain.counts)):
        mean, weights, context = _step(chain, gap, states)
        # Rows are independent of each other, so those that no token uses need not be drawn.
        met, row = np.unique(context, return_inverse=True)
        states[gap + 1] = categorical(_rows(mean[met], weights[met], own), row, rng)
        progress(gap + 2, len(widths))
    return read_only(states.T)


def require_data(chain: Chain) -> None:
    """Refuse a chain with a step without tokens, whose distribution would be the prior's alone.

    Raises
    ------
    RoutestatError
        Naming the first such layer.
    """
    if not chain.first.any():
        raise RoutestatError(f"layer {chain.layers[0]} holds no data: no token's choice there is known")
    for gap, table in enumerate(chain.counts):
        if not table.any():
            raise RoutestatError(
                f"layer {chain.layers[gap + 1]}: no token has a choice there and in layer {chain.layers[gap]}; "
                "the step has no data"
            )


def _step(
    chain: Chain, gap: int, states: NDArray[np.unsignedinteger]
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Mean rows ``[context, target]`` of a gap, their weights in tokens, and the context of each token."""
    rows = row_posteriors(chain, gap)
    source = states[gap].astype(np.intp)
    context = source if rows.order else np.zeros_like(source)
    if rows.order == 2:
        context = states[gap - 1].astype(np.intp) * len(chain.counts[gap]) + source
    return rows.distribution.reshape(-1, rows.distribution.shape[-1]), rows.weight.ravel(), context


def _rows(mean: Floats, weight: Floats, rng: np.random.Generator | None) -> Floats:
    """Return the rows ``[context, target]``: drawn from their posterior with `rng`, else their means."""
    if rng is None:
        return mean
    return draw_rows(np.maximum(weight[:, None] * mean, SMALLEST_ALPHA), rng)
