"""The file of counts: safetensors, with a header in JSON and every array compressed with zstd.

An array is stored as its cells that are not 0 if these are few, else whole, in the narrowest type that holds its
largest cell. Nothing of the file is executed, and each part is checked against its checksum before it is used.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counting_pass import Key, read_only, table_keys, table_shape
from routestat.counting.origin import Origin
from routestat.errors import RoutestatError
from routestat.traces.alphabet import smallest_unsigned
from routestat.traces.locations import Location, locate
from routestat.traces.manifest import replace_file
from routestat.traces.metadata import Router
from routestat.traces.parts import RowRange
from routestat.traces.validation import first_line, read_json, shown

FORMAT = "routestat-counts"
VERSION = 1
VECTORS = ("tokens", "documents", "clusters")
HEADER, HASH = "header", "sha256"
# A cell that is listed takes its place as well: lists are used below this share of cells that are not 0.
FEW = 1 / 4
_ZSTD = pa.Codec("zstd", compression_level=1)

#: What the header holds of an array: its type and length, and of its two parts the type, length and checksum.
Packing = dict[str, Any]


def write_counts(path: str | Path, fields: Mapping[str, Any]) -> None:
    """Write counts to a file, which appears whole or not at all.

    Parameters
    ----------
    path : path
    fields : mapping
        The attributes of `Counts` by name.

    Raises
    ------
    RoutestatError
        If the file cannot be written, such as on a full disk; an earlier file of this name stays.
    """
    path, tensors = Path(path), dict[str, NDArray[np.uint8]]()
    packings: dict[str, Packing] = {}
    arrays = {name: fields[name] for name in VECTORS} | {
        _name(key): table for key, table in fields["tables"].items()
    }
    for name, array in arrays.items():
        packings[name], parts = _packed(array)
        tensors |= {f"{name} {part}": np.frombuffer(content, np.uint8) for part, content in parts.items()}
    header = json.dumps(_header(fields) | {"arrays": packings}, ensure_ascii=False).encode()
    tensors[HEADER] = np.frombuffer(header, np.uint8)
    tensors[HASH] = np.frombuffer(hashlib.sha256(header).digest(), np.uint8)
    try:
        replace_file(path, safetensors.numpy.save(tensors))
    except OSError as error:
        raise RoutestatError(f"{path}: cannot be written ({error.strerror or first_line(error)})") from None


def read_counts(path: str | Location) -> dict[str, Any]:
    """Read a file of counts and return the attributes of `Counts` by name.

    Raises
    ------
    RoutestatError
        If it is no such file, of another version, or damaged; names the file.
    """
    file = locate(path)
    if not file.is_file():
        raise RoutestatError(f"{file}: no such file")
    try:
        tensors = safetensors.numpy.load(file.read_bytes())
    except OSError as error:
        raise RoutestatError(f"{file}: cannot be read ({error.strerror or first_line(error)})") from None
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise RoutestatError(f"{file}: no file of counts, or damaged ({first_line(error)})") from None
    record = _read_header(tensors, str(file))
    fields, packings = _fields(record, str(file)), record["arrays"]
    keys = table_keys(fields["routers"], fields["contexts"], fields["states"])
    named = {_name((key[0], key[2].name)): key for key in keys}
    if set(packings) != {*VECTORS, *named}:
        raise RoutestatError(f"{file}: damaged, it does not hold the tables that its header names")

    def unpacked(name: str) -> NDArray[np.integer]:
        try:
            parts = {part: tensors[f"{name} {part}"].tobytes() for part in ("steps", "values")}
            return _unpacked(packings[name], parts)
        except (KeyError, TypeError, ValueError, IndexError, pa.ArrowException, OSError) as error:
            raise RoutestatError(f"{file}: damaged, {name} cannot be read ({first_line(error)})") from None

    fields |= {name: unpacked(name) for name in VECTORS}
    groups, tables = len(fields["tokens"]), {}
    for name, key in named.items():
        table, shape = unpacked(name), (groups, *table_shape(key, fields["states"]))
        if table.size != np.prod(shape):
            raise RoutestatError(f"{file}: damaged, table {name} has {table.size} cells, not {shape}")
        tables[key[0], key[2].name] = table.reshape(shape)
    return fields | {"tables": tables}


def _header(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "routers": [_plain(router) for router in fields["routers"]],
        "contexts": [context.sources for context in fields["contexts"]],
        "origins": [
            vars(origin) | {"parts": [vars(part) for part in origin.parts]} for origin in fields["origins"]
        ],
        # Text and flags, whichever there are.
        "plain": {name: value for name, value in fields.items() if isinstance(value, str | bool)},
    }


def _plain(router: Router) -> dict[str, Any]:
    return {name: getattr(router, name) for name in ("layer", "n_experts", "top_k", "name")}


def _read_header(tensors: Mapping[str, NDArray[np.uint8]], file: str) -> dict[str, Any]:
    if HEADER not in tensors or HASH not in tensors:
        raise RoutestatError(f"{file}: no file of counts; python -m routestat.count writes one")
    text = tensors[HEADER].tobytes()
    if tensors[HASH].tobytes() != hashlib.sha256(text).digest():
        raise RoutestatError(f"{file}: damaged, the hash of its header differs")
    record: dict[str, Any] = read_json(text)
    if (record["format"], record["version"]) != (FORMAT, VERSION):
        raise RoutestatError(
            f"{file}: {shown(record['format'])} of version {shown(record['version'])}, expected {FORMAT} of version "
            f"{VERSION}; count again with this routestat"
        )
    return record


def _fields(record: Mapping[str, Any], file: str) -> dict[str, Any]:
    try:
        return {
            **record["plain"],
            "routers": tuple(Router(**router) for router in record["routers"]),
            "contexts": tuple(Context(tuple(map(tuple, sources))) for sources in record["contexts"]),
            "origins": tuple(
                Origin(
                    **origin
                    | {
                        "parts": tuple(RowRange(**part) for part in origin["parts"]),
                        "shards": tuple(origin["shards"]),
                    }
                )
                for origin in record["origins"]
            ),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise RoutestatError(f"{file}: damaged, its header is incomplete ({first_line(error)})") from None


def _name(key: Key) -> str:
    context, router = key
    return f"{context.name}: {router}"


def _packed(array: NDArray[np.integer]) -> tuple[Packing, dict[str, bytes]]:
    """Pack an array; where most cells are 0, as the others with the steps from each to the next."""
    flat = array.ravel()
    values = flat.astype(smallest_unsigned(int(flat.max(initial=0)) + 1))
    steps, is_list = np.empty(0, np.uint8), False
    if np.count_nonzero(values) < FEW * len(values):
        cells, is_list = np.flatnonzero(values), True
        steps = np.diff(cells, prepend=-1)
        steps, values = steps.astype(smallest_unsigned(int(steps.max(initial=0)) + 1)), values[cells]
    packing: Packing = {"dtype": array.dtype.str, "length": len(flat), "is_list": is_list}
    contents = {}
    for part, content in (("steps", steps), ("values", values)):
        contents[part] = _ZSTD.compress(content.tobytes(), asbytes=True)
        packing[part] = {
            "dtype": content.dtype.str,
            "length": len(content),
            "crc32": zlib.crc32(contents[part]),
        }
    return packing, contents


def _unpacked(packing: Packing, contents: Mapping[str, bytes]) -> NDArray[np.integer]:
    parts = []
    for name in ("steps", "values"):
        if zlib.crc32(contents[name]) != packing[name]["crc32"]:
            raise ValueError("its checksum differs")
        dtype, length = np.dtype(packing[name]["dtype"]), packing[name]["length"]
        content = _ZSTD.decompress(contents[name], length * dtype.itemsize) if length else b""
        parts.append(np.frombuffer(content, dtype))
    steps, values = parts
    whole: NDArray[np.integer]
    if packing["is_list"]:
        whole = np.zeros(packing["length"], packing["dtype"])
        # A place beyond the end is an IndexError.
        whole[np.cumsum(steps, dtype=np.int64) - 1] = values
    else:
        whole = values.astype(packing["dtype"])
    if len(whole) != packing["length"] or whole.dtype.kind not in "iu":
        raise ValueError(f"{len(whole)} cells where {packing['length']} are named")
    return read_only(whole)
