"""The pass over a trace that finds its units and its dummy rows; reading rows without a template."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from routestat.errors import TraceError
from routestat.traces.arrow_arrays import numbers_of
from routestat.traces.batch import to_batch
from routestat.traces.clusters.document_prefixes import DocumentPrefixes, PrefixCollector
from routestat.traces.clusters.overlapping_windows import find_overlaps
from routestat.traces.clusters.units import CLUSTER_COLUMN, Units, find_units
from routestat.traces.document_rows import first_rows
from routestat.traces.dummy_rows.not_measured import PLACES, RANGE, NotMeasured
from routestat.traces.dummy_rows.removal import measured
from routestat.traces.dummy_rows.row_features import LayerLevels, features_of_stored_rows
from routestat.traces.dummy_rows.row_ranges import constant_layers, find_rows
from routestat.traces.dummy_rows.run_collector import RunCollector
from routestat.traces.metadata import TraceMeta

# Ranges of rows that are shorter on average are taken row by row, longer ones copied whole.
SHORT = 16

#: All rows of a trace, with some of its columns.
Recorded = Callable[[Sequence[str] | None], Iterator[pa.RecordBatch]]


def examine(
    meta: TraceMeta,
    documents: pa.Table,
    recorded: Recorded,
    column: str | None = None,
    progress: Callable[[int], None] | None = None,
    found: NotMeasured | None = None,
) -> Units:
    """Find the units of a trace: one pass over its token ids, or over its choices where these are not all known.

    Documents that share only dummy rows, such as a warm-up, are not joined.

    Parameters
    ----------
    meta : TraceMeta
    documents : pyarrow.Table
    recorded : callable(columns)
        Gives all rows.
    column : str, optional
        Column of the documents that defines the clusters; if not given, the one that the metadata name, if
        any. See `find_units`.
    progress : callable(rows_done), optional
    found : NotMeasured, optional
        The dummy rows of `recorded`; none if not given.
    """
    before = np.zeros(0, RANGE) if found is None else found.ranges
    before = before[before["place"] == PLACES.index("start")]
    if not len(before):
        return _units(meta, documents, recorded, column, progress)

    def behind(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        return measured(recorded(columns), NotMeasured(before), meta)

    left = np.unique(np.concatenate([[], *(to_batch(record).document for record in behind([]))]))
    numbers = numbers_of(documents.column("document"))
    rest = documents.filter(pa.array(np.isin(numbers, left)))
    rows = np.bincount(np.searchsorted(numbers, before["document"]), before["rows"], len(numbers))
    return _units(meta, rest, behind, column, progress).behind(numbers, rows.astype(np.int64))


def _units(
    meta: TraceMeta,
    documents: pa.Table,
    recorded: Recorded,
    column: str | None,
    progress: Callable[[int], None] | None,
) -> Units:
    column = column or meta.extra.get(CLUSTER_COLUMN)
    beginnings = _read(meta, documents, recorded, "token ids", progress)
    if beginnings is not None:
        overlaps = find_overlaps(beginnings)
        copied = None
        if overlaps.any():
            # The same text after another prefix is another measurement: only equal choices are copies.
            choices = _read(meta, documents, recorded, "choices", progress)
            copied = np.asarray(find_overlaps(choices) == overlaps) if choices is not None else None
        return find_units(beginnings, documents, column, overlaps, copied)
    beginnings = _read(meta, documents, recorded, "choices", progress)
    if beginnings is None:
        raise TraceError("documents: choices are never unknown")
    return find_units(beginnings, documents, column, find_overlaps(beginnings))


def _read(
    meta: TraceMeta,
    documents: pa.Table,
    recorded: Recorded,
    by: str,
    progress: Callable[[int], None] | None,
) -> DocumentPrefixes | None:
    """Read the prefixes of all documents; None where some token ids are unknown."""
    reader, done = PrefixCollector(meta, documents.num_rows, by), 0
    for record in recorded(["token"] if by == "token ids" else [router.name for router in meta.routers]):
        reader.add(to_batch(record))
        if not reader.all_known:
            return None
        done += record.num_rows
        if progress is not None:
            progress(done)
    return reader.finished()


def without_beginnings(
    records: Iterator[pa.RecordBatch], units: Units, left_out: NDArray[np.int64]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows without the first `left_out` ``[document]`` of each document of `units`."""
    last, done = -1, 0
    for record in records:
        document = numbers_of(record.column(record.schema.get_field_index("document")))
        if not len(document):
            continue
        first = first_rows(document)
        rows = np.diff(np.append(first, len(document)))
        before = np.zeros(len(first), np.int64)
        before[0] = done if int(document[0]) == last else 0
        gone = np.clip(left_out[units.places(document[first])] - before, 0, rows)
        last, done = int(document[-1]), int(before[-1] + rows[-1])
        if gone.any():
            yield from _kept(record, first + gone, first + rows)
        else:
            yield record


def _kept(
    record: pa.RecordBatch, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> Iterator[pa.RecordBatch]:
    """Yield rows ``starts[i] … stops[i] − 1`` of a record batch as one, if there are any."""
    some = starts < stops
    if not some.any():
        return
    starts, stops = starts[some], stops[some]
    # Ranges that touch are one.
    apart = starts[1:] != stops[:-1]
    ranges = list(zip(starts[np.append(True, apart)], stops[np.append(apart, True)], strict=True))
    slices = [record.slice(start, stop - start) for start, stop in ranges]
    if len(slices) == 1:
        yield slices[0]
    elif len(slices) > record.num_rows // SHORT:
        rows = np.concatenate([np.arange(start, stop) for start, stop in ranges])
        yield record.take(pa.array(rows))
    else:
        yield from pa.Table.from_batches(slices).combine_chunks().to_batches()


def examine_rows(
    meta: TraceMeta, recorded: Recorded, progress: Callable[[int], None] | None = None
) -> NotMeasured:
    """Find the dummy rows and layers of a trace: one pass over its choices.

    Parameters
    ----------
    meta : TraceMeta
    recorded : callable(columns)
        Gives all rows.
    progress : callable(rows_done), optional
    """
    routers, done = meta.routers, 0
    levels = LayerLevels(len(routers))
    reader = RunCollector(len(routers), max(router.top_k for router in routers))
    for record in recorded(["token", "phase", *(router.name for router in routers)]):
        reader.add(features_of_stored_rows(record, routers, levels))
        done += record.num_rows
        if progress is not None:
            progress(done)
    return NotMeasured(find_rows(reader.finished()), constant_layers(levels, routers))
