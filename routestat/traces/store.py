"""Trace: an opened store, or arrays in memory, checked once and read in batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import ArrayLike

from routestat.errors import TraceError
from routestat.progress import Progress
from routestat.traces.arrow_arrays import numbers_of
from routestat.traces.batch import Batch, RowChecker, to_batch
from routestat.traces.clusters.units import TEMPLATES, Units, relabelled, units_in
from routestat.traces.dummy_rows.not_measured import KEY, NotMeasured
from routestat.traces.dummy_rows.removal import measured, measured_meta
from routestat.traces.examination import examine, examine_rows, without_beginnings
from routestat.traces.locations import Location, locate
from routestat.traces.manifest import MANIFEST, Manifest, require_store, sha256_of
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.number_ranges import span
from routestat.traces.rows import labels_of_documents, to_table
from routestat.traces.shards import (
    Shard,
    check_shards,
    read_documents,
    read_shard_between,
    read_shards,
    read_table,
)

#: Treatments of rows that are no measurements.
DUMMY_ROWS = ("keep", "drop")
#: Reads the rows of shards in order, with only the wanted columns.
Reader = Callable[[Sequence[Location], Sequence[str] | None], Iterator[pa.RecordBatch]]


class Trace:
    """An opened trace: its metadata, its documents, and its rows in batches.

    Open a store with `Trace.open`; wrap arrays that are in memory with `Trace.from_arrays`.

    Attributes
    ----------
    meta : TraceMeta
    documents : pyarrow.Table
        One row per document: ``document``, ``name``, ``domain`` and further columns of the source.
    n_tokens : int
        Rows, those of a template that are not counted included; see `n_counted`.
    columns : tuple of str
        Columns recorded beside the routers: ``L00.top1`` …
    complete : bool
        False if the writer stopped before closing; everything up to its last whole shard is here.
    template : {"once", "drop", "keep"}
        Treatment of a prefix that most documents share: its rows are counted in the first document that has
        all of it, in none, or in all.
    dummy_rows : {"keep", "drop"}
        Treatment of rows and layers that are no measurements: kept as they are, or removed; inside documents removed
        rows become missing.
    cluster : str, optional
        Column of the documents that defines the clusters, where it was named when the store was opened.
    note : str
        What the documents are, where they are not those of the source.
    folder : path or UrlPath, optional
        Where the store lies; None for a trace in memory.
    identity : str
        Hash of the store's manifest, which holds the hashes of all files: equal only for copies of one store. Empty
        for a trace in memory.
    """

    note = ""
    cluster: str | None = None
    folder: Location | None = None
    identity = ""

    def __init__(
        self,
        meta: TraceMeta,
        documents: pa.Table,
        sources: Sequence[Any],
        n_tokens: int,
        columns: Sequence[str] = (),
        complete: bool = True,
        units: Units | None = None,
        template: str = "once",
        not_measured: NotMeasured | None = None,
        dummy_rows: str = "keep",
    ) -> None:
        self.meta = meta
        self.documents = documents
        self.n_tokens = n_tokens
        self.columns = tuple(columns)
        self.complete = complete
        self.template = _require_one_of(template, TEMPLATES, "template")
        self._sources = tuple(sources)
        #: Reads whole shards; `routestat.traces.held_columns` puts a reader here that keeps what it decoded.
        self.read: Reader = read_shards
        self._units = units
        self._not_measured = not_measured
        self.dummy_rows = dummy_rows
        self._dropped: tuple[TraceMeta, NotMeasured] | None = None

    @property
    def not_measured(self) -> NotMeasured:
        """Rows and layers that are no measurements; found on first access."""
        if self._not_measured is None:
            self._not_measured = examine_rows(self.meta, self.record_batches)
        return self._not_measured

    def _drop(self) -> None:
        """Leave out dummy rows and layers; units are then those of the rest."""
        if found := self.not_measured:
            self._dropped = self.meta, found
            self.meta = measured_meta(self.meta, found)
            names = {router.name for router in self.meta.routers}
            self.columns = tuple(name for name in self.columns if name.split(".", 1)[0] in names)
            self.n_tokens -= found.n_removed
            self.documents = self._without_emptied(found)
            self._units = None

    def _without_emptied(self, found: NotMeasured) -> pa.Table:
        """Return the documents without those that lost all their rows."""
        touched = np.unique(found.ranges["document"])
        left = [np.intersect1d(batch.document, touched) for batch in self.batches([])]
        emptied = np.setdiff1d(touched, np.concatenate([touched[:0], *left]))
        kept = ~np.isin(numbers_of(self.documents.column("document")), emptied)
        return self.documents if kept.all() else self.documents.filter(pa.array(kept))

    @property
    def units(self) -> Units:
        """The clusters of the documents; found on first access."""
        if self._units is None:
            self._units = self._examined(None)
        return self._units

    def _examined(self, cluster: str | None, progress: Callable[[int], None] | None = None) -> Units:
        found = self.not_measured if self._dropped is None else None
        return examine(self.meta, self.documents, self.record_batches, cluster, progress, found)

    @property
    def n_counted(self) -> int:
        """Rows that are counted: all but the repetitions of a template."""
        return self.n_tokens - int(self.units.left_out(self.template).sum())

    @classmethod
    def open(
        cls,
        path: str | Location,
        verify: bool = True,
        progress: Progress | None = None,
        *,
        cluster: str | None = None,
        template: str = "once",
        dummy_rows: str = "keep",
    ) -> "Trace":
        """Open the store at `path` and check all of it.

        Parameters
        ----------
        path : path or str
            The store's folder, or a URL that fsspec reads, such as ``s3://bucket/trace``.
        verify : bool
            Hash every shard and check every row (default). False checks names, sizes and schemas only.
        progress : callable(rows_done, rows_in_all), optional
        cluster : str, optional
            Column of the documents that defines the clusters, such as ``domain``; ``document`` takes
            each as independent. If not given: those of the store, or else documents that share a prefix.
        template : {"once", "drop", "keep"}
            Treatment of a prefix that most documents share.
        dummy_rows : {"keep", "drop"}
            Treatment of rows and layers that are no measurements.

        Raises
        ------
        TraceError
            If there is no manifest, a shard is missing or altered, the format version differs, or a row is
            impossible; names the file and the row.
        """
        folder = locate(path)
        require_store(folder)
        manifest = Manifest.load(folder)
        documents = read_documents(folder, manifest.documents)
        held = (documents.schema.metadata or {}).get(KEY)
        trace = cls(
            manifest.meta,
            documents,
            [Shard(folder / shard.file, shard.rows) for shard in manifest.shards],
            manifest.n_tokens,
            manifest.recorded,
            manifest.complete,
            units_in(documents) if cluster is None else None,
            template,
            None if held is None else NotMeasured.from_json(held, manifest.n_tokens),
            _require_one_of(dummy_rows, DUMMY_ROWS, "dummy_rows"),
        )
        trace.folder, trace.identity = folder, sha256_of(folder / MANIFEST)
        trace.cluster = cluster
        check_shards(folder, manifest, verify, progress)
        if dummy_rows == "drop":
            trace._drop()
        if cluster is not None or (verify and trace._units is None):
            report = None if progress is None else lambda done: progress(done, manifest.n_tokens)
            trace._units = trace._examined(cluster, report)
        return trace

    @classmethod
    def from_arrays(
        cls,
        meta: TraceMeta,
        document: ArrayLike,
        position: ArrayLike | None,
        states: Any,
        *,
        clusters: ArrayLike | None = None,
        template: str = "once",
        dummy_rows: str = "keep",
        **columns: Any,
    ) -> "Trace":
        """Make a trace in memory; arguments as for `TraceWriter.write`.

        `clusters` ``[row]`` is the cluster of the document of each row; if not
        given, documents that share a prefix are clusters.
        """
        table = to_table(meta, document, position, states=states, **columns)
        checker = RowChecker(meta)
        for record in table.to_batches():
            checker.check(to_batch(record), "arrays", 0)
        numbers = np.unique(numbers_of(table.column("document")))
        documents = pa.table({"document": pa.array(numbers, pa.int32())})
        recorded = columns.get("columns") or ()
        trace = cls(
            meta, documents, [table], table.num_rows, recorded, template=template, dummy_rows=dummy_rows
        )
        if _require_one_of(dummy_rows, DUMMY_ROWS, "dummy_rows") == "drop":
            trace._drop()
        if clusters is not None:
            label = labels_of_documents(numbers_of(table.column("document")), clusters, numbers)
            there = np.isin(numbers, numbers_of(trace.documents.column("document")))
            numbers, label = numbers[there], label[there]
            trace.documents = trace.documents.append_column("clusters", pa.array(label))
            trace._units = (
                relabelled(Units.alone(numbers), label) if template == "keep" else trace._examined("clusters")
            )
        return trace

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield the rows in order, some megabytes at a time, with only the wanted `columns` decoded.

        Raises
        ------
        TraceError
            If a shard cannot be decoded.
        """
        return map(to_batch, self.record_batches(columns))

    def counted(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield the rows that are counted: all rows but the repetitions of a template (see `template`)."""
        left_out = self.units.left_out(self.template)
        records = self.record_batches(columns)
        return map(to_batch, without_beginnings(records, self.units, left_out) if left_out.any() else records)

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Return all rows as Arrow record batches, with the phase."""
        records = self._recorded(columns)
        return records if self._dropped is None else measured(records, self._dropped[1], self._dropped[0])

    def _recorded(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        for source in self._sources:
            if isinstance(source, pa.Table):
                yield from read_table(source, columns)
            else:
                yield from self.read([source.file], columns)

    @property
    def n_stored(self) -> int:
        """Rows as stored, dummy rows that are left out included; those of a view are its own."""
        return sum(_rows_of(source) for source in self._sources) if self._sources else self.n_tokens

    @property
    def n_counted_before(self) -> int:
        """Counted rows of the whole trace before these rows; 0 unless they are a part of a trace."""
        return 0

    def record_batches_between(
        self, start: int, stop: int, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows stored at places `start` … `stop` − 1, without dummy rows that are left out.

        A view whose rows cannot be found without reading those before reads them all.
        """
        if type(self).record_batches is not Trace.record_batches:
            return _between(self.record_batches(columns), start, stop)
        records = self._recorded_between(start, stop, columns)
        return records if self._dropped is None else measured(records, self._dropped[1], self._dropped[0])

    def next_document(self, row: int) -> int:
        """Return the place of the first document that begins at a stored row of `row` or more; all rows if none."""
        if row <= 0:
            return 0
        last, at = -1, row - 1
        is_view = type(self).record_batches is not Trace.record_batches
        read = self.record_batches_between if is_view else self._recorded_between
        for record in read(at, self.n_stored, []):
            document = numbers_of(record.column(record.schema.get_field_index("document")))
            new = np.flatnonzero(document != (document[0] if last < 0 else last))
            if len(new):
                return at + int(new[0])
            last, at = int(document[-1]), at + len(document)
        return self.n_stored

    def shards_between(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the names of the shards that hold any of the rows `start` … `stop` − 1; none in memory."""
        names, first = [], 0
        for source in self._sources:
            if isinstance(source, Shard) and first < stop and start < first + source.rows:
                names.append(source.file.name)
            first += _rows_of(source)
        return tuple(names)

    def _recorded_between(
        self, start: int, stop: int, columns: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]:
        first = 0
        for source in self._sources:
            rows = _rows_of(source)
            low, high = max(start - first, 0), min(stop - first, rows)
            first += rows
            if low >= high:
                continue
            if isinstance(source, pa.Table):
                yield from read_table(source.slice(low, high - low), columns)
            else:
                yield from read_shard_between(source.file, low, high, columns)

    def routers(self, layers: Sequence[int] | None = None) -> tuple[Router, ...]:
        """Return the routers of the wanted layers (all if None), in order of depth.

        Raises
        ------
        TraceError
            If a layer was not recorded; says which were.
        """
        if layers is None:
            return self.meta.routers
        absent = sorted(set(layers) - set(self.meta.layers))
        if absent:
            noun = "layers" if len(absent) > 1 else "layer"
            raise TraceError(f"{noun} {span(absent)} not in this trace; it has {span(self.meta.layers)}")
        return tuple(router for router in self.meta.routers if router.layer in set(layers))


def _rows_of(source: Any) -> int:
    return int(source.num_rows if isinstance(source, pa.Table) else source.rows)


def _between(records: Iterator[pa.RecordBatch], start: int, stop: int) -> Iterator[pa.RecordBatch]:
    first = 0
    for record in records:
        low, high = max(start - first, 0), min(stop - first, record.num_rows)
        first += record.num_rows
        if low < high:
            yield record.slice(low, high - low)
        if first >= stop:
            return


def _require_one_of(value: str, known: Sequence[str], what: str) -> str:
    if value not in known:
        raise TraceError(f"{what} must be one of {', '.join(known)}, got {value!r}")
    return value
