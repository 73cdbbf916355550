"""Null distributions: independent layers, with popular, dead or clustered experts."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.traces.categorical import categorical
from routestat.traces.synthetic import distributions, exact
from routestat.traces.synthetic.distributions import Floats
from routestat.traces.synthetic.frame import Frame, Shape, Synthetic, Truth, make_frame


def independent(
    *, rng: np.random.Generator, popularity: float | ArrayLike = 5.0, **shape: Unpack[Shape]
) -> Synthetic:
    """Generate independent layers, each with its own popularity of experts.

    Parameters
    ----------
    popularity : float, or array ``[expert]`` or ``[layer, expert]``
        Weights for successive sampling without replacement; a number draws them per layer from a symmetric
        Dirichlet distribution with that concentration per expert.

    Returns
    -------
    Synthetic
        `planted`: ``popularity`` ``[layer, expert]``, as shares.
    """
    frame = make_frame(rng, shape)
    weights = distributions.expert_weights(popularity, frame.n_layers, frame.alphabet, rng)
    states, marginals = independent_states(frame, weights, rng)
    return frame.finish(states, independent_truth("independent", frame, marginals, {"popularity": weights}))


def dead_experts(
    *,
    dead: Mapping[int, Sequence[int]],
    rng: np.random.Generator,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Generate independent layers in which some experts are never used.

    Parameters
    ----------
    dead : mapping of layer to experts
        By the layers' own numbers; at least k experts of each layer must stay alive.
    popularity
        As in `independent`; the dead experts' share goes to the others in proportion.

    Returns
    -------
    Synthetic
        `planted`: ``popularity`` ``[layer, expert]`` and ``dead``, a mapping of layer to sorted experts.
    """
    frame = make_frame(rng, shape)
    weights = distributions.expert_weights(popularity, frame.n_layers, frame.alphabet, rng).copy()
    for layer, experts in dead.items():
        if layer not in frame.layers:
            raise RoutestatError(f"dead experts are listed for layer {layer}, which the trace does not have")
        for expert in experts:
            if not 0 <= expert < frame.alphabet.n_experts:
                raise RoutestatError(
                    f"dead expert {expert} of layer {layer} is out of range: "
                    f"this router has experts 0 … {frame.alphabet.n_experts - 1}"
                )
        weights[frame.layers.index(layer), list(experts)] = 0.0
    if np.any(weights.sum(axis=1) == 0):
        raise RoutestatError("all experts of a layer are dead: name fewer")
    weights = distributions.expert_weights(weights, frame.n_layers, frame.alphabet, rng)
    states, marginals = independent_states(frame, weights, rng)
    listed = MappingProxyType({layer: tuple(sorted(set(experts))) for layer, experts in dead.items()})
    planted = {"popularity": weights, "dead": listed}
    return frame.finish(states, independent_truth("dead_experts", frame, marginals, planted))


