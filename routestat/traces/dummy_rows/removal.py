"""A trace read without its dummy rows and layers."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from routestat.traces.arrow_arrays import numbers_of
from routestat.traces.dummy_rows.not_measured import PLACES, NotMeasured
from routestat.traces.metadata import TraceMeta


def rows_of(
    found: NotMeasured, document: NDArray[np.integer], position: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows ``[row]`` are to be removed, and which are to become missing."""
    if not len(found.ranges):
        return np.zeros(len(document), bool), np.zeros(len(document), bool)
    # One number for document and position: ranges do not overlap.
    start = _joint(found.ranges["document"], found.ranges["first"])
    order = np.argsort(start)
    stop = _joint(found.ranges["document"], found.ranges["last"])[order]
    inside = found.ranges["place"][order] == PLACES.index("inside")
    row = _joint(document, position)
    at = np.searchsorted(start[order], row, side="right") - 1
    held = (at >= 0) & (row <= stop[at])
    return held & ~inside[at], held & inside[at]


def measured_meta(meta: TraceMeta, found: NotMeasured) -> TraceMeta:
    """Return the metadata without the dummy layers."""
    rest = tuple(router for router in meta.routers if router.layer not in found.layers)
    return meta if len(rest) == len(meta.routers) or not rest else replace(meta, routers=rest)


def measured(
    records: Iterator[pa.RecordBatch], found: NotMeasured, meta: TraceMeta
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a trace without dummy rows; inside documents they become missing."""
    gone = {router.name for router in meta.routers if router.layer in found.layers}
    gone = set() if len(gone) == len(meta.routers) else gone
    for record in records:
        if gone:
            names = [name for name in record.schema.names if name.split(".", 1)[0] not in gone]
            record = record.select(names)
        gone_rows, missing = rows_of(found, _column(record, "document"), _column(record, "position"))
        record = _with_missing(record, missing, meta) if missing.any() else record
        if gone_rows.any():
            record = record.take(pa.array(np.flatnonzero(~gone_rows)))
        if record.num_rows:
            yield record


def _joint(document: NDArray[np.integer], position: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.asarray((document.astype(np.int64) << 32) | position.astype(np.int64))


def _column(record: pa.RecordBatch, name: str) -> NDArray[np.integer]:
    return numbers_of(record.column(record.schema.get_field_index(name)))


def _with_missing(record: pa.RecordBatch, missing: NDArray[np.bool_], meta: TraceMeta) -> pa.RecordBatch:
    """Return the record with the choices of every router missing in some rows."""
    columns = []
    routers = {router.name for router in meta.routers}
    for field, column in zip(record.schema, record.columns, strict=True):
        is_list = pa.types.is_fixed_size_list(field.type)
        inner = field.type.value_type if is_list else field.type
        if field.name.split(".", 1)[0] in routers and pa.types.is_integer(inner):
            width = field.type.list_size if is_list else 1
            flat = (column.flatten() if is_list else column).to_numpy(zero_copy_only=False).reshape(-1, width)
            flat = np.where(missing[:, None], np.iinfo(flat.dtype).max, flat)
            values = pa.array(flat.ravel(), inner)
            column = pa.FixedSizeListArray.from_arrays(values, type=field.type) if is_list else values
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=record.schema)
