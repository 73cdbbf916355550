"""What in a trace is no measurement: which rows of which documents, which layers, and the trace without them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from routestat.errors import TraceError
from routestat.traces.dummy_rows.few_choices import phase_is_handful
from routestat.traces.dummy_rows.row_features import LayerLevels
from routestat.traces.dummy_rows.row_runs import RowRuns
from routestat.traces.dummy_rows.suspicious_runs import EDGE, LEAST_DOCUMENTS, PHASE, STUCK, ZEROS, suspicious
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.validation import read_json

#: Kinds of finds, in the order of their codes; and where in their documents rows lie.
KINDS = ("warm-up", EDGE, STUCK, PHASE, ZEROS, "alike")
PLACES = ("start", "end", "inside")
#: Rows of one document: `rows` of them, from position `first` to `last`.
RANGE = np.dtype(
    [("document", "i4"), ("first", "i4"), ("last", "i4"), ("rows", "i8"), ("kind", "i1"), ("place", "i1")]
)
# In the schema of a store's documents; the rows that a trace held when they were looked for tell an older find.
KEY = b"routestat.not_measured"
# A layer of one choice is remarked on where so many rows would differ if it were like the others, of so many at least.
LEAST_DIFFERING, LEAST_ROWS = 10.0, 32
# A phase is no measurement as a whole where so many of its rows are none.
MOST_OF_A_PHASE = 0.95


@dataclass(frozen=True, eq=False)
class NotMeasured:
    """The rows and the layers of a trace that are no measurements.

    Attributes
    ----------
    ranges : array ``[range]`` of `RANGE`
        By document, then position.
    layers : tuple of int
        Layers with one choice in all rows.
    """

    ranges: NDArray
    layers: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(len(self.ranges) or self.layers)

    @property
    def n_removed(self) -> int:
        """Rows at the starts and ends of documents: without them documents are shorter."""
        return int(self.ranges["rows"][self.ranges["place"] != PLACES.index("inside")].sum())

    def of(self, documents: Iterable[int]) -> "NotMeasured":
        """Only what lies in these documents."""
        return replace(self, ranges=self.ranges[np.isin(self.ranges["document"], list(documents))])

    def to_json(self, n_rows: int) -> bytes:
        """For the schema of a store's documents; `from_json` reads it."""
        columns = {name: self.ranges[name].tolist() for name in RANGE.names or ()}
        return json.dumps({"version": 1, "n_rows": n_rows, "layers": self.layers, **columns}).encode()

    @classmethod
    def from_json(cls, content: bytes, n_rows: int) -> "NotMeasured | None":
        """What `to_json` wrote; None if it is of other rows or of another version, and has to be found anew."""
        try:
            held = read_json(content)
            if held.get("version") != 1 or held.get("n_rows") != n_rows:
                return None
            columns = [held[name] for name in RANGE.names or ()]
            ranges = np.array(list(zip(*columns, strict=True)), RANGE)
            layers = tuple(int(layer) for layer in held["layers"])
        except (TraceError, AttributeError, KeyError, TypeError, ValueError, OverflowError):
            return None
        inside = (ranges["kind"] < len(KINDS)) & (ranges["place"] < len(PLACES)) & (ranges["rows"] > 0)
        ordered = (ranges["first"] <= ranges["last"]) & (ranges["kind"] >= 0) & (ranges["place"] >= 0)
        return cls(ranges, layers) if (inside & ordered).all() else None


NOTHING = NotMeasured(np.empty(0, RANGE))


def find_rows(found: RowRuns) -> NDArray:
    """The rows that are no measurements, as ranges ``[range]`` of `RANGE`."""
    runs, kind = found.runs, suspicious(found)
    at = np.flatnonzero(kind != "")
    rows, first, last = runs["row"][at], runs["first"][at], runs["last"][at]
    n, document, decode = runs["n"][at], runs["document"][at], runs["phase"][at] == 1
    named = kind[at]
    both = bool((found.n_phase > 0).all())
    if both and phase_is_handful(found):
        whole, kept = found.segments[found.segments["phase"] == 1], ~decode
        document = np.append(document[kept], whole["document"])
        first, last = np.append(first[kept], whole["first"]), np.append(last[kept], whole["last"])
        rows, n = np.append(rows[kept], whole["row"]), np.append(n[kept], whole["n"])
        named = np.append(named[kept], np.full(len(whole), PHASE))
    elif both and MOST_OF_A_PHASE * found.n_phase[1] <= n[decode].sum() <= 2 * found.n_phase[1]:
        # Runs that are mostly of prompts, and go on in the few rows of the answers, are padding.
        named[decode & (named != ZEROS)] = PHASE
    order = np.argsort(rows, kind="stable")
    rows, n, named = rows[order], n[order], named[order]
    ranges = np.zeros(len(order), RANGE)
    ranges["document"], ranges["rows"] = document[order], n
    ranges["first"], ranges["last"] = first[order], last[order]
    ranges["place"] = _places(found, rows, n)
    opening = (ranges["place"] == 0) & (_block_starts(rows, n, _opens(found, rows)) == 0)
    # What other documents begin with as well is padding in the first of them, too.
    alone = np.count_nonzero((ranges["place"] == 0) & ~opening & (named == EDGE)) < LEAST_DOCUMENTS
    named[opening & np.isin(named, (EDGE, STUCK) if alone else STUCK)] = KINDS[0]
    ranges["kind"] = [KINDS.index(name) for name in named.tolist()]
    return ranges


