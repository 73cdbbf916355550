"""Files of ``torch.save``, read without running anything that is in them."""

import importlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from routestat.errors import FormatError
from routestat.traces.importers.common.array_files import UNREADABLE
from routestat.traces.importers.common.messages import reason

# Largest size of a tensor that repeats stored numbers (an expanded one); more could exhaust the memory.
MOST_REPEATED = 1 << 24


def torch_file(path: Path) -> Any:
    """Read what ``torch.save`` wrote, if it is tensors and containers; tensors become arrays.

    Raises
    ------
    FormatError
        If torch is absent, or the file would have to run code to be read.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise FormatError(f"{path}: .pt files need torch: pip install 'routestat[capture]'") from None
    try:
        # Torch warns of damaged files before it refuses them; only the refusal is reported.
        with warnings.catch_warnings(), torch.serialization.safe_globals(_array_parts()):
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FormatError(
            f"{path}: holds more than tensors and numbers, and is not read, as that could run code ({reason(error)})"
        ) from None
    except UNREADABLE as error:
        raise FormatError(f"{path}: not a readable .pt file ({reason(error)})") from None
    try:
        return _plain(loaded, torch)
    except UNREADABLE as error:
        raise FormatError(f"{path}: holds tensors that are no plain numbers ({reason(error)})") from None


def _array_parts() -> list[Any]:
    """Return what rebuilds NumPy arrays, under old and new names: these hold numbers and run nothing."""
    rebuild = np.empty(0).__reduce__()[0]
    scalar = np.int64(0).__reduce__()[0]
    kinds = [
        type(np.dtype(name)) for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "f2", "f4", "f8", "?")
    ]
    old = [(rebuild, "numpy.core.multiarray._reconstruct"), (scalar, "numpy.core.multiarray.scalar")]
    return [rebuild, scalar, *old, np.ndarray, np.dtype, *kinds]


def _plain(value: Any, torch: Any) -> Any:
    if isinstance(value, torch.Tensor):
        held = value.untyped_storage().nbytes() // max(value.element_size(), 1)
        if value.numel() > max(held, MOST_REPEATED):
            raise ValueError(f"a tensor of {list(value.shape)} where {held} numbers are stored")
        return value.detach().float().numpy() if value.dtype == torch.bfloat16 else value.detach().numpy()
    if isinstance(value, dict):
        return {key: _plain(item, torch) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, torch) for item in value]
    return value
