"""Planted structure: blocks between layers, dependence of order 2 only, favourite paths."""

from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.traces.categorical import categorical
from routestat.traces.synthetic import distributions, exact
from routestat.traces.synthetic.chains import dense_size, run_chain, state_distributions
from routestat.traces.synthetic.frame import Frame, Shape, Synthetic, Truth, make_frame
from routestat.traces.synthetic.nulls import independent_states


def planted_blocks(
    *,
    coupling: float,
    rng: np.random.Generator,
    n_blocks: int = 4,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Generate block structure between adjacent layers: a token stays in its block with probability `coupling`.

    Blocks are of equal numbers of states (to within one), which ones is random in every layer. Inside a
    block states keep their popularity, so that states of one block differ in load but not in where they
    lead: biclusters corrected for degree.

    Returns
    -------
    Synthetic
        As `chain_given`; `planted`: ``coupling`` and ``labels`` ``[layer, state]``, which are both the row
        blocks of the gap after and the column blocks of the gap before.
    """
    frame = make_frame(rng, shape)
    coupling = distributions.check_share("coupling", coupling)
    base = state_distributions(frame, popularity, rng)
    n_states = dense_size(frame)
    if not 1 <= n_blocks <= n_states:
        raise RoutestatError(f"n_blocks must lie between 1 and the {n_states} states, got {n_blocks!r}")
    if np.any(base == 0):
        raise RoutestatError("blocks need every expert in use: give no popularity of 0")
    labels = rng.permuted(np.tile(np.arange(n_states) % n_blocks, (frame.n_layers, 1)), axis=1)
    inside = np.where(labels[:-1, :, None] == labels[1:, None, :], base[1:, None, :], 0.0)
    inside /= inside.sum(axis=2, keepdims=True)
    transitions = distributions.mix_in_independence(inside, base[1:, None, :], coupling)
    planted = {"coupling": coupling, "labels": labels}
    return run_chain("planted_blocks", frame, base[0], transitions, planted, rng)


def second_order(*, noise: float, rng: np.random.Generator, **shape: Unpack[Shape]) -> Synthetic:
    """Generate dependence of order 2 only: a state depends on the two layers before, and on neither alone.

    In hidden numbers X_{l+2} = X_l + X_{l+1} + e modulo K, where e is 0, or uniform with probability
    `noise`; the first two are uniform. A random relabelling per layer turns numbers into states. All states
    are equally frequent, and layers one or two apart are exactly independent. Layers three apart are so
    only if K is odd: X_{l+3} − X_l = 2 X_{l+1} + noise, and doubling keeps the parity when K is even.

    Parameters
    ----------
    noise : float
        Between 0 (a function) and 1 (independent layers).

    Returns
    -------
    Synthetic
        `mi_bits` are 0, `cmi_bits` exact; `planted`: ``noise``, ``relabelling`` ``[layer, hidden number]``
        and ``mi_three_apart_bits`` (one number, the same for all).
    """
    frame = make_frame(rng, shape)
    noise = distributions.check_share("noise", noise)
    n_states = dense_size(frame)
    relabelling = rng.permuted(np.tile(np.arange(n_states), (frame.n_layers, 1)), axis=1)
    states = frame.blank()
    hidden = rng.integers(n_states, size=(2, frame.n_tokens))
    for layer in range(frame.n_layers):
        states[layer] = relabelling[layer][hidden[0]]
        error = np.where(rng.random(frame.n_tokens) < noise, rng.integers(n_states, size=frame.n_tokens), 0)
        hidden = np.stack([hidden[1], (hidden[0] + hidden[1] + error) % n_states])
    cmi, three_apart = exact.second_order_information_bits(n_states, noise)
    truth = Truth(
        generator="second_order",
        marginals=np.full((frame.n_layers, n_states), 1 / n_states),
        mi_bits=np.zeros(frame.n_layers - 1),
        cmi_bits=np.full(max(frame.n_layers - 2, 0), cmi),
        planted={"noise": noise, "relabelling": relabelling, "mi_three_apart_bits": three_apart},
    )
    return frame.finish(states, truth)


def planted_paths(
    *,
    weight: float,
    rng: np.random.Generator,
    n_paths: int = 3,
    paths: ArrayLike | None = None,
    shares: ArrayLike | None = None,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Generate tokens that follow one of a few paths with probability `weight`, else independent layers.

    Parameters
    ----------
    weight : float
        Between 0 and 1, for all paths together.
    n_paths : int
        How many to draw at random, with no state in common in any layer; unused if `paths` are given.
    paths : integer array ``[path, layer]``, optional
        The states of each.
    shares : array ``[path]``, optional
        How the weight is split, summing to 1; equally if not given.
    popularity
        As in `independent`, for all other tokens.

    Returns
    -------
    Synthetic
        `mi_bits` and `cmi_bits` are exact: a token's past shows whether it is on a path, so layers form no
        chain. `planted`: ``popularity``, ``paths`` ``[path, layer]``, ``path_probability`` ``[path]`` (of
        being sent along it), ``occurrence_probability`` ``[path]`` (of showing it, by chance included; None
        if states cannot be listed) and ``follows`` ``[token]`` (which path a token was sent along, or −1).
    """
    frame = make_frame(rng, shape)
    weight = distributions.check_share("weight", weight)
    routes = _routes(frame, n_paths, paths, rng)
    split = np.full(len(routes), 1 / len(routes)) if shares is None else shares
    probability = weight * distributions.check_distribution("shares", split, (len(routes),))
    weights = distributions.expert_weights(popularity, frame.n_layers, frame.alphabet, rng)
    states, marginals = independent_states(frame, weights, rng)

    everyone = np.zeros(frame.n_tokens, dtype=np.int32)
    follows = categorical(np.append(probability, 1 - weight)[None], everyone, rng)
    on_path = np.flatnonzero(follows < len(routes))
    for layer in range(frame.n_layers):
        states[layer, on_path] = routes[follows[on_path], layer]
    follows[follows == len(routes)] = -1
    planted = {
        "popularity": weights,
        "paths": routes,
        "path_probability": probability,
        "occurrence_probability": None,
        "follows": follows,
    }
    if marginals is None:
        return frame.finish(states, Truth("planted_paths", planted=planted))
    rest = 1 - probability.sum()
    every = np.arange(frame.n_layers)
    mixed = rest * marginals
    np.add.at(mixed, (every, routes), probability[:, None])
    same = (routes[:, None, :] == routes[None, :, :]).all(axis=2)
    by_chance = rest * marginals[every, routes].prod(axis=1)
    planted["occurrence_probability"] = by_chance + same @ probability
    mi, cmi = exact.path_information_bits(marginals, routes.astype(np.intp), probability)
    return frame.finish(states, Truth("planted_paths", mixed, None, mi, cmi, planted))


def _routes(
    frame: Frame, n_paths: int, paths: ArrayLike | None, rng: np.random.Generator
) -> NDArray[np.unsignedinteger]:
    """Paths ``[path, layer]`` as given, checked, or drawn without common states."""
    alphabet = frame.alphabet
    if paths is None:
        if not 1 <= n_paths <= alphabet.size:
            raise RoutestatError(
                f"n_paths must lie between 1 and the {alphabet.size} states, got {n_paths!r}"
            )
        drawn = [rng.choice(alphabet.size, size=n_paths, replace=False) for _ in frame.layers]
        return np.stack(drawn, axis=1).astype(alphabet.dtype)
    given = np.asarray(paths)
    if given.ndim != 2 or given.shape[1] != frame.n_layers or not len(given) or given.dtype.kind not in "iu":
        raise RoutestatError(
            f"paths must be states [path, layer] for {frame.n_layers} layers, "
            f"got {given.dtype} of shape {given.shape}"
        )
    if np.any((given < 0) | (given >= alphabet.size)):
        raise RoutestatError(f"paths must hold states 0 … {alphabet.size - 1}")
    return given.astype(alphabet.dtype)
