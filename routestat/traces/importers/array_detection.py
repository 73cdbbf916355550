"""The format of a file of arrays, by their names, axes and types."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_files import UNREADABLE, numpy_file
from routestat.traces.importers.common.counts_only import counts_in_arrays, refuse_counts
from routestat.traces.importers.common.safetensors_files import safetensors_file
from routestat.traces.importers.common.torch_files import torch_file
from routestat.traces.importers.slime import KEY
from routestat.traces.importers.tensorrt_llm import is_raw

#: Files of counts are small: one number per layer and expert.
MOST_COUNTS = 1 << 26


def refuse_counted(path: Path, opened: Callable[[], Any]) -> None:
    """Refuse a small file of arrays that are counts; large files hold data per token."""
    if path.stat().st_size > MOST_COUNTS:
        return
    try:
        held = opened()
    except FormatError:
        return  # its reader reports the error
    arrays: dict[str, NDArray] = held if isinstance(held, dict) else {"": held}
    what = counts_in_arrays({name: one for name, one in arrays.items() if isinstance(one, np.ndarray)})
    if what is not None:
        refuse_counts(path, what)


def of_safetensors(path: Path) -> str | None:
    """Return the format of a ``.safetensors``; None if it is not known."""
    held = safetensors_file(path)
    if is_raw(held) or (held and all(one.ndim == 3 and one.dtype.kind in "iu" for one in held.values())):
        return "tensorrt-llm"
    refuse_counted(path, lambda: held)
    return None


def of_archive(path: Path) -> str | None:
    """Return the format of an ``.npz`` or ``.pt``, both zip files, by the names of their members."""
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except UNREADABLE:
        return of_torch(path) if path.suffix in (".pt", ".pth") else "arrays"
    if any(name.endswith("data.pkl") for name in names):
        return of_torch(path)
    arrays = {name.removesuffix(".npy") for name in names}
    if names and not any(name.endswith((".npy", "/")) for name in names):
        raise FormatError(f"{path}: a zip of {names[0]}; unpack it, or pack the file by gzip or zstd")
    if "experts" in arrays or not arrays:
        return "arrays"
    if any(name.startswith(KEY) for name in arrays):
        return "slime"
    if "routed_experts" in arrays:
        beside = {"attention_mask", "input_ids", "responses"} & arrays
        return "slime" if beside or _n_axes(path, "routed_experts") == 4 else "vllm"
    refuse_counted(path, lambda: numpy_file(path))
    return "vllm" if all(_n_axes(path, name) == 3 for name in arrays) else "arrays"


def _n_axes(path: Path, name: str) -> int:
    """Return the number of axes of an array of an ``.npz`` from its header, without reading it."""
    try:
        with ZipFile(path) as archive, archive.open(f"{name}.npy") as handle:
            shape = re.search(rb"'shape':\s*\(([^)]*)\)", handle.read(512))
    except UNREADABLE:
        return 0
    return len([part for part in shape[1].split(b",") if part.strip()]) if shape else 0


def of_torch(path: Path) -> str | None:
    """Return the format of a ``.pt``; None if it is not known."""
    held = torch_file(path)
    if isinstance(held, dict):
        if "records" in held or "logical_count" in held:
            return "sglang"
        if {"samples", KEY, "routed_experts"} & set(held):
            return "slime"
    items = held if isinstance(held, list) else [held]
    if items and all(_is_request(one) for one in items):
        return "tensorrt-llm"
    refuse_counted(path, lambda: held)
    return None


def _is_request(value: Any) -> bool:
    """Return whether a value of a ``.pt`` is the routing of a request."""
    value = value.get("routed_experts") if isinstance(value, dict) else value
    return isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype.kind in "iu"
