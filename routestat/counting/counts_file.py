"""The file of counts: an Arrow IPC file with one row per table, compressed, and a header in JSON.

A table is stored as its cells that are not 0 if these are few, else whole, in the narrowest type that holds its
largest cell. The file is read without executing anything, and every array is checked against its own checksum.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counting_pass import Key, read_only, table_keys, table_shape
from routestat.counting.origin import Origin
from routestat.errors import RoutestatError
from routestat.traces.alphabet import smallest_unsigned
from routestat.traces.locations import Location, locate
from routestat.traces.manifest import open_arrow
from routestat.traces.metadata import Router
from routestat.traces.parts import RowRange
from routestat.traces.validation import first_line, read_json, shown

FORMAT = "routestat-counts"
VERSION = 1
VECTORS = ("tokens", "documents", "clusters")
# A cell that is listed takes its place as well: lists are used below this share of cells that are not 0.
FEW = 1 / 4
_HEADER, _HASH = b"routestat", b"sha256"
_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("steps_dtype", pa.string(), nullable=False),
        pa.field("values_dtype", pa.string(), nullable=False),
        pa.field("steps", pa.large_binary(), nullable=False),
        pa.field("values", pa.large_binary(), nullable=False),
        pa.field("crc", pa.uint32(), nullable=False),
    ]
)


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
    path = Path(path)
    header = json.dumps(_header(fields), ensure_ascii=False).encode()
    schema = _SCHEMA.with_metadata({_HEADER: header, _HASH: hashlib.sha256(header).hexdigest()})
    temporary = path.with_name(path.name + f".{os.getpid()}.tmp")
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    try:
        with temporary.open("wb") as handle:
            with pa.ipc.new_file(handle, schema, options=options) as sink:
                for name, array in _arrays(fields):
                    sink.write_batch(_packed(name, array, schema))
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RoutestatError(f"{path}: cannot be written ({error.strerror or first_line(error)})") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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
    reader = open_arrow(file)
    fields = _read_header(reader.schema.metadata or {}, str(file))
    arrays = {name: array for name, array in _read_arrays(reader, str(file))}
    keys = table_keys(fields["routers"], fields["contexts"], fields["states"])
    named = {_name((key[0], key[2].name)): key for key in keys}
    if set(arrays) != {*VECTORS, *named}:
        raise RoutestatError(f"{file}: damaged, it does not hold the tables that its header names")
    for name in VECTORS:
        fields[name] = arrays.pop(name)
    groups, tables = len(fields["tokens"]), {}
    for name, key in named.items():
        shape = (groups, *table_shape(key, fields["states"]))
        if arrays[name].size != np.prod(shape):
            raise RoutestatError(f"{file}: damaged, table {name} has {arrays[name].size} cells, not {shape}")
        tables[key[0], key[2].name] = read_only(arrays.pop(name).reshape(shape))
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


def _read_header(metadata: Mapping[bytes, bytes], file: str) -> dict[str, Any]:
    text = metadata.get(_HEADER, b"")
    record = read_json(text) if text else {}
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RoutestatError(f"{file}: no file of counts; python -m routestat.count writes one")
    if record.get("version") != VERSION:
        raise RoutestatError(
            f"{file}: counts of format version {shown(record.get('version'))}, this routestat reads version "
            f"{VERSION}; count again"
        )
    if metadata.get(_HASH) != hashlib.sha256(text).hexdigest().encode():
        raise RoutestatError(f"{file}: damaged, the hash of its header differs")
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


def _arrays(fields: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[np.integer]]]:
    yield from ((name, fields[name]) for name in VECTORS)
    yield from ((_name(key), table) for key, table in fields["tables"].items())


def _packed(name: str, array: NDArray[np.integer], schema: pa.Schema) -> pa.RecordBatch:
    """Pack one array into a row; where most cells are 0, as the others with the steps from each to the next."""
    flat = array.ravel()
    largest = int(flat.max(initial=0))
    steps = np.empty(0, np.uint8)
    values = flat.astype(smallest_unsigned(largest + 1))
    if np.count_nonzero(values) < FEW * len(values):
        cells = np.flatnonzero(values)
        steps = np.diff(cells, prepend=-1)
        steps, values = steps.astype(smallest_unsigned(int(steps.max(initial=0)) + 1)), values[cells]
        kind = steps.dtype.str
    else:
        kind = ""
    columns = {
        "name": name,
        "dtype": array.dtype.newbyteorder("<").str,
        "length": len(flat),
        "steps_dtype": kind,
        "values_dtype": values.dtype.str,
        "steps": steps.tobytes(),
        "values": values.tobytes(),
    }
    columns["crc"] = _checksum(columns)
    return pa.RecordBatch.from_arrays(
        [pa.array([columns[field.name]], field.type) for field in schema], schema=schema
    )


def _read_arrays(reader: Any, file: str) -> Iterator[tuple[str, NDArray[np.integer]]]:
    for index in range(reader.num_record_batches):
        try:
            row = reader.get_batch(index)
            packed = {name: row.column(name)[0] for name in _SCHEMA.names}
            record = {
                name: value.as_buffer() if name in ("steps", "values") else value.as_py()
                for name, value in packed.items()
            }
            sound = record["crc"] == _checksum(record)
        except (pa.ArrowException, OSError, KeyError, AttributeError, TypeError, IndexError) as error:
            raise RoutestatError(
                f"{file}: damaged, row {index} cannot be read ({first_line(error)})"
            ) from None
        if not sound:
            raise RoutestatError(f"{file}: damaged, the checksum of row {index} differs")
        try:
            yield record["name"], _unpacked(record)
        except (TypeError, ValueError, IndexError) as error:
            raise RoutestatError(f"{file}: damaged, row {index} is no table ({first_line(error)})") from None


def _unpacked(record: Mapping[str, Any]) -> NDArray[np.integer]:
    values = np.frombuffer(record["values"], record["values_dtype"])
    if record["steps_dtype"]:
        steps = np.frombuffer(record["steps"], record["steps_dtype"])
        cells = np.cumsum(steps, dtype=np.int64) - 1
        whole = np.zeros(record["length"], record["dtype"])
        # An index beyond the end is an IndexError.
        whole[cells] = values
    else:
        whole = values.astype(record["dtype"])
    if len(whole) != record["length"] or whole.dtype.kind not in "iu":
        raise ValueError(f"{len(whole)} cells where {record['length']} are named")
    return read_only(whole)


def _checksum(record: Mapping[str, Any]) -> int:
    """Return a checksum of a row: of its names and sizes, then of its content."""
    said = "|".join(str(record[name]) for name in _SCHEMA.names[:5])
    return zlib.crc32(record["values"], zlib.crc32(record["steps"], zlib.crc32(said.encode())))
