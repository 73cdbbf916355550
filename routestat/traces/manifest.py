"""The manifest of a store, written last and replaced atomically; schema and hashes of its files."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from routestat.errors import RoutestatError, TraceError
from routestat.traces.locations import Location
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.validation import (
    PHASE_TYPE,
    first_line,
    read_json,
    require_kind,
    require_text,
    require_whole,
    shown,
)

FORMAT = "routestat-trace"
VERSION = 1
MANIFEST = "manifest.json"
DOCUMENTS = "documents.arrow"
# A column of a batch stays in the L2 cache while all tables that need it are counted.
BATCH_ROWS = 1 << 16

# document, position, token, phase: before the routers.
FIXED_COLUMNS = 4


@dataclass(frozen=True)
class FileRecord:
    """The record of one file of the store in the manifest."""

    file: str
    rows: int
    bytes: int
    sha256: str

    @classmethod
    def from_json(cls, record: Any, what: str) -> "FileRecord":
        """Read the record of a file in a manifest; `what` names it in messages."""
        require_kind(record, dict, what, "an object")
        file = require_text(_field(record, "file", what), f"{what}: file")
        # A manifest is data from outside: it must not name files outside its folder.
        if Path(file).name != file or file in ("", "..") or "\0" in file:
            raise TraceError(f"{what}: {shown(file)} is not a plain file name")
        rows = require_whole(_field(record, "rows", what), f"{what}: rows", high=None)
        size = require_whole(_field(record, "bytes", what), f"{what}: bytes", high=None)
        return cls(file, rows, size, require_text(_field(record, "sha256", what), f"{what}: sha256"))


@dataclass(frozen=True)
class Manifest:
    """The content of a store; `complete` is False while a writer is open, or if it stopped before closing."""

    meta: TraceMeta
    columns: tuple[str, ...]
    shards: tuple[FileRecord, ...]
    documents: FileRecord
    complete: bool

    @property
    def recorded(self) -> tuple[str, ...]:
        """Columns recorded beside the routers, such as ``L00.top1``."""
        return self.columns[FIXED_COLUMNS + len(self.meta.routers) :]

    @property
    def n_tokens(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    def save(self, folder: Path) -> None:
        """Replace the manifest atomically."""
        record = {
            "format": FORMAT,
            "version": VERSION,
            "complete": self.complete,
            "n_tokens": self.n_tokens,
            "meta": self.meta.to_json(),
            "columns": list(self.columns),
            "shards": [vars(shard) for shard in self.shards],
            "documents": vars(self.documents),
        }
        replace_file(folder / MANIFEST, json.dumps(record, indent=1, ensure_ascii=False).encode())

    @classmethod
    def load(cls, folder: Location) -> "Manifest":
        """Read and check the manifest of a store; every error names the file."""
        path = folder / MANIFEST
        try:
            return cls._from_json(read_json(path.read_bytes()))
        except OSError as error:
            raise TraceError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from None
        except RoutestatError as error:
            raise TraceError(str(error) if str(path) in str(error) else f"{path}: {error}") from None

    @classmethod
    def _from_json(cls, record: Any) -> "Manifest":
        require_kind(record, dict, "a manifest", "an object")
        if _field(record, "format") != FORMAT:
            raise TraceError(f"format {shown(record['format'])} is not a {FORMAT}")
        if require_whole(_field(record, "version"), "version", high=None) != VERSION:
            raise TraceError(
                f"store format version {record['version']}, this routestat reads version {VERSION}; "
                "use the routestat that wrote it, or convert the source again"
            )
        listed = require_kind(_field(record, "shards"), list, "shards", "a list")
        shards = tuple(FileRecord.from_json(item, f"shard {i}") for i, item in enumerate(listed))
        documents = FileRecord.from_json(_field(record, "documents"), "documents")
        files = [item.file for item in (*shards, documents)]
        if len(set(files)) != len(files):
            raise TraceError(f"{shown(Counter(files).most_common(1)[0][0])} is listed twice")
        meta = TraceMeta.from_json(_field(record, "meta"))
        names = require_kind(_field(record, "columns"), list, "columns", "a list")
        columns = tuple(require_text(name, "a name in columns") for name in names)
        wanted = schema_of(meta, columns[FIXED_COLUMNS + len(meta.routers) :]).names
        if list(columns) != wanted:
            raise TraceError(f"columns must be {', '.join(wanted)}, got {', '.join(map(shown, columns))}")
        complete = require_kind(_field(record, "complete"), bool, "complete", "true or false")
        return cls(meta, columns, shards, documents, complete)

    def with_shard(self, shard: FileRecord, documents: FileRecord, columns: Sequence[str]) -> "Manifest":
        """Return the manifest after one more shard."""
        return replace(self, shards=(*self.shards, shard), documents=documents, columns=tuple(columns))


def _field(record: dict[str, Any], name: str, what: str = "") -> Any:
    if name not in record:
        raise TraceError(f"{what + ': ' if what else ''}field {name} is missing or misspelt")
    return record[name]


def state_type(router: Router) -> pa.DataType:
    """Return the Arrow type of a router's column: unsigned states, or sorted expert rows beyond 64 bits."""
    alphabet = router.alphabet
    if alphabet.is_ranked:
        return pa.from_numpy_dtype(alphabet.dtype)
    return pa.list_(
        pa.field("item", pa.from_numpy_dtype(alphabet.expert_dtype), nullable=False), alphabet.top_k
    )


