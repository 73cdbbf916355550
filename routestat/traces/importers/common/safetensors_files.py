"""Files of the ``safetensors`` library: named arrays, nothing that could run."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import reason

UNREADABLE = (SafetensorError, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError)


def safetensors_file(path: Path) -> dict[str, NDArray]:
    """Read the arrays of a ``.safetensors`` by name; bfloat16, which NumPy lacks, becomes float32.

    Raises
    ------
    FormatError
        If it is damaged, or holds a type that is neither.
    """
    try:
        with safe_open(path, framework="np") as held:
            kinds = {name: held.get_slice(name).get_dtype() for name in held.keys()}  # noqa: SIM118
            arrays = {name: held.get_tensor(name) for name, kind in kinds.items() if kind != "BF16"}
        if len(arrays) < len(kinds):
            for name, held in deserialize(path.read_bytes()):
                if held["dtype"] == "BF16":
                    halves = np.frombuffer(held["data"], "<u2").astype(np.uint32)
                    arrays[name] = (halves << 16).view(np.float32).reshape(held["shape"])
    except UNREADABLE as error:
        raise FormatError(f"{path}: not a readable .safetensors ({reason(error)})") from None
    return arrays


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the arrays of a ``.safetensors`` by name, without reading the arrays.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    try:
        with safe_open(path, framework="np") as held:
            return {name: tuple(held.get_slice(name).get_shape()) for name in held.keys()}  # noqa: SIM118
    except UNREADABLE as error:
        raise FormatError(f"{path}: not a readable .safetensors ({reason(error)})") from None


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so is one: the length of its header, then the header, which is JSON."""
    return len(head) > 9 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000