def _opens(found: RowRuns, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first row of the document of each row."""
    first = found.runs["row"][found.runs["opens"]]
    return np.asarray(first[np.searchsorted(first, rows, side="right") - 1])


def _block_starts(
    rows: NDArray[np.int64], n: NDArray[np.int64], opens: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The first row of the block of adjacent ranges of one document that each range is in."""
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (rows[1:] != rows[:-1] + n[:-1]) | (opens[1:] != opens[:-1])
    return np.asarray(rows[np.flatnonzero(fresh)[np.cumsum(fresh) - 1]]) if len(rows) else rows


def _places(found: RowRuns, rows: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.int8]:
    """Whether ranges reach the start or the end of their documents, alone or with those beside them."""
    if not len(rows):
        return np.empty(0, np.int8)
    opens = _opens(found, rows)
    start = _block_starts(rows, n, opens)
    first = np.append(found.runs["row"][found.runs["opens"]], found.n_phase.sum())
    closes = first[np.searchsorted(first, rows, side="right")]
    # The end of a block is that of its last range.
    last = np.append(np.flatnonzero(start[1:] != start[:-1]), len(rows) - 1)
    ends = (rows + n)[last][np.searchsorted(last, np.arange(len(rows)))]
    return np.where(start == opens, 0, np.where(ends == closes, 1, 2)).astype(np.int8)


def constant_layers(levels: LayerLevels, routers: Sequence[Router]) -> tuple[int, ...]:
    """Layers with one choice in all rows, where the others are not nearly so."""
    return measured_layers(
        levels, [router.layer for router in routers], [router.alphabet.size > 1 for router in routers]
    )


def measured_layers(
    levels: LayerLevels, layers: Sequence[int], has_choice: bool | Sequence[bool]
) -> tuple[int, ...]:
    """As `constant_layers`, of layers by number; `has_choice` says which have more than one subset."""
    choice = [has_choice] * len(layers) if isinstance(has_choice, bool) else has_choice
    constant = [levels.constant(place) is not None for place in range(len(layers))]
    if all(constant) or not any(constant):
        return ()
    shares = [levels.most_frequent(place) for place, same in enumerate(constant) if not same]
    differing = levels.rows * (1.0 - max(shares))
    return tuple(
        layer
        for layer, some, same, rows, others in zip(
            layers, choice, constant, levels.rows, differing, strict=True
        )
        if some and same and rows >= LEAST_ROWS and others >= LEAST_DIFFERING
    )


def rows_of(
    found: NotMeasured, document: NDArray[np.integer], position: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows ``[row]`` are to be removed, and which are to become missing."""
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
    """The metadata without the layers that are no measurements."""
    rest = tuple(router for router in meta.routers if router.layer not in found.layers)
    return meta if len(rest) == len(meta.routers) or not rest else replace(meta, routers=rest)


def measured(
    records: Iterator[pa.RecordBatch], found: NotMeasured, meta: TraceMeta
) -> Iterator[pa.RecordBatch]:
    """The rows of a trace without those that are no measurements: inside documents they become missing."""
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


def _joint(document: NDArray, position: NDArray) -> NDArray[np.int64]:
    return np.asarray((document.astype(np.int64) << 32) | position.astype(np.int64))


def _column(record: pa.RecordBatch, name: str) -> NDArray:
    return np.asarray(record.column(record.schema.get_field_index(name)).to_numpy())


def _with_missing(record: pa.RecordBatch, missing: NDArray[np.bool_], meta: TraceMeta) -> pa.RecordBatch:
    """The record with nothing recorded in some rows of every router."""
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
