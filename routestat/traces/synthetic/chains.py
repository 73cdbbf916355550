"""Markov chains of order 1 over depth, with random or given transition matrices."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.traces.categorical import categorical
from routestat.traces.synthetic import distributions, exact
from routestat.traces.synthetic.distributions import Floats
from routestat.traces.synthetic.frame import Frame, Shape, Synthetic, Truth, make_frame


def chain(
    *,
    coupling: float,
    rng: np.random.Generator,
    concentration: float = 0.5,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Generate a chain of order 1 over depth, with a random transition matrix for every gap.

    With probability `coupling` the next state follows a random distribution of the present state, else the
    layer's popularity; 0 makes layers independent.

    Parameters
    ----------
    coupling : float
        Between 0 and 1.
    concentration : float
        Dirichlet concentration per state of those distributions; the smaller, the more predictable.
    popularity
        As in `independent`.

    Returns
    -------
    Synthetic
        As `chain_given`; `planted`: ``coupling``.
    """
    frame = make_frame(rng, shape)
    coupling = distributions.check_share("coupling", coupling)
    alpha = distributions.check_positive("concentration", concentration)
    base = state_distributions(frame, popularity, rng)
    n_states = dense_size(frame)
    rows = rng.dirichlet(np.full(n_states, alpha), size=(frame.n_layers - 1, n_states))
    transitions = distributions.mix_in_independence(rows, base[1:, None, :], coupling)
    return run_chain("chain", frame, base[0], transitions, {"coupling": coupling}, rng)


def chain_given(
    *, initial: ArrayLike, transitions: ArrayLike, rng: np.random.Generator, **shape: Unpack[Shape]
) -> Synthetic:
    """Generate a chain of order 1 over depth with given distributions.

    Parameters
    ----------
    initial : array ``[state]``
        Distribution of the first layer.
    transitions : array ``[gap, source, target]``
        Rows sum to 1.

    Returns
    -------
    Synthetic
        The truth has `marginals`, `transitions`, `mi_bits` and `cmi_bits` (0).
    """
    frame = make_frame(rng, shape)
    n_states = dense_size(frame)
    first = distributions.check_distribution("initial", initial, (n_states,))
    tables = distributions.check_distribution(
        "transitions", transitions, (frame.n_layers - 1, n_states, n_states)
    )
    return run_chain("chain_given", frame, first, tables, {}, rng)


def run_chain(
    generator: str,
    frame: Frame,
    initial: Floats,
    transitions: Floats,
    planted: Mapping[str, Any],
    rng: np.random.Generator,
) -> Synthetic:
    """Draw the states of tokens layer by layer from `transitions` ``[gap, source, target]``."""
    states = frame.blank()
    states[0] = categorical(initial[None], np.zeros(frame.n_tokens, dtype=np.int32), rng)
    for gap, table in enumerate(transitions):
        states[gap + 1] = categorical(table, states[gap], rng)
    return frame.finish(states, chain_truth(generator, initial, transitions, planted))


def chain_truth(generator: str, initial: Floats, transitions: Floats, planted: Mapping[str, Any]) -> Truth:
    """Return the exact quantities of a chain with these `transitions` ``[gap, source, target]``."""
    marginals = exact.chain_marginals(initial, transitions)
    joints = zip(marginals, transitions, strict=False)
    return Truth(
        generator=generator,
        marginals=marginals,
        transitions=transitions,
        mi_bits=np.array([exact.mutual_information_bits(row[:, None] * table) for row, table in joints]),
        cmi_bits=np.zeros(max(len(marginals) - 2, 0)),
        planted=planted,
    )


def state_distributions(frame: Frame, popularity: float | ArrayLike, rng: np.random.Generator) -> Floats:
    """Compute distributions ``[layer, state]`` of random or given popularity."""
    dense_size(frame)
    weights = distributions.expert_weights(popularity, frame.n_layers, frame.alphabet, rng)
    return distributions.subset_distribution(weights, frame.alphabet.top_k)


def dense_size(frame: Frame) -> int:
    """Return the number of states, if tables of all their pairs are small enough."""
    if frame.alphabet.size > distributions.DENSE_STATES or not distributions.is_listable(frame.alphabet):
        raise RoutestatError(
            f"this generator lists all pairs of states, {frame.alphabet.size} are too many: use expert_chain"
        )
    return frame.alphabet.size
