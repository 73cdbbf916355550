"""A trace of one document, cut into stretches that are used as documents."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from routestat.traces.clusters.units import Units
from routestat.traces.store import Trace

BLOCKS = 32
# Shorter stretches are too similar to their neighbours to be used as documents.
SHORTEST = 100


class Stretches(Trace):
    """The same rows with stretches of `length` tokens as documents; `note` reports it.

    Tokens of neighbouring stretches depend on each other, so that figures over them are approximate.
    """

    def __init__(self, trace: Trace, length: int) -> None:
        number = -(-trace.n_tokens // length)
        documents = pa.table(
            {
                "document": pa.array(np.arange(number), pa.int32()),
                "name": [f"stretch {place + 1} of {number}" for place in range(number)],
            }
        )
        units = Units.alone(np.arange(number))
        super().__init__(
            trace.meta,
            documents,
            (),
            trace.n_tokens,
            trace.columns,
            trace.complete,
            units,
            not_measured=trace.not_measured,
            dummy_rows=trace.dummy_rows,
        )
        self._trace, self._length = trace, length
        self.folder, self.cluster = trace.folder, trace.cluster
        self.identity = f"{trace.identity} in stretches of {length}" if trace.identity else ""
        self.note = (
            f"one document: {number} stretches of {length:,} tokens are used as documents; p-values and intervals "
            "are approximate"
        )

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows with the number of their stretch as the document."""
        yield from self._numbered(self._trace.record_batches(columns), 0)

    def record_batches_between(
        self, start: int, stop: int, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows `start` … `stop` − 1; the others are read only where dummy rows were left out."""
        if self._trace.n_stored != self.n_tokens:
            yield from super().record_batches_between(start, stop, columns)
        else:
            yield from self._numbered(self._trace.record_batches_between(start, stop, columns), start)

    def next_document(self, row: int) -> int:
        """Return the first row of `row` or more at which a stretch begins."""
        return min(-(-max(row, 0) // self._length) * self._length, self.n_tokens)

    def shards_between(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the names of the shards that hold any of the rows `start` … `stop` − 1."""
        return self._trace.shards_between(start, stop)

    def _numbered(self, records: Iterator[pa.RecordBatch], row: int) -> Iterator[pa.RecordBatch]:
        for record in records:
            place = record.schema.get_field_index("document")
            number = (row + np.arange(record.num_rows)) // self._length
            row += record.num_rows
            yield record.set_column(place, record.schema.field(place), pa.array(number, pa.int32()))


def in_stretches(trace: Trace, blocks: int = BLOCKS) -> Trace:
    """Cut a trace of one document into stretches; other traces, and short ones, are returned as they are."""
    if trace.documents.num_rows != 1 or trace.n_tokens < blocks * SHORTEST:
        return trace
    return Stretches(trace, -(-trace.n_tokens // blocks))
