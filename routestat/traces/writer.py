"""TraceWriter: a store written shard by shard.

A shard is written under a temporary name, hashed and renamed; the manifest then replaces the old one. A
writer that is killed therefore loses at most the shard it had not finished, and what is on disk opens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from routestat.errors import TraceError
from routestat.traces.batch import RowChecker, to_batch
from routestat.traces.clusters.units import FOUND, Units
from routestat.traces.dummy_rows.not_measured import KEY, NotMeasured
from routestat.traces.examination import examine, examine_rows
from routestat.traces.interrupts import held_back
from routestat.traces.manifest import (
    DOCUMENTS,
    FIXED_COLUMNS,
    MANIFEST,
    FileRecord,
    Manifest,
    schema_of,
    write_arrow,
)
from routestat.traces.metadata import TraceMeta
from routestat.traces.rows import to_table
from routestat.traces.shards import documents_in, read_documents, read_shards
from routestat.traces.validation import check_record, first_line, require_text, whole_column

SHARD_ROWS = 1 << 20


class TraceWriter:
    """Write a store, shard by shard. Use it as a context manager.

    Parameters
    ----------
    path : path
        The store's folder; made if absent.
    meta : TraceMeta
    append : bool
        Add documents to an existing store (also to continue after a crash). False refuses a folder
        that already holds a store.
    shard_rows : int
        Rows of a shard; shards are cut between documents where possible.

    Raises
    ------
    TraceError
        If the folder holds a store already, or one of other routers.
    """

    def __init__(
        self, path: str | Path, meta: TraceMeta, *, append: bool = False, shard_rows: int = SHARD_ROWS
    ) -> None:
        if shard_rows < 1:
            raise TraceError(f"shard_rows must be 1 or more, got {shard_rows}")
        self.path = Path(path)
        self.meta = meta
        self.shard_rows = shard_rows
        self._pending: list[pa.Table] = []
        self._documents: list[pa.Table] = []
        # Documents were described since the last save; documents without rows would not cause another.
        self._announced = False
        self._checker = RowChecker(meta)
        self._extra: tuple[str, ...] | None = None
        self._rows = 0
        self._seen: set[int] = set()
        self._units: Units | None = None
        self._not_measured: NotMeasured | None = None
        self._manifest: Manifest | None = None
        self.path.mkdir(parents=True, exist_ok=True)
        if (self.path / MANIFEST).exists():
            if not append:
                raise TraceError(f"{self.path}: already holds a trace; append to it or choose another folder")
            self._continue()
        for stale in (*self.path.glob("*.tmp"), *self.path.glob("*.new")):
            stale.unlink()

    def _continue(self) -> None:
        old = Manifest.load(self.path)
        if old.meta.routers != self.meta.routers:
            raise TraceError(f"{self.path}: holds a trace of other routers; append only the same model's")
        documents = read_documents(self.path, old.documents)
        if not (self.path / DOCUMENTS).exists() or (self.path / (DOCUMENTS + ".new")).exists():
            write_arrow(self.path / DOCUMENTS, documents)
        self._manifest = old
        self._extra = old.recorded
        self._documents = [documents.drop_columns([name for name in FOUND if name in documents.schema.names])]
        # Described documents may have no rows yet: these were expected before the crash.
        self._seen = documents_in(self.path, old)
        self._checker = RowChecker(self.meta, set(self._seen))

    def __enter__(self) -> "TraceWriter":
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the pending rows, and close the store unless an error occurred."""
        # Interrupted work is kept: rows that were passed are written, and the store stays incomplete.
        self._flush(everything=True)
        if kind is None:
            self._examine()
        if kind is None or self._announced:
            self._save(complete=kind is None)

    def _examine(self) -> None:
        """Find the independent documents and the dummy rows on disk, again after each addition."""
        shards = [] if self._manifest is None else [self.path / shard.file for shard in self._manifest.shards]
        recorded = partial(read_shards, shards)
        self._not_measured = examine_rows(self.meta, recorded)
        self._units = examine(self.meta, self._document_table(), recorded, found=self._not_measured)

    def add_extra(self, said: Mapping[str, Any]) -> None:
        """Add to the metadata's `extra`, such as notes made while rows were written.

        Raises
        ------
        TraceError
            If it cannot be written as JSON.
        """
        self.meta = replace(self.meta, extra={**self.meta.extra, **said})
        if self._manifest is not None:
            self._manifest = replace(self._manifest, meta=self.meta)

    def add_documents(self, rows: Mapping[str, Sequence[Any]]) -> None:
        """Describe documents: columns ``document``, and ``name``, ``domain`` or anything else.

        Documents with the same ``cluster_label`` are taken as dependent (samples of one prompt, turns of one
        conversation). Columns ``cluster``, ``cluster_by`` and ``template`` are the writer's and not copied.

        A later description of a document replaces the earlier one.

        Raises
        ------
        TraceError
            If a number is none or comes twice in this call, or a column does not fit the earlier ones.
        """
        if "document" not in rows:
            raise TraceError("document rows need a column named document")
        numbers = whole_column(rows["document"], "document")
        values, counts = np.unique(numbers, return_counts=True)
        if len(values) != len(numbers):
            raise TraceError(f"document {values[np.argmax(counts > 1)]} is described twice in one call")
        columns = {"document": pa.array(numbers)}
        for name, column in rows.items():
            require_text(name, "the name of a documents' column")
            # The results of an earlier examination are found again for the documents of this store.
            if name not in ("document", *FOUND):
                columns[name] = _column(column, name, len(numbers))
        table = pa.table(columns)
        try:
            pa.unify_schemas([*(known.schema for known in self._documents), table.schema])
        except (pa.ArrowException, ValueError) as error:
            raise TraceError(f"documents: a column changes its type ({first_line(error)})") from None
        with held_back():
            self._documents.append(table)
            self._announced = True

    def write(
        self,
        document: ArrayLike,
        position: ArrayLike | None = None,
        *,
        states: Any = None,
        experts: ArrayLike | None = None,
        token: ArrayLike | None = None,
        phase: Any = "prefill",
        columns: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Add rows. A document's rows come together and in order, in one call or several.

        Parameters
        ----------
        document : int array ``[row]``
        position : int array ``[row]``, optional
            Counted within each document of this call if not given.
        states : unsigned array ``[row, router]`` or mapping of router name to ``[row]``
        experts : int array ``[row, router, slot]``
            Instead of states; a row of −1 is missing.
        token : int array ``[row]``, optional
            Token ids, −1 unknown.
        phase : {"prefill", "decode"} or a sequence of them
        columns : mapping, optional
            Recorded companions: ``L00.top1``, ``L00.weights``, ``L00.ahead1`` …

        Raises
        ------
        TraceError
            Naming the first row that is impossible; nothing of the call is then written.
        """
        table = to_table(
            self.meta,
            document,
            position,
            states=states,
            experts=experts,
            token=token,
            phase=phase,
            columns=columns,
        )
        self.write_table(table)

    def write_table(self, table: pa.Table) -> None:
        """Add rows that are in the store's own schema already; otherwise as `write`."""
        names = tuple(table.schema.names)
        extra = names[FIXED_COLUMNS + len(self.meta.routers) :]
        wanted = schema_of(self.meta, extra if self._extra is None else self._extra)
        if names != tuple(wanted.names):
            raise TraceError(f"columns must stay {', '.join(wanted.names)}, got {', '.join(names)}")
        for got, field in zip(table.schema, wanted, strict=True):
            if got.type != field.type:
                raise TraceError(f"rows written: column {field.name} is {got.type}, expected {field.type}")
        table = table.combine_chunks()
        row = self._rows
        for record in table.to_batches():
            check_record(record, "rows written", row)
            self._checker.check(to_batch(record), "rows written", row)
            row += record.num_rows
        # The same schema in every piece, nullable or not.
        table = pa.Table.from_arrays(table.columns, schema=wanted)
        with held_back():
            self._rows, self._extra = row, extra
            self._pending.append(table)
        self._flush(everything=False)

    def _flush(self, everything: bool) -> None:
        pending = sum(table.num_rows for table in self._pending)
        if pending < self.shard_rows and not (everything and pending):
            return
        table = pa.concat_tables(self._pending)
        while table.num_rows >= self.shard_rows or (everything and table.num_rows):
            cut = self._cut(table)
            # An interruption between the two would write the rows twice.
            with held_back():
                self._write_shard(table.slice(0, cut))
                table = table.slice(cut)
                self._pending = [table] if table.num_rows else []

    def _cut(self, table: pa.Table) -> int:
        """Return the end of the next shard: the last document boundary that fits, else its full length."""
        if table.num_rows <= self.shard_rows:
            return int(table.num_rows)
        document = table.column("document").slice(0, self.shard_rows + 1).to_numpy()
        boundaries = np.flatnonzero(document[1:] != document[:-1]) + 1
        return int(boundaries[-1]) if len(boundaries) else self.shard_rows

    def _write_shard(self, table: pa.Table) -> None:
        number = len(self._manifest.shards) if self._manifest else 0
        shard = write_arrow(self.path / f"shard-{number:05d}.arrow", table.combine_chunks())
        self._seen.update(np.unique(table.column("document").to_numpy()).tolist())
        self._save(complete=False, shard=shard, columns=tuple(table.schema.names))

    def _save(self, complete: bool, shard: FileRecord | None = None, columns: Sequence[str] = ()) -> None:
        """Write new documents, then the manifest, then rename: an interruption leaves a valid store."""
        fresh = self.path / (DOCUMENTS + ".new")
        record = replace(write_arrow(fresh, self._document_table()), file=DOCUMENTS)
        if self._manifest is None:
            names = tuple(columns) or tuple(schema_of(self.meta, self._extra or ()).names)
            self._manifest = Manifest(self.meta, names, (), record, complete)
        if shard is not None:
            self._manifest = self._manifest.with_shard(shard, record, columns)
        self._manifest = replace(self._manifest, documents=record, complete=complete)
        self._manifest.save(self.path)
        fresh.replace(self.path / DOCUMENTS)
        self._announced = False

    def _document_table(self) -> pa.Table:
        described = (
            pa.concat_tables(self._documents, promote_options="default")
            if self._documents
            else pa.table({"document": pa.array([], pa.int32())})
        )
        numbers = described.column("document").to_numpy()
        # The first from the end is the latest description of a document.
        _, latest = np.unique(numbers[::-1], return_index=True)
        if len(latest) != len(numbers):
            described = described.take(pa.array(len(numbers) - 1 - latest))
        rest = sorted(self._seen - set(numbers.tolist()))
        if rest:
            silent = pa.table({"document": pa.array(rest, pa.int32())})
            described = pa.concat_tables([described, silent], promote_options="default")
        for name in ("name", "domain"):
            if name not in described.schema.names:
                described = described.append_column(name, pa.nulls(described.num_rows, pa.string()))
        described = described.sort_by("document")
        for name, column in ({} if self._units is None else self._units.to_columns()).items():
            described = described.append_column(name, column)
        held = None
        if self._not_measured is not None and self._manifest is not None:
            held = {KEY: self._not_measured.to_json(self._manifest.n_tokens)}
        return described.replace_schema_metadata(held)


def _column(values: Any, name: str, n: int) -> pa.Array:
    try:
        column = pa.array(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise TraceError(f"documents: column {name} cannot be kept ({first_line(error)})") from None
    if len(column) != n:
        raise TraceError(f"documents: column {name} has {len(column)} rows where document has {n}")
    return column
