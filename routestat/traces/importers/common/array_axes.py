"""The order of the axes of an array, which must be stated where shapes or names contradict the usual order."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError

#: The usual order.
AXES = ("tokens", "layers", "k")
# Entries of an array along an axis whose ids are checked for repeats.
LOOKED_AT = 512


def parse_axes(text: str) -> tuple[int, ...]:
    """Return the axes of tokens, layers and slots, from words in the order of an array's axes.

    Raises
    ------
    FormatError
        If these are not the three words, each once.

    Examples
    --------
    >>> parse_axes("layers,tokens,k")
    (1, 0, 2)
    """
    words = [word.strip() for word in text.split(",")]
    if sorted(words) != sorted(AXES):
        raise FormatError(f"--axes names tokens, layers and k in the order of the axes, got {text!r}")
    return tuple(words.index(name) for name in AXES)


def oriented(experts: NDArray[np.integer], axes: str | None) -> NDArray[np.integer]:
    """Return the array as ``[…, token, layer, slot]``; only its last three axes are named."""
    if axes is None:
        return experts
    before = experts.ndim - len(AXES)
    return experts.transpose([*range(before), *(before + place for place in parse_axes(axes))])


def refuse_doubtful_axes(
    where: str, arrays: Sequence[NDArray[np.integer]], lengths: Mapping[str, Mapping[str, int]] | None = None
) -> None:
    """Require --axes where the arrays do not look like ``[tokens, layers, k]``.

    Parameters
    ----------
    where : str
        The file or folder, for the message.
    arrays : sequence of int arrays of three axes
        All arrays of one source; what varies between them is the number of tokens.
    lengths : mapping, optional
        By word of `AXES`, the lengths of other arrays of the file along that axis, by their names.

    Raises
    ------
    FormatError
        With the contradiction and the options.
    """
    shapes = [array.shape for array in arrays if array.size]
    if not shapes:
        return
    why, answers = _contradiction(shapes[0], lengths or {}), ("tokens,layers,k", "layers,tokens,k")
    if not why and not _confirmed(shapes[0], lengths or {}):
        why = _unusual(shapes)
    if not why and any(_slots_in_the_middle(array) for array in arrays[:4]):
        why, answers = (
            "ids repeat along the last axis and never along the second",
            ("tokens,layers,k", "tokens,k,layers"),
        )
    if why:
        shown = list(shapes[0]) if len(set(shapes)) == 1 else f"{list(shapes[0])}, {list(shapes[-1])} …"
        raise FormatError(
            f"{where}: experts {shown} as [tokens, layers, k]: {why}; give the order: --axes {answers[0]} or --axes "
            f"{answers[1]}"
        )


def _contradiction(shape: Sequence[int], lengths: Mapping[str, Mapping[str, int]]) -> str:
    """Describe another array whose length fits another axis than its own."""
    for axis, other in ((0, 1), (1, 0)):
        for name, length in lengths.get(AXES[axis], {}).items():
            if length == shape[other] != shape[axis]:
                ordinal = ("first", "second")[other]
                return f"{name} has {length} entries, as many as the {ordinal} axis is long"
    return ""


def _confirmed(shape: Sequence[int], lengths: Mapping[str, Mapping[str, int]]) -> bool:
    return any(
        length == shape[axis] != shape[1 - axis]
        for axis in (0, 1)
        for length in lengths.get(AXES[axis], {}).values()
    )


def _unusual(shapes: Sequence[Sequence[int]]) -> str:
    """Describe what contradicts tokens first; arrays of several requests differ in tokens, never in layers."""
    tokens, layers = ({shape[axis] for shape in shapes} for axis in (0, 1))
    if len(layers) > 1:
        return "" if len(tokens) > 1 else "the second axis differs from array to array, the first does not"
    if len(tokens) == 1 and max(layers) > max(tokens):
        return f"more layers ({max(layers)}) than tokens ({max(tokens)})"
    return ""


def _slots_in_the_middle(array: NDArray[np.integer]) -> bool:
    """Return whether ids repeat along the last axis, and never along the second."""
    if array.shape[2] <= array.shape[1] or array.shape[1] < 2:
        return False
    looked = array[:: max(1, len(array) // LOOKED_AT)]
    last, second = (np.sort(looked, axis=axis) for axis in (2, 1))
    repeats = (last[:, :, 1:] == last[:, :, :-1]).any(axis=2)
    return bool(repeats.mean() > 0.5 and not (second[:, 1:] == second[:, :-1]).any())
