"""Views of a trace: its layers under other numbers, or its documents in the order of their numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from routestat.errors import RoutestatError
from routestat.traces.arrow_arrays import numbers_of
from routestat.traces.document_rows import PlaceCounter
from routestat.traces.metadata import Router
from routestat.traces.shards import rows_at_once
from routestat.traces.store import Trace

# Of memory, for rows that have to be put in another order.
LIMIT_BYTES = 2 << 30


class RowsTooManyError(RoutestatError):
    """Too many rows to sort in memory."""


class RelabelledLayers(Trace):
    """Some routers of a trace under the layers and names of others.

    Parameters
    ----------
    trace : Trace
    routers : sequence of (Router, Router)
        The new router and the router of the trace, in the order of depth.
    """

    def __init__(self, trace: Trace, routers: Sequence[tuple[Router, Router]]) -> None:
        self._trace = trace
        self._old = {new.name: old.name for new, old in routers}
        renamed = [replace(old, layer=new.layer, name=new.name) for new, old in routers]
        names = {old: new for new, old in self._old.items()}
        columns = [
            f"{names[owner]}.{rest}"
            for owner, _, rest in (column.partition(".") for column in trace.columns)
            if owner in names
        ]
        meta = replace(trace.meta, routers=tuple(renamed))
        super().__init__(
            meta, trace.documents, (), trace.n_tokens, columns, trace.complete, trace.units, trace.template
        )

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows, columns under their new names."""
        wanted = [*self._old, *self.columns] if columns is None else list(columns)
        named = {self._named(column): column for column in wanted}
        fixed = ["document", "position", *(["token", "phase"] if columns is None else [])]
        for record in self._trace.record_batches(None if columns is None else list(named)):
            names = [name for name in record.schema.names if name in fixed or name in named]
            yield record.select(names).rename_columns([named.get(name, name) for name in names])

    def _named(self, column: str) -> str:
        """Return the name of a column in the original trace."""
        owner, dot, rest = column.partition(".")
        return self._old.get(owner, owner) + dot + rest


class OrderedDocuments(Trace):
    """The documents of a trace in the order of their numbers, positions counted from their first rows.

    Parameters
    ----------
    trace : Trace
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        super().__init__(
            trace.meta,
            trace.documents,
            (),
            trace.n_tokens,
            trace.columns,
            trace.complete,
            trace.units,
            trace.template,
        )

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; if documents are out of order, all rows are sorted in memory.

        Raises
        ------
        RowsTooManyError
            If they would take more than `LIMIT_BYTES`.
        """
        counter = PlaceCounter()
        for record in self._trace.record_batches(columns) if self._rises() else self._sorted(columns):
            document = numbers_of(record.column(record.schema.get_field_index("document")))
            place = counter.places(document)
            at = record.schema.get_field_index("position")
            yield record.set_column(at, "position", pa.array(place, pa.int32()))

    def _rises(self) -> bool:
        last = -1
        for record in self._trace.record_batches([]):
            document = numbers_of(record.column(record.schema.get_field_index("document")))
            if len(document) and (int(document[0]) < last or (document[1:] < document[:-1]).any()):
                return False
            last = int(document[-1]) if len(document) else last
        return True

    def _sorted(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        records, size = [], 0
        for record in self._trace.record_batches(columns):
            size += record.nbytes
            if size > LIMIT_BYTES:
                raise RowsTooManyError(
                    f"documents are in another order in the two traces, and sorting them takes more than "
                    f"{LIMIT_BYTES / 2**30:g} GiB: name fewer --layers"
                )
            records.append(record)
        if not records:
            return
        table = pa.Table.from_batches(records)
        order = np.argsort(numbers_of(table.column("document")), kind="stable")
        rows = rows_at_once(table.schema)
        for start in range(0, len(order), rows):
            yield from table.take(pa.array(order[start : start + rows])).combine_chunks().to_batches()
