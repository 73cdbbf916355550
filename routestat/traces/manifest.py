"""The files of a store: schema, hashes, and the manifest that is written last and replaced atomically."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from routestat.errors import TraceError
from routestat.traces.metadata import Router, TraceMeta

FORMAT = "routestat-trace"
VERSION = 1
MANIFEST = "manifest.json"
DOCUMENTS = "documents.arrow"
# Small enough that a column of a batch stays in the L2 cache while every table that needs it is counted.
BATCH_ROWS = 1 << 16

# document, position, token, phase: before the routers.
FIXED_COLUMNS = 4
PHASE_TYPE = pa.dictionary(pa.int8(), pa.string())
PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class FileRecord:
    """One file of the store as the manifest knows it."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a store consists of. `complete` is False while, or after, a writer stopped before closing."""

    meta: TraceMeta
    columns: tuple[str, ...]
    shards: tuple[FileRecord, ...]
    documents: FileRecord
    complete: bool

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
    def load(cls, folder: Path) -> "Manifest":
        """Read and check the manifest of a store; every complaint names the file."""
        path = folder / MANIFEST
        try:
            record = json.loads(path.read_bytes())
            if record["format"] != FORMAT:
                raise TraceError(f"{path}: format {record['format']!r} is not a {FORMAT}")
            if record["version"] != VERSION:
                raise TraceError(
                    f"{path}: store format version {record['version']}, this routestat reads version {VERSION}; "
                    "use the routestat that wrote it, or convert the source again"
                )
            shards = tuple(FileRecord(**shard) for shard in record["shards"])
            documents = FileRecord(**record["documents"])
            for item in (*shards, documents):
                # A manifest is data from elsewhere: it must not make us read outside its folder.
                if Path(item.file).name != item.file:
                    raise TraceError(f"{path}: {item.file!r} is not a plain file name")
            meta = TraceMeta.from_json(record["meta"])
            return cls(meta, tuple(record["columns"]), shards, documents, bool(record["complete"]))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise TraceError(f"{path}: not valid JSON ({error})") from None
        except (KeyError, TypeError) as error:
            raise TraceError(f"{path}: a field is missing or misspelt: {error}") from None
        except TraceError as error:
            raise TraceError(str(error) if str(path) in str(error) else f"{path}: {error}") from None

    def with_shard(self, shard: FileRecord, documents: FileRecord, columns: Sequence[str]) -> "Manifest":
        """The manifest after one more shard."""
        return replace(self, shards=(*self.shards, shard), documents=documents, columns=tuple(columns))


def state_type(router: Router) -> pa.DataType:
    """The Arrow type of a router's column: unsigned states, or sorted expert rows beyond 64 bits."""
    alphabet = router.alphabet
    if alphabet.is_ranked:
        return pa.from_numpy_dtype(alphabet.dtype)
    return pa.list_(
        pa.field("item", pa.from_numpy_dtype(alphabet.expert_dtype), nullable=False), alphabet.top_k
    )


def column_type(name: str, router: Router) -> pa.DataType:
    """The Arrow type of a router's column or of one of its recorded companions (``.top1`` …)."""
    suffix = name.removeprefix(router.name).removeprefix(".")
    if suffix == "top1":
        return pa.from_numpy_dtype(router.alphabet.expert_dtype)
    if suffix == "weights":
        return pa.list_(pa.field("item", pa.float16(), nullable=False), router.top_k)
    if suffix == "" or (suffix.startswith("ahead") and suffix.removeprefix("ahead").isdigit()):
        return state_type(router)
    raise TraceError(f"column {name!r} is none of L00, L00.top1, L00.weights, L00.ahead1 …")


def schema_of(meta: TraceMeta, extra_columns: Sequence[str] = ()) -> pa.Schema:
    """The schema of a shard: document, position, token, phase, the routers, then what else was recorded."""
    fields = [
        pa.field("document", pa.int32(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("token", pa.int32(), nullable=False),
        pa.field("phase", PHASE_TYPE, nullable=False),
    ]
    routers = {router.name: router for router in meta.routers}
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


def sha256_of(path: Path) -> str:
    """The hash of a file, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_file(folder: Path, record: FileRecord, hashes: bool = True) -> Path:
    """The path of a file of the store after checking that it is there and unaltered."""
    path = folder / record.file
    if not path.is_file():
        raise TraceError(f"{path}: missing, though the manifest lists it with {record.rows} rows")
    size = path.stat().st_size
    if size != record.bytes:
        raise TraceError(f"{path}: truncated or altered, {size} bytes where the manifest says {record.bytes}")
    if hashes and sha256_of(path) != record.sha256:
        raise TraceError(f"{path}: altered, its hash differs from the manifest's")
    return path


def replace_file(path: Path, content: bytes) -> None:
    """Write bytes so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def open_arrow(path: Path) -> Any:
    """An Arrow IPC file reader; a file that is none gets one line."""
    try:
        return pa.ipc.open_file(pa.OSFile(str(path)))
    except (pa.ArrowInvalid, OSError) as error:
        raise TraceError(f"{path}: not a readable Arrow file ({str(error).splitlines()[0]})") from None
