"""Parquet: the store's own columns in one file, its documents in a second beside it.

``NAME.parquet`` holds the rows and, in its schema's metadata, the trace's metadata as JSON;
``NAME.documents.parquet`` holds one row per document. What `write_parquet` wrote, `ParquetTrace` reads back whole.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from routestat.errors import FormatError, TraceError
from routestat.traces.manifest import BATCH_ROWS, FIXED_COLUMNS, schema_of
from routestat.traces.metadata import TraceMeta
from routestat.traces.store import Trace

KEY = b"routestat"
# One row group for many batches: small groups compress badly.
GROUP_ROWS = 1 << 20


def documents_path(path: Path) -> Path:
    """Where the documents of a Parquet trace lie."""
    return path.with_name(path.stem + ".documents.parquet")


def write_parquet(trace: Trace, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write a trace as Parquet; the file appears whole or not at all."""
    schema = schema_of(trace.meta, trace.columns)
    schema = schema.with_metadata({KEY: json.dumps(trace.meta.to_json(), ensure_ascii=False).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, done = path.with_name(path.name + ".tmp"), 0
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as sink:
            for record in trace.record_batches():
                sink.write_batch(record.cast(schema), row_group_size=GROUP_ROWS)
                done += record.num_rows
                if progress is not None:
                    progress(done, trace.n_tokens)
        pq.write_table(trace.documents, documents_path(path), compression="zstd")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class ParquetTrace:
    """A Parquet file that `write_parquet` wrote: metadata, documents, and rows in the store's schema.

    Raises
    ------
    FormatError
        If the file is not readable, or not a trace; names the file and the field.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise FormatError(f"{path}: no such file")
        self._file = _open(path)
        held = (self._file.schema_arrow.metadata or {}).get(KEY)
        if held is None:
            raise FormatError(f"{path}: Parquet, but no trace: its schema has no routestat metadata")
        try:
            self.meta = TraceMeta.from_json(json.loads(held))
        except (json.JSONDecodeError, TraceError) as error:
            raise FormatError(f"{path}: its routestat metadata is wrong: {error}") from None
        self.n_tokens = self._file.metadata.num_rows
        self._schema = self._checked_schema()
        side = documents_path(path)
        self.documents = _open(side).read() if side.is_file() else None

    def tables(self) -> Iterator[pa.Table]:
        """The rows, in pieces."""
        for record in self._file.iter_batches(batch_size=2 * BATCH_ROWS):
            yield pa.Table.from_batches([record]).cast(self._schema)

    def _checked_schema(self) -> pa.Schema:
        got = self._file.schema_arrow
        extra = got.names[FIXED_COLUMNS + len(self.meta.routers) :]
        wanted = schema_of(self.meta, extra)
        if got.names != wanted.names:
            raise FormatError(
                f"{self.path}: columns are {', '.join(got.names)}; wanted {', '.join(wanted.names)}"
            )
        return wanted


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
