"""Traces whose truth is known: each generator plants one law and says exactly what it planted.

Every generator takes the same words for the trace itself, and a required `rng`:

n_experts, top_k : int
    The router, the same in every layer.
layers : int, or sequence of int
    How many layers (numbered from 0), or the layers' own numbers.
documents : int, or integer array ``[document]``
    How many documents, or the length of each.
mean_length : float
    Tokens per document when `documents` is a number (100 unless told otherwise).
lengths : {"equal", "exponential"}
    How lengths spread when `documents` is a number; see `document_lengths`.

They raise RoutestatError on anything else. Unless a law says otherwise, tokens are independent of each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.traces import laws
from routestat.traces.alphabet import Alphabet
from routestat.traces.laws import Floats


class Shape(TypedDict):
    """The trace itself, in the words at the top of this file."""

    n_experts: int
    top_k: int
    layers: int | Sequence[int]
    documents: int | ArrayLike
    mean_length: NotRequired[float]
    lengths: NotRequired[str]


@dataclass(frozen=True, eq=False)
class Truth:
    """What was planted. None means: not in closed form, or too wide to list.

    Attributes
    ----------
    law : str
        The generator's name.
    marginals : array ``[layer, state]``
        Exact law of each layer.
    transitions : array ``[gap, source, target]``
        Exact conditional law of each layer given the one before, where the law is a chain.
    mi_bits : array ``[gap]``
        Mutual information of adjacent layers.
    cmi_bits : array ``[layer − 2]``
        I(X_l; X_{l+2} | X_{l+1}).
    planted : mapping
        Whatever else the generator documents.
    """

    law: str
    marginals: Floats | None = None
    transitions: Floats | None = None
    mi_bits: Floats | None = None
    cmi_bits: Floats | None = None
    planted: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for array in (self.marginals, self.transitions, self.mi_bits, self.cmi_bits):
            _freeze(array)
        for value in self.planted.values():
            _freeze(value)
        object.__setattr__(self, "planted", MappingProxyType(dict(self.planted)))


@dataclass(frozen=True, eq=False)
class Synthetic:
    """A trace in memory, with its truth; all arrays are read-only.

    Attributes
    ----------
    document, position, token : int32 array ``[token]``
        Documents are numbered 0 … D − 1 and stand together; positions count from 0 in each; token ids are
        −1 (unknown): no law here uses them.
    states : unsigned array ``[token, layer]``
        In the alphabet's dtype, layer by layer in memory.
    layers : tuple of int
    n_experts, top_k : int
    truth : Truth
    """

    document: NDArray[np.int32]
    position: NDArray[np.int32]
    token: NDArray[np.int32]
    states: NDArray[np.unsignedinteger]
    layers: tuple[int, ...]
    n_experts: int
    top_k: int
    truth: Truth

    def __post_init__(self) -> None:
        for array in (self.document, self.position, self.token, self.states):
            _freeze(array)

    @property
    def alphabet(self) -> Alphabet:
        """subset ↔ state."""
        return Alphabet(self.n_experts, self.top_k)

    @property
    def experts(self) -> NDArray[np.unsignedinteger]:
        """Experts ``[token, layer, k]``, ascending; missing ones are the largest value of the dtype."""
        alphabet = self.alphabet
        missing = self.states == alphabet.missing
        rows = alphabet.unrank(np.where(missing, 0, self.states)).astype(alphabet.expert_dtype)
        rows[missing] = np.iinfo(rows.dtype).max
        return rows


@dataclass(frozen=True, eq=False)
class _Frame:
    """A trace still without states."""

    alphabet: Alphabet
    layers: tuple[int, ...]
    lengths: NDArray[np.int32]

    @property
    def n_tokens(self) -> int:
        return int(self.lengths.sum())

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def document(self) -> NDArray[np.int32]:
        return np.repeat(np.arange(len(self.lengths), dtype=np.int32), self.lengths)

    @property
    def position(self) -> NDArray[np.int32]:
        first = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        return (np.arange(self.n_tokens) - np.repeat(first, self.lengths)).astype(np.int32)

    def blank(self) -> NDArray[np.unsignedinteger]:
        """States to be filled, ``[layer, token]``: a layer at a time is how they are drawn and stored."""
        return np.empty((self.n_layers, self.n_tokens), dtype=self.alphabet.dtype)

    def finish(self, states: NDArray[np.unsignedinteger], truth: Truth) -> Synthetic:
        return Synthetic(
            document=self.document,
            position=self.position,
            token=np.full(self.n_tokens, -1, dtype=np.int32),
            states=states.T,
            layers=self.layers,
            n_experts=self.alphabet.n_experts,
            top_k=self.alphabet.top_k,
            truth=truth,
        )


def document_lengths(
    documents: int | ArrayLike, mean_length: float = 100, lengths: str = "equal", *, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Tokens of each document, ``[document]``, at least 1.

    Parameters
    ----------
    documents : int, or integer array ``[document]``
        How many, or the lengths themselves (`mean_length` and `lengths` then say nothing).
    mean_length : float
        Tokens per document, ≥ 1; whole if lengths are equal.
    lengths : {"equal", "exponential"}
        "exponential" draws from the geometric law, its counterpart in whole tokens, of exactly this mean.

    Raises
    ------
    RoutestatError
        If there is no document, a length is below 1 or not whole, or the word for `lengths` is unknown.
    """
    given = np.asarray(documents)
    if given.dtype.kind not in "iu" or given.ndim > 1 or given.size == 0:
        raise RoutestatError(f"documents must be a whole number or a list of lengths, got {documents!r}")
    if given.ndim == 1:
        if given.min() < 1:
            raise RoutestatError(f"a document needs at least 1 token, got a length of {given.min()}")
        return given.astype(np.int32)
    if given < 1:
        raise RoutestatError(f"documents must be at least 1, got {documents!r}")
    if not (np.isfinite(mean_length) and mean_length >= 1):
        raise RoutestatError(f"mean_length must be at least 1 token, got {mean_length!r}")
    if lengths == "exponential":
        return rng.geometric(1 / mean_length, size=int(given)).astype(np.int32)
    if lengths != "equal":
        raise RoutestatError(f"lengths must be 'equal' or 'exponential', got {lengths!r}")
    if mean_length != int(mean_length):
        raise RoutestatError(f"equal lengths need a whole mean_length, got {mean_length!r}")
    return np.full(int(given), int(mean_length), dtype=np.int32)


