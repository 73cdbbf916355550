"""Packed bytes: raw integers whose shape and type are given separately.

- A file of raw integers, with shape and type given by ``--shape 1000,24,2 --dtype uint8`` or by a JSON file of the
  same name beside it (``x.bin`` and ``x.json`` or ``x.bin.json``) with `shape` and `dtype`. A folder of such pairs is
  read whole, a document each.
- JSON objects ``{data, shape, dtype}`` with `data` in base64, by themselves or under one name of a record: one record,
  a list, or one a line; `position` or `start` is the position of the first row, `id` or `name` the document's name,
  `tokens` the token ids.

The shape is [tokens, layers, k]. Bytes are in C order and little-endian, unless the type says otherwise (``>i2``). They
may be compressed by zlib, gzip or zstd, as given by `compression` or recognised where the number of bytes is not that
of the shape. One array is one document.

Source: the layout of NumPy's ``ndarray.tobytes`` and ``frombuffer``, which is what such files are written with.
"""

import gzip
import io
import json
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_axes import oriented
from routestat.traces.importers.common.array_files import (
    UNREADABLE,
    from_buffer,
    integer_type,
    integers,
    unbase64,
)
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.documents import (
    CLUSTER_FIELDS,
    SourceDocument,
    cluster_of,
    join_documents,
)
from routestat.traces.importers.common.failed_records import FailedRecords, responses
from routestat.traces.importers.common.json_files import whole_number
from routestat.traces.importers.common.messages import reason
from routestat.traces.importers.common.misspelt_names import MisspeltNames
from routestat.traces.importers.common.options import ImportOptions

MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip", b"\x78": "zlib"}
KNOWN = ("none", "zlib", "gzip", "zstd")
JSON = (".json", ".jsonl")
STARTS, IDS = ("start", "position"), ("tokens", "token_ids", "input_ids")
READ = (*CLUSTER_FIELDS, *STARTS, *IDS, "data", "shape", "dtype", "compression", "id", "name")
#: A shape beyond this is a mistake, and its array would not fit any memory.
MOST_BYTES = 1 << 40


def read_packed(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read packed bytes: a file, a folder of files with their descriptions, or JSON objects.

    Raises
    ------
    FormatError
        Naming the file and the error; with both numbers where bytes and shape do not fit.
    """
    failed, misspelt = (
        FailedRecords(path, options.skip_failed),
        MisspeltNames(READ, options.cluster),
    )
    notes: set[str] = set()
    found: list[SourceDocument] = []
    for file in _data_files(path):
        if file.suffix in JSON:
            for where, outer in responses(file, failed):
                record = flattened(outer)
                lacks = None if record.get("data") is not None else "no data"
                if failed.keep(where, record, None, lacks):
                    found.append(_from_record(where, record, options, f"{file.stem} {len(found)}", notes))
                misspelt.look(outer)
        else:
            shape, dtype = _said(file, options)
            experts = oriented(
                _unpacked(str(file), file.read_bytes(), shape, dtype, None, notes), options.axes
            )
            found.append(SourceDocument(str(file), experts, file.stem, axes_known=False))
    if path.suffix not in JSON and len(found) == 1:
        notes.add("all bytes are one document, so there will be no intervals")
    said = [*failed.notes(len(found)), *sorted(notes), *misspelt.notes()]
    return join_documents(path, found, options, notes=said, engine="")


def sidecar(file: Path) -> Path | None:
    """Return the JSON file that describes the bytes of `file`, if there is one."""
    for name in (f"{file.name}.json", f"{file.stem}.json"):
        beside = file.with_name(name)
        if beside != file and beside.is_file():
            return beside
    return None


def is_description(record: Any) -> bool:
    """Return whether a JSON object gives the shape and type of an array."""
    return (
        isinstance(record, Mapping)
        and isinstance(record.get("shape"), list)
        and isinstance(record.get("dtype"), str)
    )


def flattened(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record whose array is nested under some name as one object."""
    if is_description(record):
        return dict(record)
    inside = [name for name, value in record.items() if is_description(value) and "data" in value]
    if len(inside) != 1:
        return dict(record)
    return {name: value for name, value in record.items() if name != inside[0]} | record[inside[0]]


def describes(file: Path) -> bool:
    """Return whether a small JSON file holds such a description and no data."""
    if file.stat().st_size > 1 << 16:
        return False
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    return is_description(record) and "data" not in record


def _data_files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.is_file():
            raise FormatError(f"{path}: no such file")
        if path.suffix in JSON and describes(path):
            raise FormatError(
                f"{path}: it describes packed bytes but holds none; convert the file of the bytes"
            )
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file())
    packed = [file for file in files if file.suffix not in JSON and sidecar(file) is not None]
    if not packed:
        raise FormatError(f"{path}: no files of bytes with a .json of their shape and dtype beside them")
    return packed