def clustered(
    *,
    rng: np.random.Generator,
    stickiness: float = 0.0,
    topic_concentration: float | None = None,
    n_topics: int | None = None,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Generate dependent tokens: layers are independent given the document, tokens of a document are not.

    Without `n_topics` every document draws its own distribution for every layer. Layers are then independent
    in the population, though a test that takes tokens as independent rejects that: the null for tests
    on clustered data. With `n_topics` a document takes one of a few topics, which fixes its distributions in all
    layers: pooled tables depend, tables within documents do not.

    Parameters
    ----------
    stickiness : float
        Probability that a layer repeats the choice of the document's previous token; each layer for itself.
    topic_concentration : float, optional
        Total concentration of the Dirichlet from which a document (a topic) draws around the popularity; the
        smaller, the more documents differ. None: all documents alike. The distribution is one of states where these
        can be listed, else one of expert weights.
    n_topics : int, optional
        Number of topics, equally likely; needs a `topic_concentration`.
    popularity
        As in `independent`.

    Returns
    -------
    Synthetic
        `mi_bits` and `marginals` are those of the population of documents. `planted`: ``popularity``,
        ``stickiness``, ``topic_concentration``, ``n_topics``, ``topic`` ``[document]`` and ``topic_distributions``
        ``[topic, layer, state]`` (None without topics, the latter also if states are not listed), and
        ``design_effect``: the variance of an adjacent table relative to independent tokens, with margins
        known (None with topics, or if documents draw expert weights).
    """
    frame = make_frame(rng, shape)
    stickiness = distributions.check_share("stickiness", stickiness)
    if topic_concentration is not None:
        distributions.check_positive("topic_concentration", topic_concentration)
    if n_topics is not None and (n_topics < 1 or topic_concentration is None):
        raise RoutestatError(f"n_topics={n_topics!r} needs at least 1 topic and a topic_concentration")
    weights = distributions.expert_weights(popularity, frame.n_layers, frame.alphabet, rng)
    listed = distributions.is_listable(frame.alphabet)
    base = distributions.subset_distribution(weights, frame.alphabet.top_k) if listed else weights

    topic = None if n_topics is None else rng.integers(n_topics, size=len(frame.lengths))
    document, position = frame.document, frame.position
    group: NDArray[np.integer] = np.zeros_like(document)  # documents with one distribution
    if topic_concentration is not None:
        group = document if topic is None else topic[document]
    states, used = frame.blank(), []
    for layer in range(frame.n_layers):
        probabilities = base[layer : layer + 1]
        if topic_concentration is not None:
            probabilities = distributions.dirichlet_around(
                base[layer], topic_concentration, n_topics or len(frame.lengths), rng
            )
        fresh = draw(frame, probabilities, group, base[layer] > 0, rng)
        states[layer] = fresh[distributions.repeat_previous(position, stickiness, rng)]
        if topic is not None:
            used.append(probabilities)
    planted = {
        "popularity": weights,
        "stickiness": stickiness,
        "topic_concentration": topic_concentration,
        "n_topics": n_topics,
        "topic": topic,
        "topic_distributions": np.stack(used, axis=1) if used and listed else None,
        "design_effect": None,
    }
    if topic is not None:
        return frame.finish(states, _topic_truth(planted))
    if listed or topic_concentration is None:
        correlation = 0.0 if topic_concentration is None else 1 / (1 + topic_concentration)
        planted["design_effect"] = exact.clustered_design_effect(frame.lengths, stickiness, correlation)
    return frame.finish(states, independent_truth("clustered", frame, base if listed else None, planted))


def independent_states(
    frame: Frame, weights: Floats, rng: np.random.Generator
) -> tuple[NDArray[np.unsignedinteger], Floats | None]:
    """Draw states ``[layer, token]`` of independent layers; exact distributions where states can be listed."""
    listed = distributions.is_listable(frame.alphabet)
    marginals = distributions.subset_distribution(weights, frame.alphabet.top_k) if listed else None
    states = frame.blank()
    row = np.zeros(frame.n_tokens, dtype=np.int32)
    for layer, expert_weights in enumerate(weights):
        probabilities = expert_weights if marginals is None else marginals[layer]
        states[layer] = draw(frame, probabilities[None], row, expert_weights > 0, rng)
    return states, marginals


def independent_truth(
    generator: str, frame: Frame, marginals: Floats | None, planted: Mapping[str, Any]
) -> Truth:
    """Return the exact quantities of independent layers: no information between any two."""
    return Truth(
        generator=generator,
        marginals=marginals,
        mi_bits=np.zeros(frame.n_layers - 1),
        cmi_bits=np.zeros(max(frame.n_layers - 2, 0)),
        planted=planted,
    )


def draw(
    frame: Frame,
    probabilities: Floats,
    rows: NDArray[np.integer],
    alive: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.unsignedinteger]:
    """Draw a state per token from its row of `probabilities` (of states if listed, else expert weights)."""
    if distributions.is_listable(frame.alphabet):
        return categorical(probabilities, rows, rng).astype(frame.alphabet.dtype)
    # A sharp Dirichlet distribution underflows to 0 for live experts; a floor keeps k of them available.
    logits = distributions.log_weights(np.where(alive, np.maximum(probabilities, 1e-300), 0.0))
    return frame.alphabet.rank(distributions.draw_experts(logits, frame.alphabet.top_k, rows, rng))


def _topic_truth(planted: Mapping[str, Any]) -> Truth:
    """Pooled over equally likely topics: a mixture of products."""
    topic_distributions = planted["topic_distributions"]
    if topic_distributions is None:
        return Truth("clustered", planted=planted)
    pairs = zip(topic_distributions.swapaxes(0, 1)[:-1], topic_distributions.swapaxes(0, 1)[1:], strict=True)
    joints = (source.T @ target / len(source) for source, target in pairs)
    return Truth(
        generator="clustered",
        marginals=topic_distributions.mean(axis=0),
        mi_bits=np.array([exact.mutual_information_bits(joint) for joint in joints]),
        planted=planted,
    )
