"""Experts that specialise: one of each layer in a domain of documents, one in a class of tokens."""

from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.traces.categorical import categorical
from routestat.traces.synthetic import distributions, exact
from routestat.traces.synthetic.distributions import Floats
from routestat.traces.synthetic.frame import Shape, Synthetic, Truth, make_frame


def specialists(
    *,
    topical: float,
    lexical: float,
    rng: np.random.Generator,
    popularity: float | ArrayLike = 5.0,
    n_domains: int = 4,
    n_ids: int = 60,
    n_classes: int = 5,
    mixing: float = 0.0,
    document_effect: float = 0.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Generate layers in which one expert serves a domain and another one a class of tokens.

    Documents have a domain at random, tokens an id with frequencies like 1 / (rank + 2), ids a class in turn. The
    choice depends on the domain and on the class of the token only: the weight of the layer's topical expert is
    `topical` times as large in one domain, that of its lexical expert `lexical` times as large at tokens of one class.
    Given both, layers are independent, and so are tokens unless documents differ.

    Parameters
    ----------
    topical, lexical : float
        Factors above 0; 1 for no specialist.
    popularity
        As in `independent`.
    n_domains, n_ids, n_classes : int
    mixing : float
        Standard deviation of the logarithm by which domains use classes more or less; 0 makes them independent.
    document_effect : float
        Standard deviation of the logarithm of a document's own weight of every expert.

    Returns
    -------
    Synthetic
        With token ids. `planted`: ``domain`` ``[document]``, ``class_of_id`` ``[id]``, ``topical_expert``,
        ``topical_domain``, ``lexical_expert``, ``lexical_class`` ``[layer]``, and the exact ``domain_bits``,
        ``lexical_bits``, ``domain_given_bits``, ``lexical_given_bits`` ``[layer]`` (information of state and label,
        given the other one in the last two), None with a document effect or states that cannot be listed.
    """
    frame = make_frame(rng, shape)
    if not (topical > 0 and lexical > 0 and np.isfinite([topical, lexical]).all()):
        raise RoutestatError(f"topical and lexical must be factors above 0, got {topical!r} and {lexical!r}")
    if min(n_domains, n_ids, n_classes) < 1 or min(mixing, document_effect) < 0:
        raise RoutestatError(
            "domains, ids and classes must be 1 or more, mixing and document_effect 0 or more"
        )
    weights = distributions.expert_weights(popularity, frame.n_layers, frame.alphabet, rng)
    n_experts, layers = frame.alphabet.n_experts, frame.n_layers
    if n_experts < 2:
        raise RoutestatError(f"two specialists need two experts, got {n_experts}")
    pairs = np.array([rng.choice(n_experts, 2, replace=False) for _ in range(layers)])
    special_domain, special_class = rng.integers(n_domains, size=layers), rng.integers(n_classes, size=layers)

    domain = rng.integers(n_domains, size=len(frame.lengths))
    class_of_id = np.arange(n_ids) % n_classes
    tilt = mixing * rng.standard_normal((n_domains, n_classes))
    frequency = np.exp(tilt[:, class_of_id]) / (np.arange(n_ids) + 2.0)
    frequency /= frequency.sum(axis=1, keepdims=True)
    token = categorical(frequency, domain[frame.document].astype(np.int32), rng).astype(np.int32)

    logits = distributions.log_weights(weights)
    states = frame.blank()
    row = frame.document.astype(np.int64) * n_classes + class_of_id[token]
    cell = np.broadcast_to(domain[:, None], (len(domain), n_classes))
    for layer in range(layers):
        own = logits[layer] + document_effect * rng.standard_normal((len(domain), 1, n_experts))
        own = np.repeat(own, n_classes, axis=1)
        own[..., pairs[layer, 0]] += np.log(topical) * (cell == special_domain[layer])
        own[..., pairs[layer, 1]] += np.log(lexical) * (np.arange(n_classes) == special_class[layer])
        drawn = distributions.draw_experts(
            own.reshape(-1, n_experts), frame.alphabet.top_k, row.astype(np.int32), rng
        )
        states[layer] = frame.alphabet.rank(drawn)
    planted = {
        "domain": domain,
        "class_of_id": class_of_id,
        "topical_expert": pairs[:, 0],
        "topical_domain": special_domain,
        "lexical_expert": pairs[:, 1],
        "lexical_class": special_class,
        "domain_bits": None,
        "lexical_bits": None,
        "domain_given_bits": None,
        "lexical_given_bits": None,
    }
    if document_effect == 0 and distributions.is_listable(frame.alphabet):
        shares = np.bincount(domain[frame.document], minlength=n_domains) / frame.n_tokens
        by_class = np.zeros((n_domains, n_classes))
        np.add.at(by_class.T, class_of_id, frequency.T)
        own = np.repeat(weights[:, None, None], n_domains, axis=1).repeat(n_classes, axis=2)
        for layer in range(layers):
            own[layer, special_domain[layer], :, pairs[layer, 0]] *= topical
            own[layer, :, special_class[layer], pairs[layer, 1]] *= lexical
        planted |= _information(shares[:, None] * by_class, own, frame.alphabet.top_k)
    return frame.finish(states, Truth("specialists", planted=planted), token)


def _information(labels: Floats, weights: Floats, top_k: int) -> dict[str, NDArray[np.float64]]:
    """Exact information of the state and labels of probability ``[domain, class]``, in bits per layer."""
    names = "domain_bits", "lexical_bits", "domain_given_bits", "lexical_given_bits"
    found = []
    for own in weights:
        chosen = distributions.subset_distribution(own.reshape(-1, own.shape[-1]), top_k)
        joint = labels[..., None] * chosen.reshape(*labels.shape, -1)
        domain, lexical = (exact.mutual_information_bits(joint.sum(axis=axis)) for axis in (1, 0))
        both = exact.mutual_information_bits(joint.reshape(-1, joint.shape[-1]))
        found.append((domain, lexical, both - lexical, both - domain))
    return dict(zip(names, np.array(found).T, strict=True))
