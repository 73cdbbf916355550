"""How long the memory is, in sentences: the answer first, then what it rests on."""

import math
from collections.abc import Sequence
from itertools import pairwise

from routestat.inference.base.estimate import Estimate
from routestat.inference.base.score_test import few_groups
from routestat.inference.markov.horizons import Horizons
from routestat.inference.markov.order_selection import LEAST_BITS, is_clear
from routestat.study.contexts import context_spec
from routestat.study.memory import Memory
from routestat.traces.number_ranges import span

#: Of the tokens with a known target; where fewer have the whole context a gain is largely that of a shorter one.
MOST_KNOWN = 0.95
_UNTOLD = (
    "How long the memory is cannot be told: that takes groups of documents to count and others to hold out."
)
_FEW = "Too few independent units were recorded to say whether there is memory or none"


def names_of(memory: Memory) -> list[str]:
    """The contexts that all compared layers have."""
    return list(memory.compared[-1].scores.bits) if memory.compared else []


def share_known(memory: Memory, context: str) -> float:
    """Of the tokens of the compared layers, how many have the context."""
    tokens = [float(item.scores.tokens.sum()) for item in memory.compared]
    shares = [item.known.get(context, 1.0) for item in memory.compared]
    parts = [(share * n, n) for share, n in zip(shares, tokens, strict=True) if n]
    return sum(part for part, _ in parts) / sum(n for _, n in parts) if parts else math.nan


def memory_sentences(memory: Memory) -> list[str]:
    """How long the memory is, in bits, and how sure that is: eight sentences at most, the answer first."""
    names = [name for name in names_of(memory) if _known(memory, name)]
    if "nothing" not in names:
        return [_UNTOLD]
    nothing = memory.mean_log_loss("nothing")
    if not math.isfinite(nothing.low):
        return [f"{_FEW} ({nothing.reason})."] if nothing.n_groups else [_UNTOLD]
    parts = (_answer, _layer_before, _farther, _over_tokens_said, _beside_the_id)
    said = [part(memory, names) for part in parts]
    said += [_partly_said(memory, names), _horizon_said(memory.horizons), _counted_among(memory)]
    return [sentence for sentence in said if sentence]


def _answer(memory: Memory, names: Sequence[str]) -> str:
    """How many layers, by the same rule that chooses an order: each must gain clearly over the one chosen below."""
    ladder = [name for name in names if context_spec(name).n_layers and not context_spec(name).has_tokens]
    if not ladder and "layer-1" in names_of(memory):
        return "No token has the layer before known, so whether there is memory over layers cannot be told."
    if not ladder:
        return "There is one layer only, so no memory over layers to ask for."
    chosen = "nothing"
    for name in ladder:
        if is_clear(memory.mean_gain(name, chosen)):
            chosen = name
    length, longest = (context_spec(name).n_layers for name in (chosen, ladder[-1]))
    if not length:
        said = "These documents show no memory over layers"
    elif length == longest:
        said = f"Over layers the memory is {_many(length, 'layer')} long or longer: no more could be asked"
    else:
        said = f"Over layers the memory is {_many(length, 'layer')} long, as far as these documents tell"
    second = [item for item in memory.layers[2:] if item.known.get("layer-2,layer-1") != 0]
    known = [item for item in second if item.over_layers.chosen is not None]
    orders = [item.over_layers.chosen for item in known]
    if len(known) == 1:
        where = f"at layer {known[0].target.layer}"
        said += f"; of orders 0 to 2, held-out documents ask for order {orders[0]} {where}"
    elif known:
        counted = [f"order {one} at {orders.count(one)}" for one in range(2, -1, -1) if one in orders]
        said += f"; of orders 0 to 2, held-out documents ask for {', '.join(counted)} of {len(known)} layers"
    return f"{said}."


def _layer_before(memory: Memory, names: Sequence[str]) -> str:
    layers = [item.target.layer for item in memory.compared]
    nothing = memory.mean_log_loss("nothing")
    rough = f", rough with {nothing.n_groups} groups of them" if few_groups(nothing.n_groups) else ""
    said = (
        f"Without any context a choice of layer{'s' if len(layers) > 1 else ''} {span(layers)} costs "
        f"{_shown(nothing.value)} bits of log loss on held-out documents (95 % interval {_shown(nothing.low)} … "
        f"{_shown(nothing.high)}, clusters of documents as the units{rough})"
    )
    if "layer-1" in names:
        said += f"; the layer before {_saves(memory.mean_gain('layer-1', 'nothing'))}"
    return f"{said}."


def _farther(memory: Memory, names: Sequence[str]) -> str:
    """What layers farther back add, each against the next shorter context; empty where there are none."""
    specs = [context_spec(name) for name in names if context_spec(name).subject]
    gains = {spec: memory.mean_gain(spec.name, spec.shorter) for spec in specs}
    if not gains:
        return ""
    said = "; ".join(f"{spec.subject} {_saves(gain)}" for spec, gain in gains.items())
    # Only back-off fits a law to each layer on its own; a factorised chain may lack what its shorter one cannot say.
    if not memory.layers[-1].scores.fitted and any(map(is_clear, gains.values())):
        said += (
            "; experts are weighed one by one, so a part of that may be what the shorter model could not say"
        )
    return f"Beyond that, {said}."


