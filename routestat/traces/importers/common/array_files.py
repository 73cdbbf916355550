"""Arrays of plain numbers from NumPy files, raw bytes, base64 and nested lists."""

import base64
import io
import struct
import tokenize
import warnings
import zlib
from collections.abc import Sequence
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import kind_of, reason
from routestat.traces.validation import shown

# Errors of NumPy and zipfile for damaged archives and headers; a header may require more memory than exists.
UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,  # an encrypted member, an unknown compression
    TypeError,
    AttributeError,
    SyntaxError,
    BadZipFile,
    tokenize.TokenError,
    zlib.error,
    struct.error,
)


def unbase64(where: str, text: Any) -> bytes:
    """Decode a base64 string."""
    if not isinstance(text, str):
        raise FormatError(f"{where}: expected a base64 string, got {kind_of(text)}")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise FormatError(f"{where}: not valid base64 ({error}); was it cut off?") from None


def integer_type(where: str, name: Any) -> np.dtype:
    """Return the integer type of that name."""
    try:
        # NumPy warns of deprecated names.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # None would mean float64.
            kind = np.dtype("" if name is None else name)
    except (TypeError, ValueError, SyntaxError):
        raise FormatError(f"{where}: no such type: {shown(name)}") from None
    if kind.kind not in "iu":
        raise FormatError(f"{where}: expected an integer type, got {kind}")
    return kind


def from_buffer(where: str, raw: bytes, dtype: Any, shape: Sequence[int]) -> NDArray[np.integer]:
    """Read raw C-order little-endian integers of a stated type and shape."""
    kind = integer_type(f"{where}.dtype", dtype)
    wanted = prod(shape) * kind.itemsize
    if len(raw) != wanted:
        raise FormatError(f"{where}: {len(raw)} bytes where {list(shape)} of {kind} take {wanted}")
    little = kind if kind.byteorder == ">" else kind.newbyteorder("<")
    return np.frombuffer(raw, little).reshape(tuple(shape))


def npy_bytes(where: str, raw: bytes) -> NDArray:
    """Read an ``.npy`` from memory."""
    try:
        array = np.load(io.BytesIO(raw), allow_pickle=False)
    except UNREADABLE as error:
        raise FormatError(f"{where}: not a readable .npy of plain numbers ({reason(error)})") from None
    if not isinstance(array, np.ndarray):
        raise FormatError(f"{where}: an .npz archive where an .npy was expected")
    return array


def numpy_file(path: Path) -> dict[str, NDArray]:
    """Read the arrays of an ``.npz`` by name; the array of an ``.npy`` is named by the empty string."""
    try:
        # Opened here, as NumPy does not close files that it cannot read.
        with path.open("rb") as handle:
            loaded = np.load(handle, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            with loaded:
                require_members_once(path, loaded.zip)
                return {name: loaded[name] for name in loaded.files}
    except FormatError:
        raise
    except UNREADABLE as error:
        raise FormatError(f"{path}: not a readable file of plain arrays ({reason(error)})") from None


def require_members_once(path: Path, archive: ZipFile | None) -> None:
    """Refuse an archive with a member twice, as it is unknown which is valid."""
    names = [] if archive is None else archive.namelist()
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"{path}: the archive holds {shown(twice)} twice")


def integers(where: str, value: Any, n_axes: int) -> NDArray[np.integer]:
    """Convert nested lists or an array to integers of so many axes; an empty list has length 0 in all."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise FormatError(f"{where}: rows of unequal length{_odd_row(value, n_axes)}") from None
    if isinstance(value, list) and array.ndim == n_axes and _has_truth(value, n_axes):
        raise FormatError(f"{where}: expected an integer, got true or false")
    if not array.size and array.ndim < n_axes:
        return np.zeros((0,) * n_axes, np.int8)
    if array.ndim != n_axes or array.dtype.kind not in "iu":
        wanted = f"integers of {n_axes} axes" if n_axes > 1 else "integers"
        got = f"{array.dtype} {list(array.shape)}" if isinstance(value, list | np.ndarray) else kind_of(value)
        logits = "; router logits are read with --logits" if n_axes == 3 and array.dtype.kind == "f" else ""
        raise FormatError(f"{where}: expected {wanted}, got {got}{logits}")
    return array


def _has_truth(value: Any, n_axes: int) -> bool:
    """Return whether nested lists hold true or false, which NumPy converts to 1 and 0."""
    for _ in range(n_axes - 1):
        value = chain.from_iterable(value)
    return bool in set(map(type, value))


def _odd_row(value: Any, depth: int) -> str:
    """Describe the first row whose shape differs from that of row 0; empty where rows are not lists."""
    if not isinstance(value, list | tuple) or not value or not depth:
        return ""

    def shape(item: Any) -> tuple[int, ...]:
        try:
            return np.asarray(item).shape
        except (ValueError, TypeError, OverflowError, RecursionError):
            return (-1,)

    wanted = shape(value[0])
    odd = next((place for place, item in enumerate(value) if shape(item) != wanted), None)
    if wanted == (-1,):
        return f": row 0{_odd_row(value[0], depth - 1).replace(': row', ', part')}"
    return "" if odd is None else f": row {odd} is {list(shape(value[odd]))}, row 0 {list(wanted)}"
