"""Some documents of a trace, or parts of them, under new numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from routestat.traces.arrow_arrays import numbers_of
from routestat.traces.clusters.shared_prefixes import connected_parts
from routestat.traces.clusters.units import Units, relabelled
from routestat.traces.document_rows import PlaceCounter
from routestat.traces.pairing.document_contents import Document
from routestat.traces.store import Trace

#: By the new number of a document: the first of its rows that are read, and how many.
Common = Mapping[int, tuple[int, int]]


def with_common_units(
    a: "SelectedDocuments", b: "SelectedDocuments"
) -> tuple["SelectedDocuments", "SelectedDocuments"]:
    """Give two paired selections the same units: documents joined in either are joined in both.

    Both leave out the same rows of the template and of repeats, those of the selection with more, so that rows
    stay aligned.
    """
    number = np.union1d(a.units.document, b.units.document)
    labels, left_out = [], []
    for one in (a.units, b.units):
        at = np.searchsorted(number, one.document)
        label = np.full(len(number), -1, np.int64)
        label[at] = one.cluster
        labels.append(label)
        left_out.append(np.zeros((2, len(number)), np.int64))
        left_out[-1][:, at] = one.template, one.repeated
    part, (template, repeated) = connected_parts(*labels), np.maximum(*left_out)

    def shared(one: Units) -> Units:
        at = np.searchsorted(number, one.document)
        return relabelled(replace(one, template=template[at], repeated=repeated[at]), part[at])

    return a.in_units(shared(a.units)), b.in_units(shared(b.units))


class SelectedDocuments(Trace):
    """Some documents of a trace, renumbered; rows are read from the trace on demand.

    Parameters
    ----------
    trace : Trace
    documents : sequence of Document
        Of that trace, as `documents_of` gives them.
    numbers : mapping of the trace's number to the new one
    common : mapping, optional
        Of which documents only a part is read, by their new numbers: its first row and its rows.
    units : Units, optional
        Of these documents under their new numbers; those of the trace if not given.
    """

    def __init__(
        self,
        trace: Trace,
        documents: Sequence[Document],
        numbers: Mapping[int, int],
        common: Common | None = None,
        units: Units | None = None,
    ) -> None:
        chosen = {document.number: numbers[document.number] for document in documents}
        common = {new: common[new] for new in chosen.values() if new in common} if common else {}
        listed = trace.documents.column("document").to_pylist()
        places = [place for place, number in enumerate(listed) if number in chosen]
        table = trace.documents.take(pa.array(places, pa.int64()))
        renumbered = pa.array([chosen[listed[place]] for place in places], pa.int32())
        table = table.set_column(table.schema.get_field_index("document"), "document", renumbered)
        tokens = sum(common.get(chosen[one.number], (0, one.tokens))[1] for one in documents)
        units = _skipping(trace.units.of(chosen), common) if units is None else units
        super().__init__(trace.meta, table, (), tokens, trace.columns, trace.complete, units, trace.template)
        self._trace = trace
        self._documents = tuple(documents)
        self._new = chosen
        self._common = common
        self._numbers = np.full(max(chosen, default=0) + 2, -1, np.int32)
        self._numbers[list(chosen)] = list(chosen.values())
        self._parts: NDArray[np.int64] | None = None
        if common:
            # First and last row by new number; all rows by default.
            self._parts = np.tile([0, np.iinfo(np.int64).max], (max(chosen.values()) + 1, 1))
            self._parts[list(common)] = [(first, first + rows) for first, rows in common.values()]

    def first(self, n: int) -> "SelectedDocuments":
        """Return only the documents whose new number is below `n`."""
        kept = [document for document in self._documents if self._new[document.number] < n]
        units = self.units.of({number: number for number in self.units.document.tolist() if number < n})
        return SelectedDocuments(self._trace, kept, self._new, self._common, units)

    def in_units(self, units: Units) -> "SelectedDocuments":
        """Return the same documents in other clusters, or with another template."""
        return SelectedDocuments(self._trace, self._documents, self._new, self._common, units)

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the chosen documents, in the trace's order."""
        counter = PlaceCounter()
        for record in self._trace.record_batches(columns):
            column = record.schema.get_field_index("document")
            document = numbers_of(record.column(column))
            # Numbers beyond the last chosen one share the last entry, which is −1.
            new = self._numbers[np.minimum(document, len(self._numbers) - 1)]
            chosen = new >= 0
            if self._parts is not None and len(document):
                place = counter.places(document)
                chosen &= (place >= self._parts[new, 0]) & (place < self._parts[new, 1])
            kept = np.flatnonzero(chosen)
            if not kept.size:
                continue
            renumbered = record.set_column(column, "document", pa.array(new, pa.int32()))
            yield renumbered if kept.size == len(new) else renumbered.take(pa.array(kept))


def _skipping(units: Units, common: Common) -> Units:
    """Return the units of documents without the rows before their common rows."""
    skipped = np.array([common.get(number, (0, 0))[0] for number in units.document.tolist()], np.int64)
    if not skipped.any():
        return units
    return replace(
        units,
        template=np.maximum(units.template - skipped, 0),
        repeated=np.maximum(units.repeated - skipped, 0),
    )
