"""Ids that are not experts: −1 in an unsigned type, other markers of missing choices, ids that a type cut off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError

#: Values of −1 in unsigned types, and the largest values that mark missing choices elsewhere.
LARGEST = tuple(2**bits - 1 for bits in (7, 8, 15, 16, 31, 32, 63, 64))
# Expected number of ids in a gap below the largest if it were an expert like others; and least ids of a gap.
IN_THE_HOLE, HOLE = 30.0, 8
# Least rows of an id that fills all layers or none.
LEAST_ROWS = 8
# Most different ids that mark missing choices.
MOST_MARKERS = 2
# Least ids per expert at which the absence of ids above 255 shows that they were cut.
IDS_PER_EXPERT = 20


@dataclass(frozen=True)
class RawRows:
    """Rows as a reader found them, ``[token]``; `experts` and `weights` ``[token, layer, slot]``, −1 missing."""

    experts: NDArray[np.integer]
    document: NDArray[np.integer]
    position: NDArray[np.integer]
    token: NDArray[np.integer] | None
    decode: NDArray[np.bool_] | None
    weights: NDArray[np.floating] | None = None

    def of_layers(self, places: Sequence[int]) -> "RawRows":
        """Return some of the layers."""
        weights = None if self.weights is None else self.weights[:, places]
        return replace(self, experts=self.experts[:, places], weights=weights)

    def taken(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "RawRows":
        """Return some of the rows."""
        columns = (self.experts, self.document, self.position, self.token, self.decode, self.weights)
        return RawRows(*(None if column is None else column[rows] for column in columns))  # type: ignore[arg-type]


def check_type(path: Path, dtype: np.dtype, n_experts: int) -> None:
    """Refuse a type that cannot hold the ids of so many experts.

    Raises
    ------
    FormatError
        Naming the type and the largest id that it holds.
    """
    most = int(np.iinfo(dtype).max)
    if n_experts - 1 > most:
        raise FormatError(
            f"{path}: ids of {n_experts} experts in {dtype}, which holds none above {most}: ids were cut, and cannot "
            "be recovered; record them in a wider type"
        )


def check_cut_ids(path: Path, experts: NDArray[np.integer], n_experts: int) -> None:
    """Refuse ids that fill eight or seven bits and end there, though there are more experts."""
    if not experts.size or experts.size < IDS_PER_EXPERT * n_experts:
        return
    largest = int(experts.max())
    for most in (127, 255):
        if n_experts > 1.1 * (most + 1) and 0.97 * most <= largest <= most:
            raise FormatError(
                f"{path}: no id above {largest} though it has {n_experts} experts: were ids cut to "
                f"{most.bit_length()} bits? Record them in a wider type, or say how many experts there are"
            )


def settle_sentinels(
    path: Path,
    raw: RawRows,
    n_experts: int | None,
    drop: bool,
    notes: list[str],
    place: Callable[[int], str],
) -> RawRows:
    """Refuse ids that mark missing choices, or take them as missing if rows are to be dropped.

    An id is a marker where it fills whole layers of rows and is negative, beyond the number of experts, or the
    largest of a type with a gap below it that no model leaves.

    Raises
    ------
    FormatError
        Naming the id, the first row, and how many there are.
    """
    experts = raw.experts
    _refuse_wrapped(path, experts, place)
    for value in _sentinels(experts, n_experts):
        cells = (experts == value).all(axis=2)
        rows = np.flatnonzero(cells.any(axis=1))
        said = (
            f"id {value} fills {int(cells.sum()):,} choices of {len(rows):,} rows (first: {place(int(rows[0]))}) and "
            f"is not an expert{_why(value, n_experts)}"
        )
        if not drop:
            raise FormatError(f"{path}: {said}; take them as missing with --drop-dummy-rows")
        notes.append(f"{said}: taken as missing")
        if experts.dtype.kind == "u":
            experts = experts.astype(np.int64)
        experts = np.where(cells[..., None], experts.dtype.type(-1), experts)
    return replace(raw, experts=experts)


def _refuse_wrapped(path: Path, experts: NDArray[np.integer], place: Callable[[int], str]) -> None:
    """Refuse ids above 127 that a signed type of eight bits holds as negative numbers."""
    low = int(experts.min()) if experts.size else 0
    if not -128 <= low < -1 or int(experts.max()) > 127:
        return
    negative = np.unique(experts[experts < -1])
    if len(negative) > MOST_MARKERS:
        row = int(np.argmax((experts < -1).any(axis=(1, 2))))
        raise FormatError(
            f"{path}: {place(row)}: {len(negative)} different ids from {low} to {int(negative[-1])}: ids above 127 in "
            "int8? Then they can be recovered: read the bytes as uint8"
        )


def _why(value: int, n_experts: int | None) -> str:
    if value in LARGEST[1::2]:
        return ": −1 in an unsigned type"
    if n_experts is not None and value >= n_experts:
        return f" of {n_experts}"
    return ""


def _sentinels(experts: NDArray[np.integer], n_experts: int | None) -> list[int]:
    """Return the ids that mark a missing choice."""
    if not experts.size:
        return []
    low, high = int(experts.min()), int(experts.max())
    limit = high if n_experts is None else n_experts - 1
    odd: list[int] = []
    if low < -1 or high > limit:
        values = (
            np.unique(experts[(experts < -1) | (experts > limit)])
            if low < -1
            else np.unique(experts[experts > limit])
        )
        # Many different ones show a wrong number of experts, or another type.
        odd = [int(value) for value in values] if len(values) <= MOST_MARKERS else []
    if n_experts is None and high not in odd and _is_marker(experts, high):
        odd.append(high)
    return [value for value in odd if _fills_cells(experts, value)]


def _fills_cells(experts: NDArray[np.integer], value: int) -> bool:
    there = experts == value
    return bool((there.any(axis=2) == there.all(axis=2)).all())


def _is_marker(experts: NDArray[np.integer], largest: int) -> bool:
    """Return whether the largest id marks missing choices."""
    of_others = experts != largest
    number = int(np.count_nonzero(of_others))
    if not number:
        return False
    # The least of all is one of the others, for not all are the largest.
    highest = int(np.max(experts, where=of_others, initial=experts.min()))
    if highest < 0:
        return False
    hole = largest - highest - 1
    wide = hole >= HOLE and hole / largest * number >= IN_THE_HOLE
    if not wide:
        return False
    together = (experts == largest).all(axis=(1, 2))
    return largest in LARGEST or bool(
        together.sum() >= LEAST_ROWS and together.sum() == _rows_with(experts, largest)
    )


def _rows_with(experts: NDArray[np.integer], value: int) -> int:
    return int((experts == value).any(axis=(1, 2)).sum())
