"""A trace of one document, cut into stretches that stand for documents."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from routestat.traces.clusters.units import Units
from routestat.traces.store import Trace

BLOCKS = 32
# Stretches shorter than this are too alike to their neighbours to stand for documents.
SHORTEST = 100


class Stretches(Trace):
    """The same rows with stretches of `length` tokens as documents; `note` says so.

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
        self.note = (
            f"one document: {number} stretches of {length:,} tokens stand for documents; p-values and intervals "
            "are approximate"
        )

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows with the number of their stretch as the document."""
        row = 0
        for record in self._trace.record_batches(columns):
            place = record.schema.get_field_index("document")
            number = (row + np.arange(record.num_rows)) // self._length
            row += record.num_rows
            yield record.set_column(place, record.schema.field(place), pa.array(number, pa.int32()))


def in_stretches(trace: Trace, blocks: int = BLOCKS) -> Trace:
    """A trace of one document as so many stretches; as it is where it has more documents, or too few tokens."""
    if trace.documents.num_rows != 1 or trace.n_tokens < blocks * SHORTEST:
        return trace
    return Stretches(trace, -(-trace.n_tokens // blocks))
