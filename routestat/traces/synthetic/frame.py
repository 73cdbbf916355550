"""A synthetic trace and its truth; documents and layers before their states are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.traces.alphabet import Alphabet
from routestat.traces.synthetic.distributions import Floats, check_share


class Shape(TypedDict):
    """The arguments that all generators share."""

    n_experts: int
    top_k: int
    layers: int | Sequence[int]
    documents: int | ArrayLike
    mean_length: NotRequired[float]
    lengths: NotRequired[str]


@dataclass(frozen=True, eq=False)
class Truth:
    """The exact quantities of a synthetic trace. None: not in closed form, or too many states to list.

    Attributes
    ----------
    generator : str
        The generator's name.
    marginals : array ``[layer, state]``
        Exact distribution of each layer.
    transitions : array ``[gap, source, target]``
        Exact conditional distribution of each layer given the one before, where layers form a chain.
    mi_bits : array ``[gap]``
        Mutual information of adjacent layers.
    cmi_bits : array ``[layer − 2]``
        I(X_l; X_{l+2} | X_{l+1}).
    planted : mapping
        Whatever else the generator documents.
    """

    generator: str
    marginals: Floats | None = None
    transitions: Floats | None = None
    mi_bits: Floats | None = None
    cmi_bits: Floats | None = None
    planted: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the arrays."""
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
        −1 (unknown) but in `specialists`.
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
        """Freeze the arrays."""
        for array in (self.document, self.position, self.token, self.states):
            _freeze(array)

    @property
    def alphabet(self) -> Alphabet:
        """The subsets of the router and their states."""
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
class Frame:
    """A trace still without states: documents, and layers of one alphabet."""

    alphabet: Alphabet
    layers: tuple[int, ...]
    lengths: NDArray[np.int32]

    @property
    def n_tokens(self) -> int:
        """Tokens of all documents."""
        return int(self.lengths.sum())

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def document(self) -> NDArray[np.int32]:
        """Document of each token ``[token]``."""
        return np.repeat(np.arange(len(self.lengths), dtype=np.int32), self.lengths)

    @property
    def position(self) -> NDArray[np.int32]:
        """Position of each token in its document ``[token]``."""
        first = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        return (np.arange(self.n_tokens) - np.repeat(first, self.lengths)).astype(np.int32)

    def blank(self) -> NDArray[np.unsignedinteger]:
        """States to be filled, ``[layer, token]``: a layer at a time is how they are drawn and stored."""
        return np.empty((self.n_layers, self.n_tokens), dtype=self.alphabet.dtype)

    def finish(
        self, states: NDArray[np.unsignedinteger], truth: Truth, token: NDArray[np.int32] | None = None
    ) -> Synthetic:
        """Return the trace with its states ``[layer, token]``, its truth, and token ids if it has any."""
        return Synthetic(
            document=self.document,
            position=self.position,
            token=np.full(self.n_tokens, -1, dtype=np.int32) if token is None else token,
            states=states.T,
            layers=self.layers,
            n_experts=self.alphabet.n_experts,
            top_k=self.alphabet.top_k,
            truth=truth,
        )


def make_frame(rng: np.random.Generator, shape: Shape) -> Frame:
    """Make the documents and layers of a trace from the arguments shared by all generators."""
    alphabet = Alphabet(shape["n_experts"], shape["top_k"])
    if not alphabet.is_ranked:
        raise RoutestatError(
            f"{alphabet.n_experts} choose {alphabet.top_k} states do not fit in 64 bits: use fewer experts"
        )
    requested = np.asarray(shape["layers"])
    if requested.ndim == 0 and requested.dtype.kind in "iu":
        requested = np.arange(int(requested))
    if (
        requested.dtype.kind not in "iu"
        or requested.size == 0
        or requested.min() < 0
        or np.any(np.diff(requested) <= 0)
    ):
        raise RoutestatError(f"layers must be a count or ascending layer numbers, got {shape['layers']!r}")
    layers = tuple(requested.tolist())
    lengths = document_lengths(
        shape["documents"], shape.get("mean_length", 100), shape.get("lengths", "equal"), rng=rng
    )
    return Frame(alphabet, layers, lengths)


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
        "exponential" draws from the geometric distribution of exactly this mean.

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


def with_missing(synthetic: Synthetic, fraction: float, rng: np.random.Generator) -> Synthetic:
    """Set every state to missing with probability `fraction`, independently of everything.

    Returns
    -------
    Synthetic
        Missing states hold `alphabet.missing`; the truth stays that of the complete trace, `planted` gains
        ``missing_fraction``.
    """
    fraction = check_share("fraction", fraction)
    layer_major = synthetic.states.T.copy()
    for states in layer_major:
        states[rng.random(len(states)) < fraction] = synthetic.alphabet.missing
    truth = replace(synthetic.truth, planted={**synthetic.truth.planted, "missing_fraction": fraction})
    return replace(synthetic, states=layer_major.T, truth=truth)


def _freeze(value: object) -> None:
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
