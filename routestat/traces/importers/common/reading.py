"""Opening other tools' files without running anything that is in them.

JSON, base64 and arrays of plain numbers; no pickle but torch's restricted one (``weights_only=True``), which
builds tensors, numbers, strings and containers and refuses everything else.
"""

import base64
import importlib
import io
import json
import pickle
import re
import struct
import tokenize
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import kind_of, listed, reason
from routestat.traces.validation import shown

# What a damaged archive or header makes NumPy and zipfile raise; a header may ask for more memory than there is.
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


# Numbers of a tensor that may repeat what is stored (an expanded one); more is a claim to fill the memory with.
MOST_REPEATED = 1 << 24
# Files that lie beside data and are none.
BESIDE = re.compile(r"\.|README|LICEN[CS]E|.*\.(?:md|ya?ml|log)$", re.IGNORECASE)


def files_of(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """The file itself, or the files of a folder that end so, by name.

    Raises
    ------
    FormatError
        If there is none.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in suffixes and file.is_file())
        if not files:
            raise FormatError(f"{path}: no {', '.join(suffixes)} files in this folder")
        return files
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    return [path]


def note_unread_files(path: Path, read: Iterable[Path]) -> list[str]:
    """A note on the files of a folder that nobody read: a suffix may be wrong; none for a file by itself."""
    if not path.is_dir():
        return []
    known = set(read)
    rest = [
        file.name
        for file in sorted(path.iterdir())
        if file.is_file() and file not in known and not BESIDE.match(file.name)
    ]
    return [f"{len(rest)} files of {path} are not read: {listed(rest)}"] if rest else []


def json_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON or JSON Lines file, each with its place in words; lines are read one by one."""
    for where, value in json_values(path):
        yield where, json_object(where, value)


def json_values(path: Path) -> Iterator[tuple[str, Any]]:
    """As `json_records`, whatever the items or lines are."""
    try:
        with path.open(encoding="utf-8-sig") as handle:
            lines = ((number, line) for number, line in enumerate(handle, 1) if line.strip())
            first, second = next(lines, None), next(lines, None)
            if first is None:
                raise FormatError(f"{path}: empty")
            if second is not None and _is_json(first[1]):
                for number, line in chain((first, second), lines):
                    yield f"{path}, line {number}", _parse(f"{path}, line {number}", line)
                return
        content = _parse(str(path), path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    if isinstance(content, list):
        for index, item in enumerate(content):
            yield f"{path}, item {index}", item
    else:
        yield str(path), content


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parse(where: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_named_once)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    except RecursionError:
        raise FormatError(f"{where}: not valid JSON (nested too deeply)") from None
    except ValueError as error:
        raise FormatError(f"{where}: not valid JSON ({reason(error)}); was it cut off?") from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; which of two values of one name counts, nobody can say."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in record if names.count(name) > 1)
        raise FormatError(f"the name {shown(twice)} comes twice in one object")
    return record


def json_object(where: str, value: Any) -> dict[str, Any]:
    """The value, if it is an object."""
    if not isinstance(value, dict):
        raise FormatError(f"{where}: wanted an object, got {kind_of(value)}")
    return value


def inner(where: str, record: dict[str, Any], name: str) -> dict[str, Any]:
    """An object inside a record; empty if it is not there."""
    value = record.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FormatError(f"{where}: {name} must be an object, got {kind_of(value)}")
    return value


def whole_number(where: str, record: dict[str, Any], name: str, least: int = 0) -> int:
    """A whole number of a record."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 31:
        raise FormatError(f"{where}: {name} must be a whole number from {least}, got {_value(value)}")
    return value


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return kind_of(value)
    return reason(shown(value) if isinstance(value, str) else value)


def unbase64(where: str, text: Any) -> bytes:
    """The bytes behind a base64 string."""
    if not isinstance(text, str):
        raise FormatError(f"{where}: wanted a base64 string, got {kind_of(text)}")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise FormatError(f"{where}: not valid base64 ({error}); was it cut off?") from None


def integer_type(where: str, name: Any) -> np.dtype:
    """The integer type of that name."""
    try:
        # NumPy warns of names that it is about to forget.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # None would be taken for float64.
            kind = np.dtype("" if name is None else name)
    except (TypeError, ValueError, SyntaxError):
        raise FormatError(f"{where}: no such type: {shown(name)}") from None
    if kind.kind not in "iu":
        raise FormatError(f"{where}: wanted an integer type, got {kind}")
    return kind


def from_buffer(where: str, raw: bytes, dtype: Any, shape: Sequence[int]) -> NDArray[np.integer]:
    """Raw C-order little-endian integers of a stated type and shape."""
    kind = integer_type(f"{where}.dtype", dtype)
    wanted = prod(shape) * kind.itemsize
    if len(raw) != wanted:
        raise FormatError(f"{where}: {len(raw)} bytes where {list(shape)} of {kind} take {wanted}")
    little = kind if kind.byteorder == ">" else kind.newbyteorder("<")
    return np.frombuffer(raw, little).reshape(tuple(shape))


def npy_bytes(where: str, raw: bytes) -> NDArray:
    """The array of an ``.npy`` in memory."""
    try:
        array = np.load(io.BytesIO(raw), allow_pickle=False)
    except UNREADABLE as error:
        raise FormatError(f"{where}: not a readable .npy of plain numbers ({reason(error)})") from None
    if not isinstance(array, np.ndarray):
        raise FormatError(f"{where}: an .npz archive where an .npy was expected")
    return array


def numpy_file(path: Path) -> dict[str, NDArray]:
    """The arrays of an ``.npz`` by name; an ``.npy`` is called by the empty string."""
    try:
        # Opened here, for NumPy leaves open what it cannot read.
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
    """Refuse an archive with a member twice: which of them counts, nobody can say."""
    names = [] if archive is None else archive.namelist()
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"{path}: the archive holds {shown(twice)} twice")


def torch_file(path: Path) -> Any:
    """What ``torch.save`` wrote, if it is tensors and containers; tensors become arrays.

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
        # Torch warns of damaged files before it refuses them; the refusal shall be the one line that is seen.
        with warnings.catch_warnings(), torch.serialization.safe_globals(_array_parts()):
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FormatError(
            f"{path}: holds more than tensors and numbers, and is not read, for that could run code ({reason(error)})"
        ) from None
    except UNREADABLE as error:
        raise FormatError(f"{path}: not a readable .pt file ({reason(error)})") from None
    try:
        return _plain(loaded, torch)
    except UNREADABLE as error:
        raise FormatError(f"{path}: holds tensors that are no plain numbers ({reason(error)})") from None


def _array_parts() -> list[Any]:
    """What NumPy arrays are rebuilt with, under old and new names: they hold numbers and run nothing."""
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


def integers(where: str, value: Any, n_axes: int) -> NDArray[np.integer]:
    """Nested lists or an array as integers of so many axes; an empty list has none of anything."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise FormatError(f"{where}: rows of unequal length{_odd_row(value, n_axes)}") from None
    if isinstance(value, list) and array.ndim == n_axes and _has_truth(value, n_axes):
        raise FormatError(f"{where}: true or false where an integer was wanted")
    if not array.size and array.ndim < n_axes:
        return np.zeros((0,) * n_axes, np.int8)
    if array.ndim != n_axes or array.dtype.kind not in "iu":
        wanted = f"integers of {n_axes} axes" if n_axes > 1 else "integers"
        got = f"{array.dtype} {list(array.shape)}" if isinstance(value, list | np.ndarray) else kind_of(value)
        logits = "; router logits are read with --logits" if n_axes == 3 and array.dtype.kind == "f" else ""
        raise FormatError(f"{where}: wanted {wanted}, got {got}{logits}")
    return array


def _has_truth(value: Any, n_axes: int) -> bool:
    """Whether nested lists hold true or false, which NumPy takes for 1 and 0 among integers."""
    for _ in range(n_axes - 1):
        value = chain.from_iterable(value)
    return bool in set(map(type, value))


def _odd_row(value: Any, depth: int) -> str:
    """The first row that is not as the first one, in words; nothing where rows are no lists."""
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
