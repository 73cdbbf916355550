"""A batch of rows as NumPy columns, and the checks that every row passes once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from routestat.errors import TraceError
from routestat.traces.arrow_arrays import numbers_of
from routestat.traces.metadata import Router, TraceMeta


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a trace.

    `columns` maps the name of a router to its states ``[row]`` (or sorted expert rows ``[row, slot]`` beyond
    64 bits), and the name of a recorded companion such as ``L00.top1`` to its values. `phase` is the place of each
    row's phase in `PHASES`, None where it was not read.
    """

    document: NDArray[np.int32]
    position: NDArray[np.int32]
    columns: Mapping[str, NDArray]
    phase: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.document)


def to_batch(record: pa.RecordBatch) -> Batch:
    """Return the columns of an Arrow record batch, without copying."""
    columns, phase = {}, None
    for name in record.schema.names:
        if name == "phase":
            phase = numbers_of(record.column(name).indices)
        else:
            columns[name] = _to_numpy(record.column(name))
    return Batch(columns.pop("document"), columns.pop("position"), columns, phase)


def _to_numpy(array: pa.Array) -> NDArray:
    if pa.types.is_fixed_size_list(array.type):
        return numbers_of(array.flatten()).reshape(len(array), array.type.list_size)
    return numbers_of(array)


@dataclass
class RowChecker:
    """A check of rows in order: documents whole and contiguous, positions rising, states in range.

    Parameters
    ----------
    meta : TraceMeta
        Says which states exist.
    """

    meta: TraceMeta
    _seen: set[int] = field(default_factory=set)
    _last: tuple[int, int] | None = None

    def check(self, batch: Batch, where: str, first_row: int) -> None:
        """Raise `TraceError` naming `where` and the row for the first impossible value of the batch."""
        if not len(batch):
            return
        document, position = batch.document, batch.position
        self._complain(document < 0, where, first_row, "document numbers are 0 or more", document)
        self._complain(position < 0, where, first_row, "positions are 0 or more", position)
        if "token" in batch.columns:
            token = batch.columns["token"]
            self._complain(token < -1, where, first_row, "tokens are -1 (unknown) or more", token)
        starts = np.flatnonzero(document[1:] != document[:-1]) + 1
        if self._last is None or self._last[0] != document[0]:
            starts = np.concatenate(([0], starts))
        falls = np.zeros(len(document), bool)
        falls[1:] = (position[1:] <= position[:-1]) & (document[1:] == document[:-1])
        if self._last is not None and self._last[0] == document[0]:
            falls[0] = position[0] <= self._last[1]
        self._complain(falls, where, first_row, "positions must rise within a document", position)
        begun = self._begin(document, starts, where, first_row)
        for router in self.meta.routers:
            for name, values in batch.columns.items():
                if name == router.name or name.startswith(router.name + "."):
                    self._check_column(name, values, router, where, first_row)
        # Only now: a refused batch changes nothing, so that it can be corrected and passed again.
        self._seen |= begun
        self._last = (int(document[-1]), int(position[-1]))

    def _begin(
        self, document: NDArray[np.int32], starts: NDArray[np.integer], where: str, first_row: int
    ) -> set[int]:
        begun: set[int] = set()
        for start, number in zip(starts.tolist(), document[starts].tolist(), strict=True):
            if number in self._seen or number in begun:
                raise TraceError(
                    f"{where}, row {first_row + start}: document {number} continues after another began; "
                    "the rows of a document must be contiguous"
                )
            begun.add(number)
        return begun

    def _check_column(self, name: str, values: NDArray, router: Router, where: str, first_row: int) -> None:
        suffix = name.removeprefix(router.name)
        if suffix == ".weights":
            self._complain(
                ~np.isfinite(values).all(axis=1), where, first_row, f"{name}: weights are finite", None
            )
            return
        if suffix == ".top1":
            limit, missing = router.n_experts, np.iinfo(values.dtype).max
        elif router.alphabet.is_ranked:
            limit, missing = router.alphabet.size, router.alphabet.missing
        else:
            self._check_rows(name, values, router, where, first_row)
            return
        # One pass in the common case; the second comparison only where something is at or above the limit.
        if int(values.max()) < limit:
            return
        self._complain(
            (values >= limit) & (values != missing),
            where,
            first_row,
            f"{name}: {'experts' if suffix else 'states'} are 0 … {limit - 1} (or {missing} for missing)",
            values,
        )

    def _check_rows(self, name: str, rows: NDArray, router: Router, where: str, first_row: int) -> None:
        missing = np.iinfo(rows.dtype).max
        present = ~(rows == missing).all(axis=1)
        bad = present & ((rows >= router.n_experts).any(axis=1) | (rows[:, 1:] <= rows[:, :-1]).any(axis=1))
        self._complain(
            bad,
            where,
            first_row,
            f"{name}: rows are {router.top_k} rising ids below {router.n_experts}",
            None,
        )

    @staticmethod
    def _complain(
        bad: NDArray[np.bool_], where: str, first_row: int, wanted: str, values: NDArray | None
    ) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            got = "" if values is None else f", got {values[row]}"
            raise TraceError(f"{where}, row {first_row + row}: {wanted}{got}")