def independent(
    *, rng: np.random.Generator, popularity: float | ArrayLike = 5.0, **shape: Unpack[Shape]
) -> Synthetic:
    """Layers independent of each other, each with its own popularity of experts.

    Parameters
    ----------
    popularity : float, or array ``[expert]`` or ``[layer, expert]``
        Weights for successive sampling without replacement; a number draws them per layer from a symmetric
        Dirichlet law with that concentration per expert.

    Returns
    -------
    Synthetic
        `planted`: ``popularity`` ``[layer, expert]``, as shares.
    """
    frame = _frame(rng, shape)
    weights = laws.expert_weights(popularity, frame.n_layers, frame.alphabet, rng)
    states, marginals = _independent_states(frame, weights, rng)
    return frame.finish(states, _independent_truth("independent", frame, marginals, {"popularity": weights}))


def dead_experts(
    *,
    dead: Mapping[int, Sequence[int]],
    rng: np.random.Generator,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Independent layers in which some experts are never used.

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
    frame = _frame(rng, shape)
    weights = laws.expert_weights(popularity, frame.n_layers, frame.alphabet, rng).copy()
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
    weights = laws.expert_weights(weights, frame.n_layers, frame.alphabet, rng)
    states, marginals = _independent_states(frame, weights, rng)
    listed = MappingProxyType({layer: tuple(sorted(set(experts))) for layer, experts in dead.items()})
    planted = {"popularity": weights, "dead": listed}
    return frame.finish(states, _independent_truth("dead_experts", frame, marginals, planted))


def chain(
    *,
    coupling: float,
    rng: np.random.Generator,
    concentration: float = 0.5,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """A chain of order 1 over depth, with a random transition matrix of its own for every gap.

    With probability `coupling` the next state follows a random law of the present state's own, else the
    layer's popularity; 0 makes layers independent.

    Parameters
    ----------
    coupling : float
        Between 0 and 1.
    concentration : float
        Dirichlet concentration per state of those laws; the smaller, the more predictable.
    popularity
        As in `independent`.

    Returns
    -------
    Synthetic
        As `chain_given`; `planted`: ``coupling``.
    """
    frame = _frame(rng, shape)
    coupling = laws.check_share("coupling", coupling)
    alpha = laws.check_positive("concentration", concentration)
    base = _state_laws(frame, popularity, rng)
    n_states = _dense_size(frame)
    rows = rng.dirichlet(np.full(n_states, alpha), size=(frame.n_layers - 1, n_states))
    transitions = laws.mix_in_independence(rows, base[1:, None, :], coupling)
    return _run_chain("chain", frame, base[0], transitions, {"coupling": coupling}, rng)


def chain_given(
    *, initial: ArrayLike, transitions: ArrayLike, rng: np.random.Generator, **shape: Unpack[Shape]
) -> Synthetic:
    """A chain of order 1 over depth, of a given law.

    Parameters
    ----------
    initial : array ``[state]``
        Law of the first layer.
    transitions : array ``[gap, source, target]``
        Rows sum to 1.

    Returns
    -------
    Synthetic
        The truth has `marginals`, `transitions`, `mi_bits` and `cmi_bits` (0).
    """
    frame = _frame(rng, shape)
    n_states = _dense_size(frame)
    first = laws.check_law("initial", initial, (n_states,))
    tables = laws.check_law("transitions", transitions, (frame.n_layers - 1, n_states, n_states))
    return _run_chain("chain_given", frame, first, tables, {}, rng)


def planted_blocks(
    *,
    coupling: float,
    rng: np.random.Generator,
    n_blocks: int = 4,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Block structure between adjacent layers: with probability `coupling` a token stays in its block.

    Blocks are of equal numbers of states (to within one), which ones is random in every layer. Inside a
    block states keep their popularity, so that states of one block differ in load but not in where they
    lead: biclusters corrected for degree.

    Returns
    -------
    Synthetic
        As `chain_given`; `planted`: ``coupling`` and ``labels`` ``[layer, state]``, which are both the row
        blocks of the gap after and the column blocks of the gap before.
    """
    frame = _frame(rng, shape)
    coupling = laws.check_share("coupling", coupling)
    base = _state_laws(frame, popularity, rng)
    n_states = _dense_size(frame)
    if not 1 <= n_blocks <= n_states:
        raise RoutestatError(f"n_blocks must lie between 1 and the {n_states} states, got {n_blocks!r}")
    if np.any(base == 0):
        raise RoutestatError("blocks need every expert in use: give no popularity of 0")
    labels = rng.permuted(np.tile(np.arange(n_states) % n_blocks, (frame.n_layers, 1)), axis=1)
    inside = np.where(labels[:-1, :, None] == labels[1:, None, :], base[1:, None, :], 0.0)
    inside /= inside.sum(axis=2, keepdims=True)
    transitions = laws.mix_in_independence(inside, base[1:, None, :], coupling)
    planted = {"coupling": coupling, "labels": labels}
    return _run_chain("planted_blocks", frame, base[0], transitions, planted, rng)


def second_order(*, noise: float, rng: np.random.Generator, **shape: Unpack[Shape]) -> Synthetic:
    """Order 2 only: every state is a function of the two layers before, up to noise, and of neither alone.

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
    frame = _frame(rng, shape)
    noise = laws.check_share("noise", noise)
    n_states = _dense_size(frame)
    relabelling = rng.permuted(np.tile(np.arange(n_states), (frame.n_layers, 1)), axis=1)
    states = frame.blank()
    hidden = rng.integers(n_states, size=(2, frame.n_tokens))
    for layer in range(frame.n_layers):
        states[layer] = relabelling[layer][hidden[0]]
        error = np.where(rng.random(frame.n_tokens) < noise, rng.integers(n_states, size=frame.n_tokens), 0)
        hidden = np.stack([hidden[1], (hidden[0] + hidden[1] + error) % n_states])
    cmi, three_apart = laws.second_order_information_bits(n_states, noise)
    truth = Truth(
        law="second_order",
        marginals=np.full((frame.n_layers, n_states), 1 / n_states),
        mi_bits=np.zeros(frame.n_layers - 1),
        cmi_bits=np.full(max(frame.n_layers - 2, 0), cmi),
        planted={"noise": noise, "relabelling": relabelling, "mi_three_apart_bits": three_apart},
    )
    return frame.finish(states, truth)


def clustered(
    *,
    rng: np.random.Generator,
    stickiness: float = 0.0,
    topic_concentration: float | None = None,
    n_topics: int | None = None,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Dependent tokens: layers are independent given the document, tokens of a document are not.

    Without `n_topics` every document draws its law for every layer on its own. Layers are then independent
    in the population, though any test that takes tokens for independent will deny it: the null for tests
    on clustered data. With `n_topics` a document takes one of a few topics, which fixes its laws in all
    layers: pooled tables depend, tables within documents do not.

    Parameters
    ----------
    stickiness : float
        Probability that a layer repeats the choice of the document's previous token; each layer for itself.
    topic_concentration : float, optional
        Total concentration of the Dirichlet law of a document's (a topic's) law around the popularity; the
        smaller, the more documents differ. None: all documents alike. The law is one of states where these
        can be listed, else one of expert weights.
    n_topics : int, optional
        Number of topics, equally likely; needs a `topic_concentration`.
    popularity
        As in `independent`.

    Returns
    -------
    Synthetic
        `mi_bits` and `marginals` are those of the population of documents. `planted`: ``popularity``,
        ``stickiness``, ``topic_concentration``, ``n_topics``, ``topic`` ``[document]`` and ``topic_laws``
        ``[topic, layer, state]`` (None without topics, the latter also if states are not listed), and
        ``design_effect``: the variance of an adjacent table relative to independent tokens, with margins
        known (None with topics, or if the documents' laws are on expert weights).
    """
    frame = _frame(rng, shape)
    stickiness = laws.check_share("stickiness", stickiness)
    if topic_concentration is not None:
        laws.check_positive("topic_concentration", topic_concentration)
    if n_topics is not None and (n_topics < 1 or topic_concentration is None):
        raise RoutestatError(f"n_topics={n_topics!r} needs at least 1 topic and a topic_concentration")
    weights = laws.expert_weights(popularity, frame.n_layers, frame.alphabet, rng)
    listed = laws.is_listable(frame.alphabet)
    base = laws.subset_law(weights, frame.alphabet.top_k) if listed else weights

    topic = None if n_topics is None else rng.integers(n_topics, size=len(frame.lengths))
    document, position = frame.document, frame.position
    group: NDArray[np.integer] = np.zeros_like(document)  # documents that follow one law
    if topic_concentration is not None:
        group = document if topic is None else topic[document]
    states, used = frame.blank(), []
    for layer in range(frame.n_layers):
        law = base[layer : layer + 1]
        if topic_concentration is not None:
            law = laws.dirichlet_around(base[layer], topic_concentration, n_topics or len(frame.lengths), rng)
        fresh = _draw(frame, law, group, base[layer] > 0, rng)
        states[layer] = fresh[laws.repeat_previous(position, stickiness, rng)]
        if topic is not None:
            used.append(law)
    planted = {
        "popularity": weights,
        "stickiness": stickiness,
        "topic_concentration": topic_concentration,
        "n_topics": n_topics,
        "topic": topic,
        "topic_laws": np.stack(used, axis=1) if used and listed else None,
        "design_effect": None,
    }
    if topic is not None:
        return frame.finish(states, _topic_truth(planted))
    if listed or topic_concentration is None:
        correlation = 0.0 if topic_concentration is None else 1 / (1 + topic_concentration)
        planted["design_effect"] = laws.clustered_design_effect(frame.lengths, stickiness, correlation)
    return frame.finish(states, _independent_truth("clustered", frame, base if listed else None, planted))


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
    """With probability `weight` a token follows one of a few paths through all layers, else independence.

    Parameters
    ----------
    weight : float
        Between 0 and 1, for all paths together.
    n_paths : int
        How many to draw at random, with no state in common in any layer; unused if `paths` are given.
    paths : integer array ``[path, layer]``, optional
        The states of each.
    shares : array ``[path]``, optional
        How the weight is split, summing to 1; equally unless told otherwise.
    popularity
        As in `independent`, for all other tokens.

    Returns
    -------
    Synthetic
        `mi_bits` and `cmi_bits` are exact: a token's past says whether it is on a path, so the law is no
        chain. `planted`: ``popularity``, ``paths`` ``[path, layer]``, ``path_probability`` ``[path]`` (of
        being sent along it), ``occurrence_probability`` ``[path]`` (of showing it, by chance included; None
        if states cannot be listed) and ``follows`` ``[token]`` (which path a token was sent along, or −1).
    """
    frame = _frame(rng, shape)
    weight = laws.check_share("weight", weight)
    routes = _routes(frame, n_paths, paths, rng)
    split = np.full(len(routes), 1 / len(routes)) if shares is None else shares
    probability = weight * laws.check_law("shares", split, (len(routes),))
    weights = laws.expert_weights(popularity, frame.n_layers, frame.alphabet, rng)
    states, marginals = _independent_states(frame, weights, rng)

    everyone = np.zeros(frame.n_tokens, dtype=np.int32)
    follows = laws.draw_states(np.append(probability, 1 - weight)[None], everyone, rng)
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
    mi, cmi = laws.path_information_bits(marginals, routes.astype(np.intp), probability)
    return frame.finish(states, Truth("planted_paths", mixed, None, mi, cmi, planted))


def expert_chain(
    *,
    coupling: float,
    rng: np.random.Generator,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """A chain on experts, for alphabets of any width: a token's experts pull on its next layer's experts.

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
    frame = _frame(rng, shape)
    if not (np.isfinite(coupling) and coupling >= 0):
        raise RoutestatError(f"coupling must be a finite number of at least 0, got {coupling!r}")
    alphabet = frame.alphabet
    weights = laws.expert_weights(popularity, frame.n_layers, alphabet, rng)
    influence = rng.standard_normal((frame.n_layers - 1, alphabet.n_experts, alphabet.n_experts))
    influence /= np.sqrt(alphabet.top_k)
    logits = laws.logs(weights)
    states = frame.blank()
    experts = laws.draw_experts(logits[:1], alphabet.top_k, np.zeros(frame.n_tokens, dtype=np.int32), rng)
    states[0] = alphabet.rank(experts)
    for gap in range(frame.n_layers - 1):
        experts = laws.draw_pulled_experts(logits[gap + 1], coupling * influence[gap], experts, rng)
        states[gap + 1] = alphabet.rank(experts)
    planted = {"popularity": weights, "coupling": float(coupling), "influence": influence}
    return frame.finish(states, _expert_chain_truth(frame, logits, planted))


def with_missing(synthetic: Synthetic, fraction: float, rng: np.random.Generator) -> Synthetic:
    """The same trace with every state missing with probability `fraction`, independently of everything.

    Returns
    -------
    Synthetic
        Missing states hold `alphabet.missing`; the truth stays that of the complete trace, `planted` gains
        ``missing_fraction``.
    """
    fraction = laws.check_share("fraction", fraction)
    layer_major = synthetic.states.T.copy()
    for states in layer_major:
        states[rng.random(len(states)) < fraction] = synthetic.alphabet.missing
    truth = replace(synthetic.truth, planted={**synthetic.truth.planted, "missing_fraction": fraction})
    return replace(synthetic, states=layer_major.T, truth=truth)


def _freeze(value: object) -> None:
    if isinstance(value, np.ndarray):
        value.flags.writeable = False


def _frame(rng: np.random.Generator, shape: Shape) -> _Frame:
    """The trace without its states, from the words at the top of this file."""
    alphabet = Alphabet(shape["n_experts"], shape["top_k"])
    if not alphabet.is_ranked:
        raise RoutestatError(
            f"{alphabet.n_experts} choose {alphabet.top_k} states do not fit in 64 bits: use fewer experts"
        )
    asked = np.asarray(shape["layers"])
    if asked.ndim == 0 and asked.dtype.kind in "iu":
        asked = np.arange(int(asked))
    if asked.dtype.kind not in "iu" or asked.size == 0 or asked.min() < 0 or np.any(np.diff(asked) <= 0):
        raise RoutestatError(f"layers must be a count or ascending layer numbers, got {shape['layers']!r}")
    layers = tuple(asked.tolist())
    lengths = document_lengths(
        shape["documents"], shape.get("mean_length", 100), shape.get("lengths", "equal"), rng=rng
    )
    return _Frame(alphabet, layers, lengths)


def _dense_size(frame: _Frame) -> int:
    if frame.alphabet.size > laws.DENSE_STATES or not laws.is_listable(frame.alphabet):
        raise RoutestatError(
            f"this law lists all pairs of states, {frame.alphabet.size} are too many: use expert_chain"
        )
    return frame.alphabet.size


def _state_laws(frame: _Frame, popularity: float | ArrayLike, rng: np.random.Generator) -> Floats:
    """Laws ``[layer, state]`` of random or given popularity, for laws on states."""
    _dense_size(frame)
    weights = laws.expert_weights(popularity, frame.n_layers, frame.alphabet, rng)
    return laws.subset_law(weights, frame.alphabet.top_k)


def _draw(
    frame: _Frame, law: Floats, rows: NDArray[np.integer], alive: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.unsignedinteger]:
    """A state per token by its row of `law`: a law of states if these are listed, else expert weights."""
    if laws.is_listable(frame.alphabet):
        return laws.draw_states(law, rows, rng).astype(frame.alphabet.dtype)
    # A sharp Dirichlet law underflows to 0 for live experts; a floor lets chance choose when k need them.
    logits = laws.logs(np.where(alive, np.maximum(law, 1e-300), 0.0))
    return frame.alphabet.rank(laws.draw_experts(logits, frame.alphabet.top_k, rows, rng))


def _independent_states(
    frame: _Frame, weights: Floats, rng: np.random.Generator
) -> tuple[NDArray[np.unsignedinteger], Floats | None]:
    """States ``[layer, token]`` of independent layers, and their exact laws where states can be listed."""
    listed = laws.is_listable(frame.alphabet)
    marginals = laws.subset_law(weights, frame.alphabet.top_k) if listed else None
    states = frame.blank()
    row = np.zeros(frame.n_tokens, dtype=np.int32)
    for layer, expert_weights in enumerate(weights):
        law = expert_weights if marginals is None else marginals[layer]
        states[layer] = _draw(frame, law[None], row, expert_weights > 0, rng)
    return states, marginals


def _independent_truth(
    law: str, frame: _Frame, marginals: Floats | None, planted: Mapping[str, Any]
) -> Truth:
    return Truth(
        law=law,
        marginals=marginals,
        mi_bits=np.zeros(frame.n_layers - 1),
        cmi_bits=np.zeros(max(frame.n_layers - 2, 0)),
        planted=planted,
    )


def _run_chain(
    law: str,
    frame: _Frame,
    initial: Floats,
    transitions: Floats,
    planted: Mapping[str, Any],
    rng: np.random.Generator,
) -> Synthetic:
    """Tokens that walk through the layers by `transitions` ``[gap, source, target]``."""
    states = frame.blank()
    states[0] = laws.draw_states(initial[None], np.zeros(frame.n_tokens, dtype=np.int32), rng)
    for gap, table in enumerate(transitions):
        states[gap + 1] = laws.draw_states(table, states[gap], rng)
    return frame.finish(states, _chain_truth(law, initial, transitions, planted))


def _chain_truth(law: str, initial: Floats, transitions: Floats, planted: Mapping[str, Any]) -> Truth:
    marginals = laws.chain_marginals(initial, transitions)
    joints = zip(marginals, transitions, strict=False)
    return Truth(
        law=law,
        marginals=marginals,
        transitions=transitions,
        mi_bits=np.array([laws.mutual_information_bits(row[:, None] * table) for row, table in joints]),
        cmi_bits=np.zeros(max(len(marginals) - 2, 0)),
        planted=planted,
    )


def _topic_truth(planted: Mapping[str, Any]) -> Truth:
    """Pooled over equally likely topics: a mixture of products."""
    topic_laws = planted["topic_laws"]
    if topic_laws is None:
        return Truth("clustered", planted=planted)
    pairs = zip(topic_laws.swapaxes(0, 1)[:-1], topic_laws.swapaxes(0, 1)[1:], strict=True)
    joints = (source.T @ target / len(source) for source, target in pairs)
    return Truth(
        law="clustered",
        marginals=topic_laws.mean(axis=0),
        mi_bits=np.array([laws.mutual_information_bits(joint) for joint in joints]),
        planted=planted,
    )


def _routes(
    frame: _Frame, n_paths: int, paths: ArrayLike | None, rng: np.random.Generator
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


def _expert_chain_truth(frame: _Frame, logits: Floats, planted: Mapping[str, Any]) -> Truth:
    """Exact where states can be listed: every source state has expert weights of its own."""
    alphabet, coupling = frame.alphabet, planted["coupling"]
    if alphabet.size > laws.DENSE_STATES or not laws.is_listable(alphabet):
        if coupling == 0:
            return _independent_truth("expert_chain", frame, None, planted)
        return Truth("expert_chain", planted=planted)
    initial = laws.subset_law(planted["popularity"][0], alphabet.top_k)
    tables = np.empty((frame.n_layers - 1, alphabet.size, alphabet.size))
    for gap, influence in enumerate(planted["influence"]):
        tables[gap] = laws.pulled_transitions(logits[gap + 1], coupling * influence, alphabet)
    return _chain_truth("expert_chain", initial, tables, planted)
