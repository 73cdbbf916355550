"""Parquet: the store's own columns in one file, its documents in a second beside it.

``NAME.parquet`` holds the rows and, in its schema's metadata, the trace's metadata as JSON;
``NAME.documents.parquet`` holds one row per document. What `write_parquet` wrote, `ParquetTrace` reads back whole.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from routestat.errors import FormatError, RoutestatError, TraceError
from routestat.progress import Progress
from routestat.traces.manifest import BATCH_ROWS, FIXED_COLUMNS, schema_of
from routestat.traces.metadata import TraceMeta
from routestat.traces.store import Trace
from routestat.traces.validation import check_documents, check_record, first_line, read_json, to_phases

KEY = b"routestat"
# One row group for many batches: small groups compress badly.
GROUP_ROWS = 1 << 20


def documents_path(path: Path) -> Path:
    """Return the file of the documents of a Parquet trace."""
    return path.with_name(path.stem + ".documents.parquet")


def write_parquet(trace: Trace, path: Path, progress: Progress | None = None) -> None:
    """Write a trace as Parquet; the file appears whole or not at all."""
    schema = schema_of(trace.meta, trace.columns)
    schema = schema.with_metadata({KEY: json.dumps(trace.meta.to_json(), ensure_ascii=False).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, done = path.with_name(path.name + ".tmp"), 0
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as sink:
            for record in trace.record_batches():
                sink.write_batch(record.cast(schema), row_group_size=GROUP_ROWS)
                done += record.num_rows
                if progress is not None:
                    progress(done, trace.n_tokens)
        pq.write_table(trace.documents, documents_path(path), compression="zstd", write_page_checksum=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_trace(path: Path) -> bool:
    """Return whether a Parquet file is a trace, or cannot be read, which its reader reports."""
    try:
        return KEY in (_open(path).schema_arrow.metadata or {})
    except FormatError:
        return True


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
            self.meta = TraceMeta.from_json(read_json(held))
        except RoutestatError as error:
            raise FormatError(f"{path}: its routestat metadata is wrong: {error}") from None
        self.n_tokens = self._file.metadata.num_rows
        self._schema = self._checked_schema()
        side = documents_path(path)
        self.documents = _documents(side) if side.is_file() else None

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows, in pieces."""
        row = 0
        try:
            for record in self._file.iter_batches(batch_size=2 * BATCH_ROWS):
                yield pa.Table.from_batches([self._to_store(record, row)])
                row += record.num_rows
        except (pa.ArrowException, OSError) as error:
            raise FormatError(f"{self.path}: cannot be decoded ({first_line(error)})") from None

    def _to_store(self, record: pa.RecordBatch, row: int) -> pa.RecordBatch:
        """Rows in the store's own types; a value that these cannot hold is refused."""
        try:
            check_record(record, str(self.path), row)
            columns = []
            for field, column in zip(self._schema, record.columns, strict=True):
                columns.append(
                    to_phases(column, str(self.path), row)
                    if field.name == "phase"
                    else self._cast(column, field)
                )
            fresh = pa.RecordBatch.from_arrays(columns, schema=self._schema)
            check_record(fresh, str(self.path), row)
        except TraceError as error:
            raise FormatError(str(error)) from None
        return fresh

    def _cast(self, column: pa.Array, field: pa.Field) -> pa.Array:
        try:
            return column.cast(field.type)
        except pa.ArrowException as error:
            raise FormatError(
                f"{self.path}: column {field.name} does not fit {field.type} ({first_line(error)})"
            ) from None

    def _checked_schema(self) -> pa.Schema:
        got = self._file.schema_arrow
        extra = got.names[FIXED_COLUMNS + len(self.meta.routers) :]
        try:
            wanted = schema_of(self.meta, extra)
        except TraceError as error:
            raise FormatError(f"{self.path}: {error}") from None
        if got.names != wanted.names:
            raise FormatError(
                f"{self.path}: columns are {', '.join(got.names)}; expected {', '.join(wanted.names)}"
            )
        for field in wanted:
            if not _is_like(got.field(field.name).type, field.type):
                raise FormatError(
                    f"{self.path}: column {field.name} is {got.field(field.name).type}, expected {field.type}"
                )
        return wanted


def _is_like(got: pa.DataType, wanted: pa.DataType) -> bool:
    """Return whether a cast keeps the meaning: other tools widen numbers and rewrite lists, but 1.5 is not a state."""
    kinds = pa.types
    if kinds.is_dictionary(wanted):
        inner = got.value_type if kinds.is_dictionary(got) else got
        return bool(kinds.is_string(inner) or kinds.is_large_string(inner))
    if kinds.is_fixed_size_list(wanted):
        is_list = kinds.is_list(got) or kinds.is_large_list(got) or kinds.is_fixed_size_list(got)
        return bool(is_list) and _is_like(got.value_type, wanted.value_type)
    if kinds.is_floating(wanted):
        return bool(kinds.is_floating(got))
    return bool(kinds.is_integer(got))


def _documents(path: Path) -> pa.Table:
    try:
        return check_documents(_open(path).read())
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path}: cannot be decoded ({first_line(error)})") from None
    except TraceError as error:
        raise FormatError(f"{path}: {error}") from None


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path}: not a readable Parquet file ({first_line(error)})") from None
