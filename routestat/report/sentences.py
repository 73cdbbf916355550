"""Sentences on the memory: the answer first, then the numbers behind it."""

import math
from collections.abc import Sequence
from itertools import pairwise

from routestat.inference.base.clustered_score_test import few_groups
from routestat.inference.base.estimate import Estimate
from routestat.inference.markov.horizons import Horizons
from routestat.inference.markov.order_selection import LEAST_BITS, is_clear
from routestat.study.contexts import context_spec
from routestat.study.memory import Memory
from routestat.traces.number_ranges import span

#: Share of tokens with the whole context; below it a gain is largely that of a shorter context.
MOST_KNOWN = 0.95
_NOT_MEASURED = (
    "How long the memory is cannot be measured: that requires documents to fit on and others to hold out."
)
_FEW = "Too few independent units were recorded to say whether there is memory or none"


def memory_sentences(memory: Memory) -> list[str]:
    """Describe the memory in eight sentences at most, the answer first."""
    names = [name for name in memory.context_names if memory.is_known(name)]
    if "nothing" not in names:
        return [_NOT_MEASURED]
    nothing = memory.mean_log_loss("nothing")
    if not math.isfinite(nothing.low):
        return [f"{_FEW} ({nothing.reason})."] if nothing.n_groups else [_NOT_MEASURED]
    parts = (_answer, _layer_before, _farther, _over_tokens_said, _beside_the_id)
    said = [part(memory, names) for part in parts]
    said += [_partly_said(memory, names), _horizon_said(memory.horizons), _counted_among(memory)]
    return [sentence for sentence in said if sentence]


def _answer(memory: Memory, names: Sequence[str]) -> str:
    """Describe the order over layers, by the rule that chooses it: each must gain clearly over the one below."""
    nested = [name for name in names if context_spec(name).n_layers and not context_spec(name).has_tokens]
    if not nested and "layer-1" in memory.context_names:
        return (
            "No token has the layer before known, so whether there is memory over layers cannot be measured."
        )
    if not nested:
        return "There is one layer only, so there is no memory over layers."
    chosen = "nothing"
    for name in nested:
        if is_clear(memory.mean_gain(name, chosen)):
            chosen = name
    length, longest = (context_spec(name).n_layers for name in (chosen, nested[-1]))
    if not length:
        said = "These documents show no memory over layers"
    elif length == longest:
        said = (
            f"Over layers the memory is {_many(length, 'layer')} long or longer: no longer memory was tested"
        )
    else:
        said = f"Over layers the memory is {_many(length, 'layer')} long, as far as these documents show"
    second = [item for item in memory.layers[2:] if item.known.get("layer-2,layer-1") != 0]
    known = [item for item in second if item.over_layers.chosen is not None]
    orders = [item.over_layers.chosen for item in known]
    if len(known) == 1:
        where = f"at layer {known[0].target.layer}"
        said += f"; of orders 0 to 2, order {orders[0]} predicts held-out documents best {where}"
    elif known:
        counted = [f"order {one} at {orders.count(one)}" for one in range(2, -1, -1) if one in orders]
        said += f"; the order that predicts held-out documents best is {', '.join(counted)} of {len(known)} layers"
    return f"{said}."


def _layer_before(memory: Memory, names: Sequence[str]) -> str:
    layers = [item.target.layer for item in memory.compared]
    nothing = memory.mean_log_loss("nothing")
    rough = f", approximate with {nothing.n_groups} groups of them" if few_groups(nothing.n_groups) else ""
    said = (
        f"Without any context a choice of layer{'s' if len(layers) > 1 else ''} {span(layers)} costs "
        f"{_shown(nothing.value)} bits of log loss on held-out documents (95 % interval {_shown(nothing.low)} … "
        f"{_shown(nothing.high)}, clusters of documents as the units{rough})"
    )
    if "layer-1" in names:
        said += f"; the layer before {_saves(memory.mean_gain('layer-1', 'nothing'))}"
    return f"{said}."