def _over_tokens_said(memory: Memory, names: Sequence[str]) -> str:
    if "token-1" not in names:
        return ""
    alone = memory.mean_gain("token-1", "nothing")
    said = f"Over tokens, the same layer's choice at the token before {_saves(alone)}"
    if "layer-1,token-1" in names:
        said += f"; beside the layer before it {_saves(memory.mean_gain('layer-1,token-1', 'layer-1'))}"
    return f"{said}."


def _beside_the_id(memory: Memory, names: Sequence[str]) -> str:
    """What the token itself tells, and the layer before on top of it; empty where no ids were recorded."""
    if "token id" not in names:
        return ""
    said = f"The token's own id {_saves(memory.mean_gain('token id', 'nothing'))}"
    if "token id,layer-1" in names:
        alone, beside = (
            memory.mean_gain(a, b) for a, b in (("layer-1", "nothing"), ("token id,layer-1", "token id"))
        )
        said += f"; beside it the layer before {_saves(beside)}"
        if is_clear(alone) and beside.high < alone.low / 2:
            said += ", so most of what that layer tells is which token it is"
    return f"{said}."


def _partly_said(memory: Memory, names: Sequence[str]) -> str:
    """Which contexts many tokens do not have; empty where there are none."""
    shares = {name: share_known(memory, name) for name in names}
    partly = [
        f"{100 * share:.3g} % have the {context_spec(name).words}"
        for name, share in shares.items()
        if share < MOST_KNOWN
    ]
    if not partly:
        return ""
    return f"Not all tokens have these contexts ({', '.join(partly)}); the rest was answered by shorter ones."


def _horizon_said(found: Horizons | None) -> str:
    """What is left far from the start, and whether steps of order 1 carry it; empty where that is not known."""
    beyond = range(1, len(found.horizons) if found else 0)
    told = [column for column in beyond if found and math.isfinite(found.mean_direct_bits.low[column])]
    if not found or not told:
        return ""
    last = told[-1]
    if found.sparse:
        return (
            f"What a choice tells {found.horizons[last]} layers on, and whether single steps carry it, cannot be told "
            "with so few tokens for the states."
        )
    direct, chain, more = (
        tuple(float(getattr(band, limit)[last]) for limit in ("value", "low", "high"))
        for band in (found.mean_direct_bits, found.mean_chain_bits, found.mean_difference_bits)
    )
    tells = "still tells" if direct[1] > 0 else "tells nothing that shows,"
    said = f"{found.horizons[last]} layers on, a choice {tells} {_bits(*direct)}"
    if not math.isfinite(more[1]):
        return f"{said}."
    left = f"less than {_shown(LEAST_BITS)}" if chain[0] < LEAST_BITS else _shown(chain[0])
    said += f", where steps of order 1 leave {left}"
    if more[1] > 0 and found.p_all < 0.05:
        return f"{said}: more than single steps can carry."
    return f"{said}; {_holds(found)}."


def _holds(found: Horizons) -> str:
    """The verdict on the chain of order 1 over all start layers and horizons."""
    if not math.isfinite(found.log10_p_all):
        return "whether that chain holds could not be tested"
    if found.p_all >= 0.05:
        return f"over all horizons that chain holds as far as can be told (p = {found.p_all:.2g})"
    rough = "; that p is rough" if found.note else ""
    return f"over all horizons that chain does not hold (log10 p = {_shown(found.log10_p_all)}{rough})"


def _counted_among(memory: Memory) -> str:
    """What "before" and "on" count where the routers are not those of layers one after the other."""
    routers = [item.target for item in memory.layers]
    numbers = [router.layer for router in routers]
    if len(set(numbers)) < len(numbers):
        each = ", ".join(router.name for router in routers)
        return f"Routers are counted as layers of their own, also two of one layer: {each}."
    if all(b - a == 1 for a, b in pairwise(numbers)):
        return ""
    return f"Layers are counted among those looked at: {span(numbers)}."


def _known(memory: Memory, context: str) -> bool:
    """Whether any token has the context, rather than a shorter one answering for all."""
    return any(item.known.get(context) != 0 for item in memory.compared)


def _saves(gain: Estimate) -> str:
    """A gain in words: saved, lost, or nothing that shows."""
    if gain.low == gain.high == 0:
        return "saves nothing"
    if max(abs(gain.low), abs(gain.high)) < LEAST_BITS:
        return f"saves nothing that could matter, less than {_shown(LEAST_BITS)} bits"
    if gain.low > 0:
        return f"saves {_bits(gain.value, gain.low, gain.high)}"
    if gain.high < 0:
        return f"loses {_bits(-gain.value, -gain.high, -gain.low)}: more to learn than it tells"
    return f"saves nothing that shows, {_bits(gain.value, gain.low, gain.high)}"


def _bits(value: float, low: float, high: float) -> str:
    return f"{_shown(value)} bits ({_shown(low)} … {_shown(high)})"


def _shown(value: float) -> str:
    """Three digits, but four decimals at most."""
    size = abs(value)
    text = f"{size:.4f}" if size < 0.1 else f"{size:#.3g}".rstrip(".") if size < 999.5 else f"{size:,.0f}"
    return f"−{text}" if value < 0 and text != "0.0000" else text


def _many(count: int, noun: str) -> str:
    words = {1: "one", 2: "two", 3: "three", 4: "four"}
    return f"{words[count]} {noun}{'' if count == 1 else 's'}"
