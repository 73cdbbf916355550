"""Imported rows, or a Parquet trace, into a new store."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from routestat.errors import FormatError, TraceError
from routestat.traces.importers.imported import Imported
from routestat.traces.importers.parquet import ParquetTrace
from routestat.traces.metadata import TraceMeta
from routestat.traces.writer import TraceWriter

ROWS_AT_ONCE = 1 << 17
# The usual number of groups that tables are kept for.
GROUPS = 256
Progress = Callable[[int, int], None]


def store_imported(
    imported: Imported, folder: Path, said: Mapping[str, Any], shard_rows: int, progress: Progress
) -> None:
    """Write imported rows as a store; `said` is what the caller says of the trace (fields of `TraceMeta`)."""
    extra = dict(imported.extra)
    if imported.notes:
        extra["notes"] = list(imported.notes)
    meta = TraceMeta(imported.routers, engine=imported.engine, extra=extra, **said)
    total = len(imported.document)
    imported = _numbered_densely(imported)
    with TraceWriter(folder, meta, shard_rows=shard_rows) as writer:
        writer.add_documents(imported.documents)
        for start in range(0, total, ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            decode = None if imported.decode is None else imported.decode[rows]
            writer.write(
                imported.document[rows],
                imported.position[rows],
                experts=imported.experts[rows],
                token=None if imported.token is None else imported.token[rows],
                phase="prefill" if decode is None else np.where(decode, "decode", "prefill"),
                columns=_companions(imported, rows, meta.slot_order) or None,
            )
            progress(min(start + ROWS_AT_ONCE, total), total)


def _numbered_densely(imported: Imported) -> Imported:
    """Documents numbered 0, 1, 2 … where their own numbers would share groups; those are kept beside.

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


def _companions(imported: Imported, rows: slice, slot_order: str) -> dict[str, np.ndarray]:
    """What is kept beside the states: ``top1``, the first slot, and ``weights``, by ascending expert id."""
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
    """Write a Parquet trace as a store; what it says of itself stays, unless `said` says otherwise."""
    given = {key: value for key, value in said.items() if value}
    done = 0
    with (
        TraceWriter(folder, replace(file.meta, **given), shard_rows=shard_rows) as writer,
        naming(file.path),
    ):
        if file.documents is not None:
            writer.add_documents(file.documents.to_pydict())
        for table in file.tables():
            writer.write_table(table)
            done += table.num_rows
            progress(done, file.n_tokens)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What the writer refuses is wrong in the file; the error says in which."""
    try:
        yield
    except TraceError as error:
        raise FormatError(f"{path}: {error}") from None
