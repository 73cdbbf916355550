"""A chain on experts, for alphabets too wide to list their states."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.traces.synthetic import distributions, exact
from routestat.traces.synthetic.chains import chain_truth
from routestat.traces.synthetic.distributions import Floats
from routestat.traces.synthetic.frame import Frame, Shape, Synthetic, Truth, make_frame
from routestat.traces.synthetic.nulls import independent_truth


def expert_chain(
    *,
    coupling: float,
    rng: np.random.Generator,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Generate a chain on experts, for alphabets of any width: each expert of a token changes the next layer's logits.

    Logits of the next layer are the logs of its popularity plus coupling · Σ A[i] over the token's k
    experts i, where A is a random normal matrix per gap of standard deviation 1/√k: the pull on a logit has
    standard deviation `coupling`, whatever k. The k largest after Gumbel noise are taken.

    Parameters
    ----------
    coupling : float
        ≥ 0; 0 makes layers independent.
    popularity
        As in `independent`.

    Returns
    -------
    Synthetic
        As `chain_given` up to 1024 listed states; beyond, `mi_bits` and `cmi_bits` only for coupling 0.
        `planted`: ``popularity``, ``coupling`` and ``influence`` ``[gap, source expert, target expert]``
        (the matrices A).
    """
    frame = make_frame(rng, shape)
    if not (np.isfinite(coupling) and coupling >= 0):
        raise RoutestatError(f"coupling must be a finite number of at least 0, got {coupling!r}")
    alphabet = frame.alphabet
    weights = distributions.expert_weights(popularity, frame.n_layers, alphabet, rng)
    influence = rng.standard_normal((frame.n_layers - 1, alphabet.n_experts, alphabet.n_experts))
    influence /= np.sqrt(alphabet.top_k)
    logits = distributions.log_weights(weights)
    states = frame.blank()
    experts = distributions.draw_experts(
        logits[:1], alphabet.top_k, np.zeros(frame.n_tokens, dtype=np.int32), rng
    )
    states[0] = alphabet.rank(experts)
    for gap in range(frame.n_layers - 1):
        experts = distributions.draw_dependent_experts(
            logits[gap + 1], coupling * influence[gap], experts, rng
        )
        states[gap + 1] = alphabet.rank(experts)
    planted = {"popularity": weights, "coupling": float(coupling), "influence": influence}
    return frame.finish(states, _expert_chain_truth(frame, logits, planted))


def _expert_chain_truth(frame: Frame, logits: Floats, planted: Mapping[str, Any]) -> Truth:
    """Exact where states can be listed: every source state has expert weights of its own."""
    alphabet, coupling = frame.alphabet, planted["coupling"]
    if alphabet.size > distributions.DENSE_STATES or not distributions.is_listable(alphabet):
        if coupling == 0:
            return independent_truth("expert_chain", frame, None, planted)
        return Truth("expert_chain", planted=planted)
    initial = distributions.subset_distribution(planted["popularity"][0], alphabet.top_k)
    tables = np.empty((frame.n_layers - 1, alphabet.size, alphabet.size))
    for gap, influence in enumerate(planted["influence"]):
        tables[gap] = exact.dependent_transitions(logits[gap + 1], coupling * influence, alphabet)
    return chain_truth("expert_chain", initial, tables, planted)
