"""Arrays of router logits and their layers, by names."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import kind_of, listed

#: Arrays that belong to the tokens of the logits.
BESIDE = ("attention_mask", "input_ids")
#: Names of the whole, where a file names it.
WHOLE = ("router_logits", "gate_logits", "all_router_logits", "router_probs", "logits")


def layer_number(name: Any) -> int | None:
    """Return the layer in a name: the number behind ``layer``, or else the last number; None without one."""
    if isinstance(name, int):
        return name
    said = re.search(r"(?:layers?|blocks?|blk|h)[._\-]?(\d+)", str(name)) if isinstance(name, str) else None
    if said is not None:
        return int(said[1])
    last = re.search(r"(?:^|logits?|router|gate|probs?)[._\-]?(\d+)$", str(name))
    return None if last is None else int(last[1])


def arrays_beside(where: str, held: Mapping[Any, Any]) -> dict[str, NDArray]:
    """Return the mask and the token ids that are stored with the logits."""
    beside = {}
    for name in BESIDE:
        if held.get(name) is not None:
            one = np.asarray(held[name])
            if one.dtype.kind not in "iub" or one.ndim not in (1, 2):
                raise FormatError(
                    f"{where}: {name} must be integers [sequences, tokens], got {one.dtype} {list(one.shape)}"
                )
            beside[name] = one
    return beside


def numbered(where: str, held: Mapping[Any, Any], notes: list[str]) -> Any:
    """Return arrays by the layer in their names, or the only array."""
    floats = {
        name: one
        for name, one in held.items()
        if isinstance(one, np.ndarray) and one.dtype.kind == "f" and one.ndim > 1
    }
    named = {name: one for name, one in floats.items() if "logit" in str(name)} or floats
    if len(named) > 1 and all(re.fullmatch(r"arr_\d+", str(name)) for name in named):
        # What np.savez calls arrays without names: a place in a list, no layer.
        return [named[name] for name in sorted(named, key=lambda name: int(str(name)[4:]))]
    by_layer: dict[int, NDArray] = {}
    for name, one in named.items():
        layer = layer_number(name)
        if layer is None and len(named) == 1:
            return one
        if layer is None or layer in by_layer:
            wrong = "has no layer number" if layer is None else f"is of layer {layer}, as another is"
            raise FormatError(
                f"{where}: {name} {wrong}; logits are named layer_0, router_logits_0 or the like"
            )
        by_layer[layer] = one
    if not by_layer:
        some = ", ".join(map(str, list(held)[:8])) or "nothing"
        raise FormatError(f"{where}: no arrays of logits [tokens, experts]; it holds {some}")
    rest = [name for name in held if name not in named and name not in BESIDE]
    for name in rest:
        if layer_number(name) not in (None, *by_layer):
            one = held[name]
            got = f"{one.dtype} {list(one.shape)}" if isinstance(one, np.ndarray) else kind_of(one)
            raise FormatError(
                f"{where}: {name} is {got}; expected logits [tokens, experts], as of the other layers"
            )
    if rest:
        notes.append(f"not read: {listed(rest)}")
    return by_layer
