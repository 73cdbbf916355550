"""Trace: an opened store, or arrays in memory, checked once and read in batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import ArrayLike, NDArray

from routestat.errors import TraceError
from routestat.traces.batch import Batch, RowChecker, to_batch
from routestat.traces.clusters.units import TEMPLATES, Units, relabelled, units_in
from routestat.traces.dummy_rows.not_measured import KEY, NotMeasured, measured, measured_meta
from routestat.traces.examination import examine, examine_rows, without_beginnings
from routestat.traces.manifest import (
    BATCH_ROWS,
    FIXED_COLUMNS,
    MANIFEST,
    FileRecord,
    Manifest,
    check_file,
    open_arrow,
    schema_of,
)
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.rows import to_table
from routestat.traces.validation import check_documents, check_record, first_line, whole_column

Progress = Callable[[int, int], None]


#: What may be done with rows that are no measurements.
DUMMY_ROWS = ("keep", "drop")
# A batch this large keeps the cost of handing it out small beside that of counting it.
BATCH_BYTES = 8 << 20


def rows_at_once(schema: pa.Schema, in_memory: bool = False) -> int:
    """Rows of a batch of this schema; slices of what is in memory already cost none and are larger."""
    width = sum(_bytes_of(field.type) for field in schema)
    return max(BATCH_ROWS, (16 if in_memory else 1) * BATCH_BYTES // max(width, 1))


def _bytes_of(kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _bytes_of(kind.value_type)
    return 1 if pa.types.is_dictionary(kind) else int(kind.bit_width) // 8


class Trace:
    """An opened trace: its metadata, its documents, and its rows in batches.

    Open a store with `Trace.open`; wrap arrays that are in memory with `Trace.from_arrays`.

    Attributes
    ----------
    meta : TraceMeta
    documents : pyarrow.Table
        One row per document: ``document``, ``name``, ``domain`` and whatever else the source said.
    n_tokens : int
        Rows, those of a template that are not counted included; see `n_counted`.
    columns : tuple of str
        What was recorded beside the routers: ``L00.top1`` …
    complete : bool
        False if the writer stopped before closing; everything up to its last whole shard is here.
    template : {"once", "drop", "keep"}
        What happens to a beginning that most documents share: its rows are counted in the first document that has
        all of it, in none, or in all.
    dummy_rows : {"keep", "drop"}
        What happens to rows that are no measurements: they are rows like others, or they and layers that are none are
        not there; inside documents such rows are missing.
    note : str
        What its documents are, where they are no documents.
    """

    note = ""

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
        self._units = units
        self._not_measured = not_measured
        self.dummy_rows = dummy_rows
        self._dropped: tuple[TraceMeta, NotMeasured] | None = None

    @property
    def not_measured(self) -> NotMeasured:
        """Which rows and layers are no measurements; rows are looked through when this is first asked for."""
        if self._not_measured is None:
            self._not_measured = examine_rows(self.meta, self.record_batches)
        return self._not_measured

    def _drop(self) -> None:
        """Leave out what is no measurement; units are then those of the rest."""
        if found := self.not_measured:
            self._dropped = self.meta, found
            self.meta = measured_meta(self.meta, found)
            names = {router.name for router in self.meta.routers}
            self.columns = tuple(name for name in self.columns if name.split(".", 1)[0] in names)
            self.n_tokens -= found.n_removed
            self.documents = self._without_emptied(found)
            self._units = None

    def _without_emptied(self, found: NotMeasured) -> pa.Table:
        """The documents without those of which every row was left out."""
        touched = np.unique(found.ranges["document"])
        left = [np.intersect1d(batch.document, touched) for batch in self.batches([])]
        emptied = np.setdiff1d(touched, np.concatenate([touched[:0], *left]))
        kept = ~np.isin(self.documents.column("document").to_numpy(), emptied)
        return self.documents if kept.all() else self.documents.filter(pa.array(kept))

    @property
    def units(self) -> Units:
        """Which documents are independent; documents are examined when this is first asked for."""
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
        path: str | Path,
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
        path : path
            The store's folder.
        verify : bool
            Hash every shard and check every row (default). False checks names, sizes and schemas only.
        progress : callable(rows_done, rows_in_all), optional
        cluster : str, optional
            Column of the documents that says which of them belong together, such as ``domain``; ``document`` takes
            each as independent. If not given: what the store says, or else documents that share their beginning.
        template : {"once", "drop", "keep"}
            What to do with the rows of a beginning that most documents share.
        dummy_rows : {"keep", "drop"}
            What to do with rows and layers that are no measurements.

        Raises
        ------
        TraceError
            If there is no manifest, a shard is missing or altered, the format version differs, or a row is
            impossible; names the file and the row.
        """
        folder = Path(path)
        _require_store(folder)
        manifest = Manifest.load(folder)
        documents = read_documents(folder, manifest.documents)
        shards = [folder / shard.file for shard in manifest.shards]
        extra = manifest.columns[FIXED_COLUMNS + len(manifest.meta.routers) :]
        units = units_in(documents) if cluster is None else None
        held = (documents.schema.metadata or {}).get(KEY)
        known = None if held is None else NotMeasured.from_json(held, manifest.n_tokens)
        trace = cls(
            manifest.meta, documents, shards, manifest.n_tokens, extra, manifest.complete, units, template, known,
            _require_one_of(dummy_rows, DUMMY_ROWS, "dummy_rows"),
        )  # fmt: skip
        checker, done = RowChecker(manifest.meta), 0
        for shard in manifest.shards:
            file = check_file(folder, shard, hashes=verify)
            _check_schema(file, manifest.meta, extra)
            if not verify:
                continue
            row = 0
            for record in _shard_batches(file, None):
                check_record(record, str(file), row)
                checker.check(to_batch(record), str(file), row)
                row += record.num_rows
                done += record.num_rows
                if progress is not None:
                    progress(done, manifest.n_tokens)
            if row != shard.rows:
                raise TraceError(f"{file}: {row} rows where the manifest says {shard.rows}")
        if dummy_rows == "drop":
            trace._drop()
        if cluster is not None or (verify and trace._units is None):
            told = None if progress is None else lambda done: progress(done, manifest.n_tokens)
            trace._units = trace._examined(cluster, told)
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
        """A trace in memory; arguments as for `TraceWriter.write`.

        `clusters` ``[row]`` says which documents belong together, the same number in all rows of a document; if not
        given, documents that share their beginning do.
        """
        table = to_table(meta, document, position, states=states, **columns)
        checker = RowChecker(meta)
        for record in table.to_batches():
            checker.check(to_batch(record), "arrays", 0)
        numbers = np.unique(table.column("document").to_numpy())
        documents = pa.table({"document": pa.array(numbers, pa.int32())})
        recorded = columns.get("columns") or ()
        trace = cls(
            meta, documents, [table], table.num_rows, recorded, template=template, dummy_rows=dummy_rows
        )
        if _require_one_of(dummy_rows, DUMMY_ROWS, "dummy_rows") == "drop":
            trace._drop()
        if clusters is not None:
            label = _label_of(table.column("document").to_numpy(), clusters, numbers)
            there = np.isin(numbers, trace.documents.column("document").to_numpy())
            numbers, label = numbers[there], label[there]
            trace.documents = trace.documents.append_column("clusters", pa.array(label))
            trace._units = (
                relabelled(Units.alone(numbers), label) if template == "keep" else trace._examined("clusters")
            )
        return trace

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """The rows in order, some megabytes at a time, with only the wanted `columns` decoded.

        Raises
        ------
        TraceError
            If a shard cannot be decoded.
        """
        return map(to_batch, self.record_batches(columns))

    def counted(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """The rows that are counted, as `batches`: without repetitions of a template (see `template`)."""
        left_out = self.units.left_out(self.template)
        records = self.record_batches(columns)
        return map(to_batch, without_beginnings(records, self.units, left_out) if left_out.any() else records)

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows as Arrow record batches, with the phase."""
        records = self._recorded(columns)
        return records if self._dropped is None else measured(records, self._dropped[1], self._dropped[0])

    def _recorded(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        for source in self._sources:
            if isinstance(source, pa.Table):
                names = source.schema.names if columns is None else ["document", "position", *columns]
                chosen = source.select(names)
                yield from chosen.to_batches(max_chunksize=rows_at_once(chosen.schema, in_memory=True))
            else:
                yield from read_shards([source], columns)

    def routers(self, layers: Sequence[int] | None = None) -> tuple[Router, ...]:
        """The routers of the wanted layers (all if None), in order of depth.

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


def read_shards(files: Sequence[Path], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of shards in order, in batches of `rows_at_once`, with only the wanted `columns` decoded."""
    for file in files:
        yield from _together(_shard_batches(file, columns))


def _label_of(
    document: NDArray[np.int32], clusters: ArrayLike, numbers: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The cluster of each document, from one of each row."""
    given = whole_column(clusters, "clusters", n=len(document))
    _, first = np.unique(document, return_index=True)
    label = given[first]
    changed = given != label[np.searchsorted(numbers, document)]
    if changed.any():
        row = int(np.argmax(changed))
        raise TraceError(f"row {row}: clusters must not change within a document, they do in {document[row]}")
    return np.asarray(label)


def _require_one_of(value: str, known: Sequence[str], what: str) -> str:
    if value not in known:
        raise TraceError(f"{what} must be one of {', '.join(known)}, got {value!r}")
    return value


def span(numbers: Sequence[int]) -> str:
    """Whole numbers in words as short as can be: ``0-3, 7``."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def _require_store(folder: Path) -> None:
    if not folder.exists():
        raise TraceError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise TraceError(
            f"{folder}: a trace is a folder, this is a file; convert it first: "
            f"python -m routestat.convert {folder} --out TRACE"
        )
    if not (folder / MANIFEST).is_file():
        inside = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
        hint = f"; did you mean {folder / inside[0]}?" if inside else ""
        raise TraceError(f"{folder}: no {MANIFEST} here, so this is no trace{hint}")


def read_documents(folder: Path, record: FileRecord) -> pa.Table:
    """The documents of a store, from the file that the manifest vouches for."""
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


def documents_in(folder: Path, manifest: Manifest) -> set[int]:
    """The documents that have rows in the shards; the description may name others, not yet written."""
    numbers: set[int] = set()
    extra = manifest.columns[FIXED_COLUMNS + len(manifest.meta.routers) :]
    for shard in manifest.shards:
        file = check_file(folder, shard, hashes=False)
        _check_schema(file, manifest.meta, extra)
        for record in _shard_batches(file, []):
            check_record(record, str(file), 0)
            numbers.update(np.unique(to_batch(record).document).tolist())
    return numbers


def _check_schema(file: Path, meta: TraceMeta, extra: Sequence[str]) -> None:
    reader = open_arrow(file)
    wanted = schema_of(meta, extra)
    for field in wanted:
        index = reader.schema.get_field_index(field.name)
        if index < 0:
            raise TraceError(f"{file}: column {field.name} is missing")
        got = reader.schema.field(index)
        if got.type != field.type:
            raise TraceError(
                f"{file}: column {field.name} is {got.type}, the manifest's metadata asks for {field.type}"
            )
    if reader.schema.names != wanted.names:
        raise TraceError(
            f"{file}: columns are {', '.join(reader.schema.names)}; wanted {', '.join(wanted.names)}"
        )


def _shard_batches(file: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    reader = open_arrow(file)
    if columns is not None:
        names = ["document", "position", *columns]
        wanted = [reader.schema.get_field_index(name) for name in names]
        if min(wanted) < 0:
            raise TraceError(f"{file}: column {names[wanted.index(-1)]} was not recorded")
        options = pa.ipc.IpcReadOptions(included_fields=sorted(set(wanted)))
        reader = pa.ipc.open_file(pa.OSFile(str(file)), options=options)
    for index in range(reader.num_record_batches):
        try:
            yield reader.get_batch(index)
        except (pa.ArrowException, OSError) as error:
            raise TraceError(f"{file}: batch {index} cannot be decoded ({first_line(error)})") from None


def _together(records: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of `rows_at_once`: a shard's own are as small as its readers may wish."""
    held: list[pa.RecordBatch] = []
    for record in records:
        held.append(record)
        rows = rows_at_once(record.schema)
        if sum(batch.num_rows for batch in held) + record.num_rows > rows:
            yield from _join(held, rows)
    if held:
        yield from _join(held, rows)


def _join(held: list[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Empty `held` into batches of at most `rows`; the parts are let go before the whole is used."""
    joined = list(held) if len(held) == 1 else pa.Table.from_batches(held).combine_chunks().to_batches()
    held.clear()
    for record in joined:
        for start in range(0, record.num_rows, rows):
            yield record.slice(start, rows)
