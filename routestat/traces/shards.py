"""The files of a store, read in batches: shards of rows, and the table of documents."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from routestat.errors import TraceError
from routestat.progress import Progress
from routestat.traces.batch import RowChecker, to_batch
from routestat.traces.locations import Location, UrlPath
from routestat.traces.manifest import (
    BATCH_ROWS,
    FileRecord,
    Manifest,
    check_file,
    open_arrow,
    schema_of,
)
from routestat.traces.validation import check_documents, check_record, first_line

# Counting a batch loads the tables of all groups into the cache: in a batch this large that costs less than counting.
# Narrow rows fill it less, since more than so many rows gain little.
BATCH_BYTES, MOST_ROWS = 16 << 20, 1 << 19
# Threads that decode a shard: as many as counting can follow. Each holds one batch as it was written; of smaller ones
# than this many bytes, one thread decodes enough.
MOST_DECODERS, LEAST_DECODED = 4, 1 << 20


def rows_at_once(schema: pa.Schema, in_memory: bool = False) -> int:
    """Return the rows of a batch of this schema; slices of a table in memory cost nothing and are larger."""
    rows = BATCH_BYTES // max(bytes_of_row(schema), 1)
    return max(BATCH_ROWS, 8 * rows if in_memory else min(rows, MOST_ROWS))


def bytes_of_row(schema: pa.Schema) -> int:
    """Return the bytes of a row in memory."""
    return sum(_bytes_of(field.type) for field in schema)


def _bytes_of(kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _bytes_of(kind.value_type)
    return 1 if pa.types.is_dictionary(kind) else int(kind.bit_width) // 8


@dataclass(frozen=True)
class Shard:
    """A file of rows, and how many it has."""

    file: Location
    rows: int


def read_shards(files: Sequence[Location], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read the rows of shards in order, in batches of `rows_at_once`, and decode only the wanted `columns`."""
    for file in files:
        yield from together(batches_of(file, columns))