def _said(file: Path, options: ImportOptions) -> tuple[list[int], str]:
    """Return the shape and type of a file, from the options or the file beside it."""
    beside = sidecar(file)
    record: dict[str, Any] = {}
    if beside is not None and describes(beside):
        record = json.loads(beside.read_text(encoding="utf-8"))
    shape = _shape("--shape", options.shape.split(",")) if options.shape is not None else None
    if shape is None and "shape" in record:
        shape = _shape(f"{beside}: shape", record["shape"])
    dtype = options.dtype if options.dtype is not None else record.get("dtype")
    if shape is None or dtype is None:
        lacking = " and ".join(name for name, one in (("--shape", shape), ("--dtype", dtype)) if one is None)
        raise FormatError(
            f"{file}: raw bytes have neither shape nor type: give {lacking}, such as --shape 1000,24,2 "
            f"--dtype uint8, or {file.name}.json with shape and dtype"
        )
    return shape, dtype


def _shape(where: str, parts: Any) -> list[int]:
    """Parse three whole numbers from 1: [tokens, layers, k]."""
    numbers = []
    for part in parts if isinstance(parts, list) else []:
        text = str(part).strip()
        if isinstance(part, bool) or not text.isascii() or not text.isdigit() or int(text) < 1:
            raise FormatError(
                f"{where}: expected three whole numbers from 1, [tokens, layers, k], got {reason(parts)}; no size is "
                "guessed"
            )
        numbers.append(int(text))
    if len(numbers) != 3:
        raise FormatError(f"{where}: expected [tokens, layers, k], got {reason(parts)}")
    return numbers


def _from_record(
    where: str, record: dict[str, Any], options: ImportOptions, fallback: str, notes: set[str]
) -> SourceDocument:
    shape = _shape(f"{where}: shape", record.get("shape"))
    dtype = record.get("dtype") if record.get("dtype") is not None else options.dtype
    if dtype is None:
        raise FormatError(f"{where}: no dtype beside shape and data; give --dtype")
    raw = unbase64(f"{where}.data", record["data"])
    experts = oriented(_unpacked(where, raw, shape, dtype, record.get("compression"), notes), options.axes)
    first = next((name for name in STARTS if record.get(name) is not None), None)
    ids = next((record[name] for name in IDS if record.get(name) is not None), None)
    tokens = None if ids is None else integers(f"{where}: token ids", ids, 1)
    start = 0 if first is None else whole_number(where, record, first)
    if tokens is not None and len(tokens) < start + len(experts):
        raise FormatError(f"{where}: {len(tokens)} token ids where the rows end at {start + len(experts)}")
    name = str(record.get("id") or record.get("name") or fallback)
    cluster, known = cluster_of(where, record, options), tokens is not None
    return SourceDocument(where, experts, name, start, None, tokens, cluster=cluster, axes_known=known)


def _unpacked(
    where: str, raw: bytes, shape: list[int], dtype: Any, compression: Any, notes: set[str]
) -> NDArray[np.integer]:
    """Return the integers in the bytes, decompressed if necessary."""
    name = dtype.removeprefix("torch.").removeprefix("numpy.") if isinstance(dtype, str) else ""
    expected = prod(shape) * integer_type(f"{where}.dtype", name).itemsize
    if expected > MOST_BYTES:
        raise FormatError(f"{where}: shape {shape} of {dtype} takes {expected} bytes; is it right?")
    kind = _compression(where, raw, compression, expected)
    if kind != "none":
        raw = _decompressed(where, raw, kind, expected)
        if len(raw) > expected:
            raise FormatError(
                f"{where}: {kind} of more than the {expected} bytes that {shape} of {dtype} take"
            )
        notes.add(f"bytes were decompressed by {kind}")
    experts = from_buffer(where, raw, name, shape)
    notes.add(
        f"raw {experts.dtype} in C order, {'big' if name.startswith('>') else 'little'}-endian, [tokens, layers, k]"
    )
    return narrow(experts)


def _compression(where: str, raw: bytes, said: Any, expected: int) -> str:
    if said is not None:
        kind = (
            str(said).lower().removeprefix("base64+").replace("zstandard", "zstd").replace("deflate", "zlib")
        )
        if kind not in KNOWN:
            raise FormatError(f"{where}: compression {reason(said)}; read are {', '.join(KNOWN[1:])}")
        return kind
    if len(raw) == expected:
        return "none"
    return next((kind for magic, kind in MAGIC.items() if raw.startswith(magic)), "none")


def _decompressed(where: str, raw: bytes, kind: str, expected: int) -> bytes:
    """Decompress at most one byte more than expected, which shows whether there are more."""
    try:
        if kind == "zlib":
            return zlib.decompressobj().decompress(raw, expected + 1)
        if kind == "gzip":
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
                return stream.read(expected + 1)
        with pa.CompressedInputStream(pa.BufferReader(raw), "zstd") as stream:
            return bytes(stream.read(expected + 1))
    except (*UNREADABLE, pa.ArrowException) as error:
        raise FormatError(f"{where}: not {kind} as it seems ({reason(error)}); was it cut off?") from None