def _farther(memory: Memory, names: Sequence[str]) -> str:
    """Describe what layers farther back add, each against the next shorter context; empty without such layers."""
    specs = [context_spec(name) for name in names if context_spec(name).subject]
    gains = {spec: memory.mean_gain(spec.name, spec.shorter) for spec in specs}
    if not gains:
        return ""
    said = "; ".join(f"{spec.subject} {_saves(gain)}" for spec, gain in gains.items())
    # Back-off fits every context alone; a factorised chain may gain what its shorter one could not represent.
    if not memory.layers[-1].scores.fitted and any(map(is_clear, gains.values())):
        said += (
            "; the model adds the effects of single experts, so a part of that may be what the shorter model "
            "could not represent"
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
    """Describe what the token id predicts, and what the layer before adds to it; empty without token ids."""
    if "token id" not in names:
        return ""
    said = f"The token's own id {_saves(memory.mean_gain('token id', 'nothing'))}"
    if "token id,layer-1" in names:
        alone, beside = (
            memory.mean_gain(a, b) for a, b in (("layer-1", "nothing"), ("token id,layer-1", "token id"))
        )
        said += f"; beside it the layer before {_saves(beside)}"
        if is_clear(alone) and beside.high < alone.low / 2:
            said += ", so most of what that layer predicts is due to the token id"
    return f"{said}."


def _partly_said(memory: Memory, names: Sequence[str]) -> str:
    """Name the contexts that many tokens do not have; empty if there are none."""
    shares = {name: memory.share_known(name) for name in names}
    partly = [
        f"{100 * share:.3g} % have the {context_spec(name).words}"
        for name, share in shares.items()
        if share < MOST_KNOWN
    ]
    if not partly:
        return ""
    return f"Not all tokens have every context ({', '.join(partly)}); the others were predicted from shorter ones."


def _horizon_said(found: Horizons | None) -> str:
    """Describe the information at the farthest horizon against the chain of order 1; empty where it is unknown."""
    beyond = range(1, len(found.horizons) if found else 0)
    defined = [column for column in beyond if found and math.isfinite(found.mean_direct_bits.low[column])]
    if not found or not defined:
        return ""
    last = defined[-1]
    if found.sparse:
        return (
            f"The information between layers {found.horizons[last]} apart cannot be estimated with so few tokens for "
            "the number of states."
        )
    direct, chain, more = (
        tuple(float(getattr(band, limit)[last]) for limit in ("value", "low", "high"))
        for band in (found.mean_direct_bits, found.mean_chain_bits, found.mean_difference_bits)
    )
    doubt = "" if direct[1] > 0 else ", too uncertain to claim"
    said = f"Layers {found.horizons[last]} apart share {_bits(*direct)}{doubt}"
    if not math.isfinite(more[1]):
        return f"{said}."
    left = f"less than {_shown(LEAST_BITS)}" if chain[0] < LEAST_BITS else _shown(chain[0])
    said += f", where the chain of order 1 implies {left}"
    if more[1] > 0 and found.p_all < 0.05:
        return f"{said}: more than single steps imply."
    return f"{said}; {_holds(found)}."


def _holds(found: Horizons) -> str:
    """Describe the test of the chain of order 1 over all start layers and horizons."""
    if not math.isfinite(found.log10_p_all):
        return "that chain could not be tested"
    if found.p_all >= 0.05:
        return f"over all horizons no departure from that chain is detected (p = {found.p_all:.2g})"
    rough = "; that p is approximate" if found.note else ""
    return f"over all horizons that chain does not hold (log10 p = {_shown(found.log10_p_all)}{rough})"


def _counted_among(memory: Memory) -> str:
    """Say what "before" counts where the routers are not those of consecutive layers."""
    routers = [item.target for item in memory.layers]
    numbers = [router.layer for router in routers]
    if len(set(numbers)) < len(numbers):
        each = ", ".join(router.name for router in routers)
        return f"Routers are counted as layers of their own, also two of one layer: {each}."
    if all(b - a == 1 for a, b in pairwise(numbers)):
        return ""
    return f"Layers before are counted among those analysed: {span(numbers)}."


def _saves(gain: Estimate) -> str:
    """Describe a gain: saved, lost, or too uncertain to claim."""
    if gain.low == gain.high == 0:
        return "saves nothing"
    if max(abs(gain.low), abs(gain.high)) < LEAST_BITS:
        return f"saves less than {_shown(LEAST_BITS)} bits"
    if gain.low > 0:
        return f"saves {_bits(gain.value, gain.low, gain.high)}"
    if gain.high < 0:
        cost = _bits(-gain.value, -gain.high, -gain.low)
        return f"loses {cost}: its additional parameters cost more than they predict"
    return f"saves {_bits(gain.value, gain.low, gain.high)}, too uncertain to claim"


def _bits(value: float, low: float, high: float) -> str:
    return f"{_shown(value)} bits ({_shown(low)} … {_shown(high)})"


def _shown(value: float) -> str:
    """Format with three digits, but four decimals at most."""
    size = abs(value)
    text = f"{size:.4f}" if size < 0.1 else f"{size:#.3g}".rstrip(".") if size < 999.5 else f"{size:,.0f}"
    return f"−{text}" if value < 0 and text != "0.0000" else text


def _many(count: int, noun: str) -> str:
    words = {1: "one", 2: "two", 3: "three", 4: "four"}
    return f"{words[count]} {noun}{'' if count == 1 else 's'}"
