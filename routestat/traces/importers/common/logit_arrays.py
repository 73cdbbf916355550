"""Router logits in a file: the order of the axes, and how rows are cut into sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_axes import parse_axes
from routestat.traces.importers.common.logit_names import WHOLE, arrays_beside, numbered

#: No model has more layers; an axis beyond this holds tokens.
MOST_LAYERS = 128
#: Ratio of tokens to layers at which the order of the axes is clear.
CLEARLY = 3


@dataclass(frozen=True)
class Logits:
    """Logits of one forward pass, or of the passes of one answer.

    Attributes
    ----------
    arrays : list of float array ``[token, expert]``
        One per layer, of one shape.
    layers : list of int, optional
        Their numbers, where the file says them.
    batch : (int, int), optional
        Sequences and tokens that the rows are flattened from.
    n_prompt : int, optional
        Rows of the prompt.
    beside : mapping
        `attention_mask` and `input_ids`, of the shape of `batch`.
    """

    where: str
    arrays: list[NDArray[np.floating]]
    layers: list[int] | None
    batch: tuple[int, int] | None
    n_prompt: int | None
    beside: Mapping[str, NDArray]

    @property
    def n_experts(self) -> int:
        """Logits of a row."""
        return int(self.arrays[0].shape[1])


def found_logits(
    where: str, value: Any, axes: str | None, wanted: Sequence[int] | None, notes: list[str]
) -> Logits:
    """Find the logits of a file; `axes` and the number of `wanted` layers settle ambiguous shapes.

    Raises
    ------
    FormatError
        Naming the array that is wrong, or the ambiguous axes.
    """
    beside: dict[str, NDArray] = {}
    if isinstance(value, Mapping):
        beside = arrays_beside(where, value)
        whole = next((name for name in WHOLE if name in value), None)
        value = value if whole is None else value[whole]
    if isinstance(value, Mapping):
        value = numbered(where, value, notes)
    n_prompt, layers = None, None
    if isinstance(value, dict):
        layers, value = sorted(value), [value[layer] for layer in sorted(value)]
    elif isinstance(value, np.ndarray):
        rows = {one.size for one in beside.values()}
        value = _by_layer(where, _floats(where, value), axes, wanted, rows, notes)
    elif isinstance(value, list) and value and all(isinstance(one, list) for one in value):
        n_prompt, value = _passes(where, value)
    elif not isinstance(value, list):
        raise FormatError(f"{where}: expected arrays of logits, got {type(value).__name__}")
    if isinstance(value, list) and any(one is None for one in value):
        # transformers puts None where a layer has no router, so places are the model's own numbers.
        layers = [index for index, one in enumerate(value) if one is not None]
        value = [one for one in value if one is not None]
    if not value:
        raise FormatError(f"{where}: no logits in it")
    arrays, batch = _flattened(where, [_floats(where, one) for one in value], layers)
    return Logits(where, arrays, layers, *_cut(where, arrays, batch, n_prompt, beside))


def _cut(
    where: str,
    arrays: list[NDArray[np.floating]],
    batch: tuple[int, int] | None,
    n_prompt: int | None,
    beside: dict[str, NDArray],
) -> tuple[tuple[int, int] | None, int | None, dict[str, NDArray]]:
    """Return how the rows are cut into sequences: by their own axes, or by those of the mask and the ids."""
    n = len(arrays[0])
    if n_prompt is not None:
        ids = {name: one.reshape(-1) for name, one in beside.items() if name == "input_ids"}
        if ids and len(ids["input_ids"]) not in (n, n + 1):
            raise FormatError(f"{where}: {len(ids['input_ids'])} input_ids where the passes have {n} rows")
        return None, n_prompt, ids
    shapes = [one.shape if one.ndim == 2 else (1, len(one)) for one in beside.values()]
    if batch is None and shapes:
        batch = (int(shapes[0][0]), int(shapes[0][1]))
    for name, shape in zip(beside, shapes, strict=True):
        if shape != batch or shape[0] * shape[1] != n:
            raise FormatError(f"{where}: {name} is {list(beside[name].shape)} where the logits have {n} rows")
    return (
        batch,
        None,
        {name: one.reshape(shape) for (name, one), shape in zip(beside.items(), shapes, strict=True)},
    )


def _floats(where: str, value: Any) -> NDArray[np.floating]:
    if not isinstance(value, np.ndarray):
        raise FormatError(f"{where}: expected arrays of logits, got {type(value).__name__}")
    if value.dtype.kind in "iu":
        raise FormatError(
            f"{where}: {value.dtype} {list(value.shape)}: ids, not logits? then leave --logits out"
        )
    if value.dtype.kind != "f":
        raise FormatError(f"{where}: expected floating-point logits, got {value.dtype} {list(value.shape)}")
    return value


def _by_layer(
    where: str,
    array: NDArray[np.floating],
    axes: str | None,
    wanted: Sequence[int] | None,
    rows: set[int],
    notes: list[str],
) -> list[NDArray[np.floating]]:
    """Split an array of all layers into one per layer; `rows` is the number of tokens of the mask and the ids."""
    if array.ndim == 4 and 1 in array.shape[:3]:
        array = array.squeeze(axis=array.shape.index(1))
    if array.ndim == 2:
        return [array]
    if array.ndim != 3:
        raise FormatError(
            f"{where}: logits {list(array.shape)}; expected [layers, tokens, experts] or [tokens, layers, experts]"
        )
    first, second = array.shape[:2]
    if axes is not None:
        places = parse_axes(axes)
        if places[2] != 2:
            raise FormatError(
                f"{where}: the last axis of logits is the experts; --axes {axes} says otherwise"
            )
        layers_first = places[0] == 1
    elif first != second and len(rows & {first, second}) == 1:
        layers_first = second in rows
    elif wanted is not None and first != second and len(wanted) in (first, second):
        layers_first = len(wanted) == first
    else:
        more, fewer = max(first, second), min(first, second)
        if more <= MOST_LAYERS and more < CLEARLY * fewer:
            raise FormatError(
                f"{where}: logits {list(array.shape)}: {first} layers of {second} tokens, or {first} tokens of "
                f"{second} layers? Give --axes layers,tokens,k or --axes tokens,layers,k"
            )
        layers_first = first == fewer
        order = ["layers", "tokens"] if layers_first else ["tokens", "layers"]
        notes.append(
            f"logits of three axes are taken as [{order[0]}, {order[1]}, experts]: the shorter axis is the layers; "
            "change it with --axes"
        )
    return list(array if layers_first else array.transpose(1, 0, 2))


def _passes(where: str, passes: list[list[Any]]) -> tuple[int, list[NDArray[np.floating]]]:
    """Join the passes of an answer layer by layer, and return the rows of the first, which is the prompt."""
    width = len(passes[0])
    for number, one in enumerate(passes):
        if len(one) != width:
            raise FormatError(f"{where}: pass {number} has {len(one)} layers, the first has {width}")
        for layer, array in enumerate(one):
            if array is None and passes[0][layer] is None:
                continue
            if _floats(f"{where}: pass {number}, layer {layer}", array).ndim != 2:
                raise FormatError(
                    f"{where}: pass {number}, layer {layer}: expected [tokens, experts], got {list(array.shape)}"
                )
            if number and len(array) != 1:
                raise FormatError(
                    f"{where}: pass {number} has {len(array)} rows: a pass after the prompt is one token of one "
                    "sequence; save batches separately"
                )
    present = [layer for layer in range(width) if passes[0][layer] is not None]
    if not present:
        raise FormatError(f"{where}: no logits in it")
    try:
        joined = {layer: np.concatenate([one[layer] for one in passes]) for layer in present}
    except ValueError:
        raise FormatError(f"{where}: passes differ in the number of experts") from None
    return len(passes[0][present[0]]), [joined.get(layer) for layer in range(width)]  # type: ignore[misc]


def _flattened(
    where: str, arrays: list[NDArray[np.floating]], layers: list[int] | None
) -> tuple[list[NDArray[np.floating]], tuple[int, int] | None]:
    """Return every layer as ``[token, expert]``, and the sequences and tokens of the rows."""
    for index, one in enumerate(arrays):
        layer = index if layers is None else layers[index]
        if one.ndim not in (2, 3) or not one.size:
            raise FormatError(f"{where}: layer {layer}: expected [tokens, experts], got {list(one.shape)}")
        if one.shape != arrays[0].shape:
            raise FormatError(
                f"{where}: layer {layer} is {list(one.shape)}, the first is {list(arrays[0].shape)}: layers differ in "
                "tokens or experts"
            )
    if arrays[0].ndim == 2:
        return arrays, None
    n_sequences, n_tokens, n_experts = arrays[0].shape
    return [one.reshape(-1, n_experts) for one in arrays], (n_sequences, n_tokens)
