"""Imported rows, or a Parquet trace, written to a new store."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from routestat.errors import FormatError, TraceError
from routestat.progress import Progress
from routestat.traces.dummy_rows.findings import findings_of
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.parquet import ParquetTrace
from routestat.traces.metadata import TraceMeta
from routestat.traces.store import Trace
from routestat.traces.writer import TraceWriter

ROWS_AT_ONCE = 1 << 17
# The default number of groups of tables.
GROUPS = 256


@dataclass(frozen=True)
class Stored:
    """The result of writing a store: tokens, documents and notes."""

    n_tokens: int
    n_documents: int
    notes: tuple[str, ...]


def store_imported(
    imported: ImportedTrace, folder: Path, said: Mapping[str, Any], shard_rows: int, progress: Progress
) -> Stored:
    """Write imported rows as a store; `said` are fields of `TraceMeta` from the caller."""
    return store_parts(
        [_numbered_densely(imported)], folder, said, shard_rows, progress, len(imported.document)
    )


def store_parts(
    parts: Iterable[ImportedTrace],
    folder: Path,
    said: Mapping[str, Any],
    shard_rows: int,
    progress: Progress,
    total: int,
    earlier: Sequence[str] = (),
) -> Stored:
    """Write rows that come in parts, each of later documents, or later rows of the same document.

    Parameters
    ----------
    parts : iterable of Imported
        Of the same routers; at least one.
    total : int
        Approximate number of tokens, for the progress.
    earlier : sequence of str
        Notes that belong to no part.
    """
    writer, notes, numbers, n_tokens = None, list(earlier), set(), 0
    with ExitStack() as stack:
        for part in parts:
            notes += [note for note in part.notes if note not in notes]
            extra = {**part.extra, "notes": notes} if notes else dict(part.extra)
            if writer is None:
                meta = TraceMeta(part.routers, engine=part.engine, extra=extra, **said)
                writer = stack.enter_context(TraceWriter(folder, meta, shard_rows=shard_rows))
            writer.add_extra(extra)
            writer.add_documents(part.documents)
            numbers.update(part.documents["document"])
            for start in range(0, len(part.document), ROWS_AT_ONCE):
                _write(writer, part, slice(start, start + ROWS_AT_ONCE))
                done = n_tokens + min(start + ROWS_AT_ONCE, len(part.document))
                progress(done, max(done, total))
            n_tokens += len(part.document)
    return Stored(n_tokens, len(numbers), tuple(notes))


def store_measured(written: Path, folder: Path, shard_rows: int, progress: Progress) -> Stored:
    """Write a trace again without the dummy rows that are found in the whole trace.

    Single parts may hold too few other rows for comparison.
    """
    trace = Trace.open(written, verify=False, dummy_rows="drop")
    given = findings_of(trace)
    notes = [*trace.meta.extra.get("notes", ()), *(finding.sentence for finding in given)]
    meta = replace(trace.meta, extra={**trace.meta.extra, "notes": notes} if notes else trace.meta.extra)
    done = 0
    with TraceWriter(folder, meta, shard_rows=shard_rows) as writer:
        writer.add_documents(trace.documents.to_pydict())
        for record in trace.record_batches():
            writer.write_table(pa.Table.from_batches([record]))
            done += record.num_rows
            progress(done, trace.n_tokens)
    return Stored(done, trace.documents.num_rows, tuple(notes))


def _write(writer: TraceWriter, part: ImportedTrace, rows: slice) -> None:
    decode = None if part.decode is None else part.decode[rows]
    writer.write(
        part.document[rows],
        part.position[rows],
        experts=part.experts[rows],
        token=None if part.token is None else part.token[rows],
        phase="prefill" if decode is None else np.where(decode, "decode", "prefill"),
        columns=_companions(part, rows, writer.meta.slot_order) or None,
    )


def _numbered_densely(imported: ImportedTrace) -> ImportedTrace:
    """Renumber documents 0, 1, 2 … if their numbers would share groups; the old numbers are kept.

    A document's group is its number modulo the number of groups: 0, 256, 512 … would all be one.
    """
    numbers = np.asarray(imported.documents["document"], np.int64)
    if len(np.unique(numbers % GROUPS)) == min(len(numbers), GROUPS):
        return imported
    order = np.argsort(numbers)
    dense = order[np.searchsorted(numbers, imported.document, sorter=order)].astype(np.int32)
    documents = {
        **imported.documents,
        "document": list(range(len(numbers))),
        "source_document": numbers.tolist(),
    }
    return replace(imported, document=dense, documents=documents)


def _companions(imported: ImportedTrace, rows: slice, slot_order: str) -> dict[str, NDArray[Any]]:
    """Return the companion columns: ``top1``, the first slot, and ``weights``, by ascending expert id."""
    columns = {}
    for index, router in enumerate(imported.routers):
        experts = imported.experts[rows, index]
        if slot_order == "weight":
            heaviest = experts[:, 0].astype(np.int64)
            missing = np.iinfo(router.alphabet.expert_dtype).max
            columns[f"{router.name}.top1"] = np.where(heaviest < 0, missing, heaviest)
        if imported.weights is not None:
            by_id = np.argsort(experts, axis=1)
            weights = np.take_along_axis(imported.weights[rows, index], by_id, axis=1)
            columns[f"{router.name}.weights"] = np.where(experts[:, :1] < 0, 0.0, weights)
    return columns


def store_parquet(
    file: ParquetTrace, folder: Path, said: Mapping[str, Any], shard_rows: int, progress: Progress
) -> None:
    """Write a Parquet trace as a store with its metadata, except for those in `said`."""
    given = {key: value for key, value in said.items() if value}
    done = 0
    with (
        TraceWriter(folder, replace(file.meta, **given), shard_rows=shard_rows) as writer,
        errors_naming(file.path),
    ):
        if file.documents is not None:
            writer.add_documents(file.documents.to_pydict())
        for table in file.tables():
            writer.write_table(table)
            done += table.num_rows
            progress(done, file.n_tokens)


@contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Add the file's name to the errors of the writer."""
    try:
        yield
    except TraceError as error:
        raise FormatError(f"{path}: {error}") from None
