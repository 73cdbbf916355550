"""Raw rows that are no measurements, as readers find them: what the store cannot hold is refused, or dropped if wanted.

Zeros of several slots are no choice, −1 in an unsigned type is no expert, and ids beyond a type are other experts: a
store has no place for them. Everything else is stored and found there (`routestat.traces.placeholder_rows`), so that
nothing is searched here unless it is to be dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.checks import empty_layers, settle_n_experts
from routestat.traces.not_measured import NotMeasured, find_rows, measured_layers, rows_of
from routestat.traces.placeholder_facts import findings
from routestat.traces.row_marks import LayerLevels, raw_rows
from routestat.traces.row_runs import RunReader
from routestat.traces.store import span

#: What −1 becomes in types without a sign, and the largest values that stand for it elsewhere.
LARGEST = tuple(2**bits - 1 for bits in (7, 8, 15, 16, 31, 32, 63, 64))
# Ids that would lie in a hole below the largest if it were an expert like others; and ids of a hole at least.
IN_THE_HOLE, HOLE = 30.0, 8
# Rows of an id that stands in all layers together or not at all.
LEAST_ROWS = 8
# Ids per expert from which on none above 255 means that they were cut.
IDS_PER_EXPERT = 20
_DROP = "--drop-dummy-rows"


@dataclass(frozen=True)
class RawRows:
    """Rows as a reader found them, ``[token]``; `experts` ``[token, layer, slot]``, −1 missing."""

    experts: NDArray[np.integer]
    document: NDArray[np.integer]
    position: NDArray[np.integer]
    token: NDArray[np.integer] | None
    decode: NDArray[np.bool_] | None

    def taken(self, rows: NDArray) -> "RawRows":
        """Some of the rows."""
        columns = (self.experts, self.document, self.position, self.token, self.decode)
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
            "be had back; record them in a wider type"
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
    """Refuse ids that stand for nothing, or take them as missing if rows are to be dropped.

    An id stands for nothing where it fills whole layers of rows and is negative, beyond the number of experts, or the
    largest of a type with a hole below it that no model leaves.

    Raises
    ------
    FormatError
        Naming the id, the first row, and how many there are.
    """
    experts = raw.experts
    for value in _sentinels(experts, n_experts):
        cells = (experts == value).all(axis=2)
        rows = np.flatnonzero(cells.any(axis=1))
        said = (
            f"id {value} fills {int(cells.sum()):,} choices of {len(rows):,} rows (first: {place(int(rows[0]))}) and "
            f"is no expert{_why(value, n_experts)}"
        )
        if not drop:
            raise FormatError(f"{path}: {said}; take them as missing with {_DROP}")
        notes.append(f"{said}: taken as missing")
        if experts.dtype.kind == "u":
            experts = experts.astype(np.int64)
        experts = np.where(cells[..., None], experts.dtype.type(-1), experts)
    return replace(raw, experts=experts)


def _why(value: int, n_experts: int | None) -> str:
    if value in LARGEST[1::2]:
        return ": −1 in a type without a sign"
    if n_experts is not None and value >= n_experts:
        return f" of {n_experts}"
    return ""


def _sentinels(experts: NDArray[np.integer], n_experts: int | None) -> list[int]:
    """The ids that stand for nothing."""
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
        # Many different ones are a wrong number of experts, or another type.
        odd = [int(value) for value in values] if len(values) <= 2 else []
    if n_experts is None and high not in odd and _is_marker(experts, high):
        odd.append(high)
    return [value for value in odd if _fills_cells(experts, value)]


def _fills_cells(experts: NDArray[np.integer], value: int) -> bool:
    there = experts == value
    return bool((there.any(axis=2) == there.all(axis=2)).all())


def _is_marker(experts: NDArray[np.integer], largest: int) -> bool:
    """Whether the largest id is one that marks what is missing."""
    others = experts[experts != largest]
    if not others.size or int(others.max()) < 0:
        return False
    hole = largest - int(others.max()) - 1
    wide = hole >= HOLE and hole / largest * others.size >= IN_THE_HOLE
    if not wide:
        return False
    together = (experts == largest).all(axis=(1, 2))
    return largest in LARGEST or bool(
        together.sum() >= LEAST_ROWS and together.sum() == _rows_with(experts, largest)
    )


def _rows_with(experts: NDArray[np.integer], value: int) -> int:
    return int((experts == value).any(axis=(1, 2)).sum())


def settle_zeros(
    path: Path, raw: RawRows, drop: bool, notes: list[str], place: Callable[[int], str]
) -> RawRows:
    """Refuse rows of nothing but zeros where a row has several slots, or take them as missing.

    Raises
    ------
    FormatError
        Naming the first row, and how many there are.
    """
    experts = raw.experts
    if experts.shape[2] < 2 or not len(experts):
        return raw
    cells = (experts[..., 0] == 0) & (experts[..., 1] == 0)
    if not cells.any():
        return raw
    cells &= ~experts.any(axis=2)
    rows = np.flatnonzero(cells.all(axis=1))
    if not drop and not len(rows):
        return raw  # In some layers only: the check of every layer names them.
    held = rows if len(rows) else np.flatnonzero(cells.any(axis=1))
    documents = len(np.unique(raw.document[held]))
    if not drop:
        raise FormatError(
            f"{path}: {place(int(held[0]))}: {experts[held[0], 0].tolist()} in every layer, one of {len(held):,} dummy "
            f"rows of {documents:,} documents, nothing but zeros; drop them with {_DROP}"
        )
    notes.append(
        f"{len(held):,} rows of {documents:,} documents hold nothing but zeros{'' if len(rows) else ' in some layers'} "
        f"(first: {place(int(held[0]))}): taken as missing"
    )
    return replace(raw, experts=np.where(cells[..., None], experts.dtype.type(-1), experts))


def settle_rows(
    path: Path,
    raw: RawRows,
    layers: Sequence[int],
    known: int | None,
    wanted: int | None,
    drop: bool,
    notes: list[str],
    place: Callable[[int], str],
) -> tuple[RawRows, list[int], int]:
    """Rows that the store can hold, their layers, and the number of experts; for every reader alike.

    Parameters
    ----------
    known, wanted : int, optional
        Experts per router: as the file says, and as the caller says.
    drop : bool
        Leave out what is no measurement; otherwise what the store cannot hold is refused, and all else kept.

    Raises
    ------
    FormatError
        As `settle_sentinels`, `settle_zeros` and `drop_placeholders`.
    """
    given = wanted if known is None else known
    before = raw.experts
    raw = settle_sentinels(path, raw, given, drop, notes, place)
    empty = empty_layers(path, raw.experts, layers, drop)
    if empty:
        rest = [at for at, layer in enumerate(layers) if layer not in empty]
        notes.append(f"layers {span(empty)} hold nothing but zeros or −1: left out")
        before = before[:, rest]
        raw, layers = replace(raw, experts=raw.experts[:, rest]), [layers[at] for at in rest]
    raw = settle_zeros(path, raw, drop, notes, place)
    n_experts = settle_n_experts(path, raw.experts, known, wanted, notes)
    check_cut_ids(path, raw.experts, n_experts)
    if not drop:
        return raw, list(layers), n_experts
    return *drop_placeholders(path, raw, before, layers, n_experts, notes), n_experts


def drop_placeholders(
    path: Path,
    raw: RawRows,
    before: NDArray[np.integer],
    layers: Sequence[int],
    n_experts: int,
    notes: list[str],
) -> tuple[RawRows, list[int]]:
    """Leave out all rows and layers that are no measurements: inside documents rows become missing.

    Parameters
    ----------
    before : int array ``[token, layer, slot]``
        The experts before markers and zeros became missing.

    Raises
    ------
    FormatError
        If nothing remains.
    """
    _, width, top_k = raw.experts.shape
    reader, levels = RunReader(width, top_k), LayerLevels(width)
    reader.add(raw_rows(raw.experts, raw.document, raw.position, raw.decode, raw.token))
    for layer in range(width):
        levels.add(layer, raw.experts[:, layer], -1)
    found = NotMeasured(find_rows(reader.finished()), measured_layers(levels, layers, top_k < n_experts))
    notes.extend(finding.sentence for finding in findings(found, len(np.unique(raw.document)), layers, True))
    gone, missing = rows_of(found, raw.document, raw.position)
    experts = raw.experts
    if missing.any():
        experts = experts.copy()
        experts[missing] = -1
    gone |= _emptied_edges(raw, before, gone)
    if gone.all():
        raise FormatError(f"{path}: every row is a dummy row: nothing remains")
    rest = [place for place, layer in enumerate(layers) if layer not in found.layers]
    if len(rest) < width:
        experts = experts[:, rest]
    return replace(raw, experts=experts).taken(np.flatnonzero(~gone)), [layers[place] for place in rest]


def _emptied_edges(raw: RawRows, before: NDArray[np.integer], gone: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows at the starts and ends of documents that became missing in every layer."""
    if before is raw.experts:
        return np.zeros(len(gone), bool)
    empty = gone | ((raw.experts == -1).all(axis=(1, 2)) & ~(before == -1).all(axis=(1, 2)))
    document, n = raw.document, len(raw.document)
    first = np.flatnonzero(np.append(True, document[1:] != document[:-1]))
    own = np.append(np.flatnonzero(~empty), n)
    last = np.append(first[1:], n)
    number = np.repeat(np.arange(len(first)), last - first)
    begin = np.minimum(own[np.searchsorted(own, first)], last)[number]
    end = (np.append(-1, own[:-1])[np.searchsorted(own[:-1], last, side="left")])[number]
    row = np.arange(n)
    return np.asarray(empty & ((row < begin) | (row > end)))
