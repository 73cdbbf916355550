"""Features of rows for the search for dummy rows, from stored states or from raw expert ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from routestat.traces.arrow_arrays import numbers_of
from routestat.traces.batch import to_batch
from routestat.traces.dummy_rows.row_runs import RowFeatures
from routestat.traces.metadata import Router
from routestat.traces.row_hash import keys_of
from routestat.traces.validation import PHASES

# Rows processed together: a column of this length stays in the cache.
BLOCK = 1 << 15
# Rows in which the share of a layer's most frequent choice is counted.
SHARE_ROWS = 1 << 14


@dataclass
class LayerLevels:
    """The least and largest value of every column of each layer, which show layers that never change.

    Parameters
    ----------
    n_layers : int
    """

    n_layers: int
    low: list[NDArray[np.integer] | None] = field(default_factory=list)
    high: list[NDArray[np.integer] | None] = field(default_factory=list)
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    sample: list[list[NDArray[np.integer]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the lists, one entry per layer."""
        self.sample = [[] for _ in range(self.n_layers)]
        self.low, self.high = [None] * self.n_layers, [None] * self.n_layers
        self.rows = np.zeros(self.n_layers, np.int64)

    def add(self, layer: int, values: NDArray[np.integer], missing: int) -> None:
        """Add the values ``[row]`` or ``[row, slot]`` of one layer; rows of `missing` are skipped."""
        values = values[:, None] if values.ndim == 1 else values
        high = values.max(axis=0)
        if missing in (int(high[0]), int(values.min())):
            values = values[~(values == missing).all(axis=1)]
            if not len(values):
                return
            high = values.max(axis=0)
        low, held_low, held_high = values.min(axis=0), self.low[layer], self.high[layer]
        self.low[layer] = low if held_low is None else np.minimum(low, held_low)
        self.high[layer] = high if held_high is None else np.maximum(high, held_high)
        if self.rows[layer] < SHARE_ROWS:
            self.sample[layer].append(values[:SHARE_ROWS].copy())
        self.rows[layer] += len(values)

    def most_frequent(self, layer: int) -> float:
        """Return the share of the most frequent choice of a layer in the first rows; 0 without rows."""
        if not self.sample[layer]:
            return 0.0
        times = np.unique(np.concatenate(self.sample[layer]), axis=0, return_counts=True)[1]
        return float(times.max() / times.sum())

    def constant(self, layer: int) -> NDArray[np.integer] | None:
        """Return the only choice of a layer, as stored; None if there are several, or none."""
        low, high = self.low[layer], self.high[layer]
        return low if low is not None and high is not None and np.array_equal(low, high) else None


def features_of_stored_rows(
    record: pa.RecordBatch, routers: Sequence[Router], levels: LayerLevels
) -> RowFeatures:
    """Return the features of stored rows, and add their values to `levels`."""
    batch = to_batch(record)
    columns = [batch.columns[router.name] for router in routers]
    missing = [
        router.alphabet.missing if router.alphabet.is_ranked else int(np.iinfo(column.dtype).max)
        for router, column in zip(routers, columns, strict=True)
    ]
    first_ids = [0 if router.alphabet.is_ranked else np.arange(router.top_k) for router in routers]
    same = len({(router.n_experts, router.top_k) for router in routers}) == 1
    for layer, column in enumerate(columns):
        if len(column):
            levels.add(layer, column, missing[layer])
    return _marked(
        batch.document,
        batch.position,
        columns,
        missing,
        first_ids,
        same,
        _phase(record),
        batch.columns.get("token"),
    )


def features_of_raw_rows(
    experts: NDArray[np.integer],
    document: NDArray[np.integer],
    position: NDArray[np.integer],
    decode: NDArray[np.bool_] | None,
    token: NDArray[np.integer] | None,
) -> RowFeatures:
    """Return the features of rows ``[token, layer, slot]`` as a reader found them; −1 is missing."""
    columns = [experts[:, layer] for layer in range(experts.shape[1])]
    n, top_k = len(experts), experts.shape[2]
    return _marked(
        document.astype(np.int32),
        position.astype(np.int32),
        columns,
        [-1] * len(columns),
        [np.arange(top_k)] * len(columns),
        True,
        np.zeros(n, np.uint8) if decode is None else decode.astype(np.uint8),
        None if token is None else token.astype(np.int32),
    )


def _marked(
    document: NDArray[np.int32],
    position: NDArray[np.int32],
    columns: Sequence[NDArray[np.integer]],
    missing: Sequence[int],
    first_ids: Sequence[NDArray[np.integer] | int],
    same_alphabet: bool,
    phase: NDArray[np.uint8],
    token: NDArray[np.int32] | None,
) -> RowFeatures:
    n = len(document)
    key, present = np.empty(n, np.uint64), np.empty(n, bool)
    disagreeing, blank = np.zeros(n, np.uint8), np.empty(n, bool)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        part = [column[rows] for column in columns]
        key[rows] = keys_of([slot for values in part for slot in _slots(values)], len(part[0]))
        gone, first = np.ones(len(part[0]), bool), np.ones(len(part[0]), bool)
        for layer, values in enumerate(part):
            if gone.any():
                gone &= _all(values == missing[layer])
            if first.any():
                first &= _all(values == first_ids[layer])
            if layer and same_alphabet:
                disagreeing[rows] += ~_all(values == part[layer - 1]) & (disagreeing[rows] < 255)
        present[rows], blank[rows] = ~gone, first
    if not same_alphabet:
        disagreeing[:] = 255
    if token is not None and not len(token[token >= 0]):
        token = None
    return RowFeatures(document, position, key, present, disagreeing, blank, phase, token)


def _slots(values: NDArray[np.integer]) -> list[NDArray[np.integer]]:
    return [values] if values.ndim == 1 else [values[:, slot] for slot in range(values.shape[1])]


def _all(equal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether all slots are true."""
    return equal if equal.ndim == 1 else np.asarray(equal.all(axis=1))


def _phase(record: pa.RecordBatch) -> NDArray[np.uint8]:
    """Return 0 for prefill and 1 for decode; all prefill if the column was not read."""
    at = record.schema.get_field_index("phase")
    if at < 0:
        return np.zeros(record.num_rows, np.uint8)
    column = record.column(at)
    decode = np.array([name == PHASES[1] for name in column.dictionary.to_pylist()], np.uint8)
    return decode[numbers_of(column.indices)]