def column_type(name: str, router: Router) -> pa.DataType:
    """Return the Arrow type of a router's column or of one of its recorded companions (``.top1`` …)."""
    suffix = name.removeprefix(router.name).removeprefix(".")
    if suffix == "top1":
        return pa.from_numpy_dtype(router.alphabet.expert_dtype)
    if suffix == "weights":
        return pa.list_(pa.field("item", pa.float16(), nullable=False), router.top_k)
    if suffix == "" or (suffix.startswith("ahead") and suffix.removeprefix("ahead").isdigit()):
        return state_type(router)
    raise TraceError(f"column {name!r} is none of L00, L00.top1, L00.weights, L00.ahead1 …")


def schema_of(meta: TraceMeta, extra_columns: Sequence[str] = ()) -> pa.Schema:
    """Return the schema of a shard: document, position, token, phase, the routers, then further columns."""
    fields = [
        pa.field("document", pa.int32(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("token", pa.int32(), nullable=False),
        pa.field("phase", PHASE_TYPE, nullable=False),
    ]
    routers = {router.name: router for router in meta.routers}
    if len({*routers, *extra_columns}) != len(routers) + len(extra_columns):
        raise TraceError(f"a column is named twice: {', '.join((*routers, *extra_columns))}")
    for name in (*routers, *extra_columns):
        owner = routers.get(name) or routers.get(name.split(".", 1)[0])
        if owner is None:
            raise TraceError(f"column {name!r} belongs to no router of this trace")
        fields.append(pa.field(name, column_type(name, owner), nullable=False))
    return pa.schema(fields)


def write_arrow(path: Path, table: pa.Table) -> FileRecord:
    """Write a table whole as compressed Arrow IPC under a temporary name, hash it, then rename it."""
    temporary = path.with_name(path.name + ".tmp")
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with temporary.open("wb") as handle:
        with pa.ipc.new_file(handle, table.schema, options=options) as sink:
            sink.write_table(table, max_chunksize=BATCH_ROWS)
        handle.flush()
        os.fsync(handle.fileno())
    record = FileRecord(path.name, table.num_rows, temporary.stat().st_size, sha256_of(temporary))
    temporary.replace(path)
    return record


def sha256_of(path: Location) -> str:
    """Return the hash of a file, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_file(folder: Location, record: FileRecord, hashes: bool = True) -> Location:
    """Return the path of a file of the store after checking that it exists and is unaltered."""
    path = folder / record.file
    if not path.is_file():
        raise TraceError(f"{path}: missing, but the manifest lists it with {record.rows} rows")
    size = path.stat().st_size
    if size != record.bytes:
        raise TraceError(f"{path}: truncated or altered, {size} bytes where the manifest says {record.bytes}")
    if hashes and sha256_of(path) != record.sha256:
        raise TraceError(f"{path}: altered, its hash differs from the manifest's")
    return path


def replace_file(path: Path, content: bytes) -> None:
    """Write bytes so that a reader sees the old file or the new one, never a part; nothing is left on a full disk."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def open_arrow(path: Location, options: pa.ipc.IpcReadOptions | None = None) -> Any:
    """Open an Arrow IPC file; the error for any other file is one line."""
    try:
        file = pa.OSFile(str(path)) if isinstance(path, Path) else pa.PythonFile(path.open(), mode="r")
        return pa.ipc.open_file(file, options=options)
    except FileNotFoundError:
        raise TraceError(f"{path}: no longer there; it was when the trace was opened") from None
    except (pa.ArrowException, OSError) as error:
        raise TraceError(f"{path}: not a readable Arrow file ({first_line(error)})") from None


def require_store(folder: Location) -> None:
    """Refuse a path that is not the folder of a trace."""
    if not folder.exists():
        raise TraceError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise TraceError(
            f"{folder}: a trace is a folder, this is a file; convert it first: "
            f"python -m routestat.convert {folder} --out TRACE"
        )
    if not (folder / MANIFEST).is_file():
        inside = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
        hint = f"; did you mean {folder / inside[0]}?" if inside else ""
        raise TraceError(f"{folder}: no {MANIFEST} here, so this is no trace{hint}")