def read_shard_between(
    file: Location, start: int, stop: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read rows `start` … `stop` − 1 of one shard; batches without any of them are not decoded."""
    yield from together(_batches_between(file, columns, start, stop))


def read_table(table: pa.Table, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Return the rows of a table in memory in batches, with only the wanted `columns`."""
    chosen = table.select(table.schema.names if columns is None else ["document", "position", *columns])
    yield from chosen.to_batches(max_chunksize=rows_at_once(chosen.schema, in_memory=True))


def read_documents(folder: Location, record: FileRecord) -> pa.Table:
    """Read the table of documents of a store and check it against the manifest.

    Raises
    ------
    TraceError
        If it is missing, altered or cannot be decoded; names the file.
    """
    # A writer killed between replacing the manifest and renaming this file leaves the new one beside it.
    for name in (record.file, record.file + ".new"):
        try:
            path = check_file(folder, replace(record, file=name))
            break
        except TraceError as error:
            if name == record.file:
                first = error
    else:
        raise first
    try:
        table = check_documents(open_arrow(path).read_all())
    except (pa.ArrowException, OSError) as error:
        raise TraceError(f"{path}: cannot be decoded ({first_line(error)})") from None
    except TraceError as error:
        raise TraceError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    if table.num_rows != record.rows:
        raise TraceError(f"{path}: {table.num_rows} rows where the manifest says {record.rows}")
    return table


def documents_in(folder: Location, manifest: Manifest) -> set[int]:
    """Return the documents that have rows in the shards; the table of documents may list others."""
    numbers: set[int] = set()
    for shard in manifest.shards:
        file = check_file(folder, shard, hashes=False)
        _check_schema(file, manifest)
        for record in batches_of(file, []):
            check_record(record, str(file), 0)
            numbers.update(np.unique(to_batch(record).document).tolist())
    return numbers


def check_shards(
    folder: Location, manifest: Manifest, verify: bool = True, progress: Progress | None = None
) -> None:
    """Check that the shards of a store are those of its manifest.

    Parameters
    ----------
    folder : path
    manifest : Manifest
    verify : bool
        Hash every shard and check every row; if False, names, sizes and schemas only.
    progress : callable(rows_done, rows_in_all), optional

    Raises
    ------
    TraceError
        For a shard that is missing or altered, or a row that is impossible; names the file and the row.
    """
    checker, done = RowChecker(manifest.meta), 0
    for shard in manifest.shards:
        file = check_file(folder, shard, hashes=verify)
        _check_schema(file, manifest)
        if not verify:
            continue
        row = 0
        for record in batches_of(file, None):
            check_record(record, str(file), row)
            checker.check(to_batch(record), str(file), row)
            row += record.num_rows
            done += record.num_rows
            if progress is not None:
                progress(done, manifest.n_tokens)
        if row != shard.rows:
            raise TraceError(f"{file}: {row} rows where the manifest says {shard.rows}")


def check_rows_between(
    folder: Location, manifest: Manifest, start: int, stop: int, progress: Progress | None = None
) -> set[int]:
    """Check rows `start` … `stop` − 1 of a store, which begin and end with a document, and the shards they are in.

    Returns
    -------
    set of int
        The documents of the rows: rows elsewhere must be of others.

    Raises
    ------
    TraceError
        As `check_shards`.
    """
    checker, documents, first, done = RowChecker(manifest.meta), set[int](), 0, 0
    for shard in manifest.shards:
        low, high = max(start - first, 0), min(stop - first, shard.rows)
        first += shard.rows
        if low >= high:
            continue
        file, row = check_file(folder, shard), low
        for record in _batches_between(file, None, low, high):
            check_record(record, str(file), row)
            batch = to_batch(record)
            checker.check(batch, str(file), row)
            documents.update(np.unique(batch.document).tolist())
            row += record.num_rows
            done += record.num_rows
            if progress is not None:
                progress(done, stop - start)
        if row != high:
            raise TraceError(f"{file}: {row} rows where the manifest says {shard.rows}")
    return documents


def _check_schema(file: Location, manifest: Manifest) -> None:
    """Refuse a shard whose columns are not those of the manifest."""
    reader = open_arrow(file)
    wanted = schema_of(manifest.meta, manifest.recorded)
    for field in wanted:
        index = reader.schema.get_field_index(field.name)
        if index < 0:
            raise TraceError(f"{file}: column {field.name} is missing")
        got = reader.schema.field(index)
        if got.type != field.type:
            raise TraceError(
                f"{file}: column {field.name} is {got.type}, expected {field.type} as in the manifest's metadata"
            )
    if reader.schema.names != wanted.names:
        raise TraceError(
            f"{file}: columns are {', '.join(reader.schema.names)}; expected {', '.join(wanted.names)}"
        )


def batches_of(file: Location, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Read the record batches of one shard as they were written, with as many threads as pyarrow has been given.

    Each thread decodes whole batches: the columns of one batch, which pyarrow would divide among them, are so small
    that this gains little.
    """
    reader = _open(file, columns)
    batches = reader.num_record_batches
    threads = min(pa.cpu_count(), batches, MOST_DECODERS)
    if threads < 2 or BATCH_ROWS * bytes_of_row(reader.schema) < LEAST_DECODED:
        yield from (_decode(reader, index, file) for index in range(batches))
        return
    # A reader is used by one thread at a time: its next batch is begun once the one before has been taken.
    readers = [reader, *(_open(file, columns) for _ in range(threads - 1))]
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(_decode, readers[at], at, file) for at in range(threads))
        for index in range(threads, batches + threads):
            record = ahead.popleft().result()
            if index < batches:
                ahead.append(pool.submit(_decode, readers[index % threads], index, file))
            yield record


def _batches_between(
    file: Location, columns: Sequence[str] | None, start: int, stop: int
) -> Iterator[pa.RecordBatch]:
    """Read rows `start` … `stop` − 1 of one shard, in parts of the record batches as they were written."""
    reader, places = _open(file, columns), _open(file, [])
    first = 0
    for index in range(reader.num_record_batches):
        if first >= stop:
            return
        # The length of a batch is known only once it is decoded; the column of documents is the smallest.
        rows = _decode(places, index, file).num_rows
        low, high = max(start - first, 0), min(stop - first, rows)
        if low < high:
            yield _decode(reader, index, file).slice(low, high - low)
        first += rows


def _open(file: Location, columns: Sequence[str] | None) -> pa.ipc.RecordBatchFileReader:
    """Open a shard such that only the wanted `columns` are decoded."""
    reader = open_arrow(file)
    if columns is not None:
        names = ["document", "position", *columns]
        wanted = [reader.schema.get_field_index(name) for name in names]
        if min(wanted) < 0:
            raise TraceError(f"{file}: column {names[wanted.index(-1)]} was not recorded")
        options = pa.ipc.IpcReadOptions(included_fields=sorted(set(wanted)), use_threads=False)
        reader = open_arrow(file, options)
    return reader


def _decode(reader: pa.ipc.RecordBatchFileReader, index: int, file: Location) -> pa.RecordBatch:
    # A file system behind a URL has exceptions of its own.
    failures = (Exception,) if isinstance(file, UrlPath) else (pa.ArrowException, OSError)
    try:
        return reader.get_batch(index)
    except failures as error:
        raise TraceError(f"{file}: batch {index} cannot be decoded ({first_line(error)})") from None


def together(records: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join small batches into batches of `rows_at_once`."""
    held: list[pa.RecordBatch] = []
    for record in records:
        held.append(record)
        rows = rows_at_once(record.schema)
        if sum(batch.num_rows for batch in held) + record.num_rows > rows:
            yield from _join(held, rows)
    if held:
        yield from _join(held, rows)


def _join(held: list[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Empty `held` into batches of at most `rows`; the parts are released before the whole is used."""
    if len(held) == 1:
        whole = held.pop()
    else:
        schema, parts = held[0].schema, [record.columns for record in held]
        held.clear()
        # Column by column, so that never more than one column is in memory twice.
        columns = [pa.chunked_array([part.pop(0) for part in parts]).combine_chunks() for _ in schema]
        whole = pa.RecordBatch.from_arrays(columns, schema=schema)
    for start in range(0, whole.num_rows, rows):
        yield whole.slice(start, rows)
