"""Which chain the most probable routes are taken from: by the memory, one choice for the whole depth."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.base.tables import Floats
from routestat.inference.markov.order_selection import is_clear
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.held_out import held_out
from routestat.study.contexts import CONTEXTS, LayerMemory
from routestat.study.memory import Memory

#: The contexts of the chains over layers by order, and that of the chain given the token id.
ROUTE_CONTEXTS = ("nothing", "layer-1", "layer-2,layer-1", "layer-3,layer-2,layer-1")
GIVEN_TOKEN = "token id,layer-1"


@dataclass(frozen=True)
class RouteChoice:
    """The chain that routes are taken from.

    Attributes
    ----------
    context : str
        Among `ROUTE_CONTEXTS`, or `GIVEN_TOKEN`.
    over : str
        The context that it was compared with last; empty where nothing was compared.
    gain : Estimate, optional
        Bits per token, over the whole depth, that it saves on held-out documents over `over`; the token id itself is
        paid for. None where nothing was compared.
    bits : mapping of str to Estimate
        Held-out bits per token over the whole depth, of every context that was compared.
    note : str
        What was chosen otherwise than by the memory, and why; empty if nothing.
    """

    context: str
    over: str = ""
    gain: Estimate | None = None
    bits: dict[str, Estimate] = field(default_factory=dict)
    note: str = ""

    @property
    def order(self) -> int:
        """Earlier layers that a layer's choice depends on."""
        return CONTEXTS[self.context].n_layers

    @property
    def given_token(self) -> bool:
        """Whether routes depend on the token id."""
        return self.context == GIVEN_TOKEN


def choose_routes(
    memory: Memory | None, token: NDArray[np.integer], group: NDArray[np.integer], order: int = 1
) -> RouteChoice:
    """Choose the chain whose whole routes have the fewest bits on held-out documents.

    An order is chosen where its gain over the one chosen below it has an interval above zero; the token id, if it then
    clearly gains over that order although the id itself has to be coded too.

    Parameters
    ----------
    memory : Memory, optional
        Of the state view.
    token, group : int array ``[row]``
        Token ids and groups of documents.
    order : int
        Where there is no memory.
    """
    if memory is None or len(memory.layers) < 1:
        return RouteChoice(ROUTE_CONTEXTS[order])
    layers = memory.layers
    known = {
        name: own for name in (*ROUTE_CONTEXTS, GIVEN_TOKEN) if (own := _whole(layers, name)) is not None
    }
    tokens = np.mean([item.scores.tokens for item in layers], axis=0)
    if GIVEN_TOKEN in known:
        known[GIVEN_TOKEN] = known[GIVEN_TOKEN] + token_bits(token, group, len(tokens))
    chosen, over = "nothing", ""
    gain: Estimate | None = None
    for name, bits in known.items():
        if name == chosen:
            continue
        found = ratio(known[chosen] - bits, tokens)
        if gain is None or is_clear(found):
            over, gain = chosen, found
        if is_clear(found):
            chosen = name
    if over == chosen:
        over = ""
    return RouteChoice(chosen, over, gain, {name: ratio(bits, tokens) for name, bits in known.items()})


def token_bits(token: NDArray[np.integer], group: NDArray[np.integer], n_groups: int) -> Floats:
    """Sum the bits of the token ids of every group, coded without the group ``[group]``; unknown ids cost nothing."""
    known = token >= 0
    names, number = np.unique(token[known], return_inverse=True)
    rows = TokenRows(number.astype(np.int64), max(1, len(names)), group[known].astype(np.int64), {}, n_groups)
    return np.nan_to_num(held_out(rows, {"nothing": [()]}).bits["nothing"])


def context_of(place: int, name: str) -> str:
    """Return what a layer at a place has of a context: with fewer layers before it, the shorter context."""
    if name == GIVEN_TOKEN:
        return name if place else "token id"
    return ROUTE_CONTEXTS[min(place, ROUTE_CONTEXTS.index(name))]


def _whole(layers: Sequence[LayerMemory], name: str) -> Floats | None:
    """Sum the held-out bits of all layers by group; None where a layer has no score, or no tokens the context."""
    own = [context_of(place, name) for place in range(len(layers))]
    if own[-1] != name and name in ROUTE_CONTEXTS:
        return None
    if any(
        one not in item.scores.bits or item.known.get(one) == 0 for one, item in zip(own, layers, strict=True)
    ):
        return None
    bits = np.sum([item.scores.bits[one] for one, item in zip(own, layers, strict=True)], axis=0)
    return bits if np.isfinite(bits).all() else None
