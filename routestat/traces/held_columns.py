"""Columns of a store that stay in memory after they were read once, for analyses that read a trace repeatedly."""

from collections.abc import Iterator, Sequence
from copy import copy
from threading import Lock

import pyarrow as pa

from routestat.traces.locations import Location
from routestat.traces.manifest import FIXED_COLUMNS, schema_of
from routestat.traces.metadata import Router
from routestat.traces.shards import batches_of, bytes_of_row, read_shards, together
from routestat.traces.store import Trace

#: Bytes of decoded columns that are held.
LIMIT = 512 << 20


class HeldColumns:
    """Reads shards as `read_shards` does, in the same batches, and keeps some columns as they were decoded.

    Parameters
    ----------
    schema : pyarrow.Schema
        The columns that are kept, ``document`` and ``position`` among them. A reading of others keeps nothing.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._fields = {field.name: field for field in schema}
        self._columns: dict[tuple[str, str], list[pa.Array]] = {}
        self._lock = Lock()

    def read(
        self, files: Sequence[Location], columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read the rows of shards; see `read_shards`."""
        if columns is None or not self._fields.keys() >= set(columns):
            yield from read_shards(files, columns)
            return
        for file in files:
            yield from together(self._batches(file, {"document", "position", *columns}))

    def _batches(self, file: Location, columns: set[str]) -> Iterator[pa.RecordBatch]:
        """Yield the record batches as they were written; the columns that are not held yet are decoded and held."""
        wanted = [name for name in self._fields if name in columns]
        with self._lock:
            absent = [name for name in wanted if (str(file), name) not in self._columns]
            if absent:
                found: dict[str, list[pa.Array]] = {name: [] for name in absent}
                for record in batches_of(file, absent):
                    for name, arrays in found.items():
                        arrays.append(record.column(record.schema.get_field_index(name)))
                self._columns |= {(str(file), name): arrays for name, arrays in found.items()}
            held = [self._columns[str(file), name] for name in wanted]
        schema = pa.schema([self._fields[name] for name in wanted])
        for columns_of_batch in zip(*held, strict=True):
            yield pa.RecordBatch.from_arrays(list(columns_of_batch), schema=schema)


def held_in_memory(trace: Trace, routers: Sequence[Router], limit: int = LIMIT) -> Trace:
    """Return the trace such that what is read of some routers stays in memory, if all of it fits.

    Every reading after the first then costs no decompression. Results are the same, in the same batches; arrays
    are read-only. Traces in memory and views of others are returned as they are: hold the trace that was opened.

    Parameters
    ----------
    trace : Trace
        As `Trace.open` returns it.
    routers : sequence of Router
        Those that will be read, with the ids and phases of tokens.
    limit : int
        Bytes of all their rows.
    """
    names = {router.name for router in routers}
    fixed = list(schema_of(trace.meta))[:FIXED_COLUMNS]
    chosen = [*fixed, *(field for field in schema_of(trace.meta) if field.name in names)]
    schema = pa.schema(chosen)
    if trace.n_tokens * bytes_of_row(schema) > limit:
        return trace
    held = copy(trace)
    held.read = HeldColumns(schema).read
    return held
