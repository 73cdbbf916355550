"""Rows of a table as experts ``[token, layer, slot]``."""

from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from routestat.progress import in_threads
from routestat.traces.importers.common.checks import count_positions
from routestat.traces.importers.tables.external_sort import keys_of
from routestat.traces.importers.tables.rows import Rows

# Most empty places of a dense numbering per row.
SPARSE = 8
CHUNK_ROWS = 1 << 20
# Ids, or the weights beside them.
Number = TypeVar("Number", bound=np.number)
THREADS = 2


class WrongPlaceError(Exception):
    """A place with contradictory rows: document, position and layer, and the contradiction."""

    def __init__(self, document: int, position: int, layer: int, words: str) -> None:
        super().__init__(words)
        self.document, self.position, self.layer, self.words = document, position, layer, words


@dataclass(frozen=True)
class Assembled:
    """Tokens by document and position.

    Attributes
    ----------
    experts : int array ``[token, layer, slot]``
        −1 where there was no row.
    document, position : int32 array ``[token]``
    token : int32 array ``[token]``, optional
    decode : bool array ``[token]``, optional
    weights : float32 array ``[token, layer, slot]``, optional
        In the order of the slots.
    """

    experts: NDArray[np.integer]
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    token: NDArray[np.int32] | None
    decode: NDArray[np.bool_] | None
    weights: NDArray[np.float32] | None


def assemble(rows: Rows, layers: NDArray[np.integer], single: bool, top_k: int | None) -> Assembled:
    """Put every row into the array of experts.

    Parameters
    ----------
    rows : Rows
    layers : int array ``[layer]``
        The numbers of the layers, ascending.
    single : bool
        One expert per row.
    top_k : int, optional
        Experts per token, if known and with one expert per row.

    Raises
    ------
    WrongPlaceError
        For two rows of one place, a place with fewer experts than others, or rows of one token that differ in its id
        or phase.
    """
    index, document, position = tokens_of(rows.document, rows.position)
    column = np.zeros(int(layers.max()) + 1, np.int64)
    column[layers] = np.arange(len(layers))

    def complain(row: int, words: str) -> WrongPlaceError:
        return WrongPlaceError(
            int(document[index[row]]), int(position[index[row]]), int(rows.layer[row]), words
        )

    n_cells, slots = len(document) * len(layers), rows.experts.shape[1]
    slot: NDArray[Any] | None = rows.slot
    if single:
        if slot is None:
            slot = count_positions(index.astype(np.int64) * len(layers) + column[rows.layer])
        slots = int(slot.max()) + 1 if top_k is None else top_k
        if int(slot.max()) >= slots:
            raise complain(int(np.argmax(slot >= slots)), f"more than {slots} experts")
    experts, weights = _filled(rows, index, column, len(layers), n_cells, slots, slot if single else None)
    filled = experts != np.iinfo(experts.dtype).min
    n_filled = int(np.count_nonzero(filled if single else filled[:, 0]))
    if n_filled != len(rows):
        raise complain(_repeated(rows, index, column, len(layers), slot, slots), "occurs twice")
    if single and slots > 1 and n_filled != int(np.count_nonzero(filled.all(axis=1))) * slots:
        cell = int(np.argmax(filled.any(axis=1) & ~filled.all(axis=1)))
        row, layer = divmod(cell, len(layers))
        words = f"{int(filled[cell].sum())} of {slots} experts"
        raise WrongPlaceError(int(document[row]), int(position[row]), int(layers[layer]), words)
    experts[~filled] = -1
    token = _agreed(rows.token, index, len(document), -1, complain, "token ids")
    phase = _agreed(rows.phase, index, len(document), -1, complain, "phases")
    shape = (len(document), len(layers), slots)
    return Assembled(
        experts.reshape(shape),
        document,
        position,
        token,
        None if phase is None else phase == 1,
        None if weights is None else weights.reshape(shape),
    )


def _filled(
    rows: Rows,
    index: NDArray[np.integer],
    column: NDArray[np.int64],
    n_layers: int,
    n_cells: int,
    slots: int,
    slot: NDArray[np.integer] | None,
) -> tuple[NDArray[np.integer], NDArray[np.float32] | None]:
    """Put the rows into arrays ``[cell, slot]``; the least value of the type marks cells without a row.

    With `slot` a row holds one expert, else those of all slots.
    """
    kind = _kind(rows.experts)
    size: tuple[int, ...] = (n_cells, slots) if slot is None else (n_cells * slots,)
    experts = np.full(size, np.iinfo(kind).min, kind)
    weights = None if rows.weights is None else np.zeros(size, np.float32)

    def put(start: int) -> None:
        part = slice(start, start + CHUNK_ROWS)
        cell = index[part].astype(np.int64) * n_layers + column[rows.layer[part]]
        if slot is not None:
            cell = cell * slots + slot[part]
        _place(experts, cell, rows.experts[part])
        if weights is not None and rows.weights is not None:
            _place(weights, cell, rows.weights[part])

    in_threads([partial(put, start) for start in range(0, len(rows), CHUNK_ROWS)], THREADS)
    return experts.reshape(n_cells, slots), weights


def tokens_of(
    document: NDArray[np.int32], position: NDArray[np.int32]
) -> tuple[NDArray[np.integer], NDArray[np.int32], NDArray[np.int32]]:
    """Return the token of each row, numbered by document and position, and the document and position of each token."""
    same = document[1:] == document[:-1]
    if ((document[1:] > document[:-1]) | (same & (position[1:] >= position[:-1]))).all():
        # In the order of tokens, as most tools write.
        changed = np.ones(len(document), bool)
        changed[1:] = ~same | (position[1:] != position[:-1])
        first = np.flatnonzero(changed)
        return np.cumsum(changed, dtype=np.int32) - np.int32(1), document[first], position[first]
    low, spans = _ranges(document, position)
    total = int(spans.sum())
    if total > SPARSE * len(document) + (1 << 16):
        unique, index = np.unique(keys_of(document, position), return_inverse=True)
        return index, (unique >> 32).astype(np.int32), ((unique & 0xFFFFFFFF) - (1 << 31)).astype(np.int32)
    base = np.cumsum(spans) - spans - low
    # In narrow integers where they do: there are as many as rows.
    index = base.astype(np.int32 if total < 1 << 31 and base.min() > -(1 << 31) else np.int64)[document]
    index += position
    present = np.zeros(total, bool)
    present[index] = True
    places = np.flatnonzero(present)
    if len(places) < total:
        index = (np.cumsum(present, dtype=index.dtype) - 1)[index]
    owner = np.repeat(np.arange(len(spans)), spans)[places]
    return index, owner.astype(np.int32), (places - base[owner]).astype(np.int32)


def _ranges(
    document: NDArray[np.int32], position: NDArray[np.int32]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the first position of each document, and the number of positions up to the last."""
    n = int(document.max()) + 1
    low, high = np.full(n, np.iinfo(np.int32).max, np.int64), np.full(n, -1, np.int64)
    np.minimum.at(low, document, position)
    np.maximum.at(high, document, position)
    return low, np.maximum(high - low + 1, 0)


def _kind(experts: NDArray[np.integer]) -> np.dtype:
    """Return the narrowest type of the ids that leaves one value below them all, for *no row*."""
    low, high = int(experts.min()), int(experts.max())
    for kind in (np.int8, np.int16):
        if low > np.iinfo(kind).min and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int32)


def _place(target: NDArray[Number], cell: NDArray[np.int64], values: NDArray[Number]) -> None:
    if target.ndim == 1:
        target[cell] = values[:, 0]
        return
    # A row of slots as one item: one copy each instead of one for each slot.
    item = np.dtype((np.void, target.shape[1] * target.itemsize))
    rows = np.ascontiguousarray(values, target.dtype)
    target.view(item)[cell, 0] = rows.view(item)[:, 0]


def _repeated(
    rows: Rows,
    index: NDArray[np.integer],
    column: NDArray[np.integer],
    n_layers: int,
    slot: NDArray[np.integer] | None,
    slots: int,
) -> int:
    """Return a row whose place another row has too."""
    cell = index.astype(np.int64) * n_layers + column[rows.layer]
    if slot is not None:
        cell = cell * slots + slot
    order = np.argsort(cell, kind="stable")
    again = np.flatnonzero(cell[order][1:] == cell[order][:-1])
    # None is repeated where an id is the value that means no row.
    return int(order[again].min()) if len(again) else 0


def _agreed(
    values: NDArray[Number] | None,
    index: NDArray[np.integer],
    n: int,
    unknown: int,
    complain: Any,
    words: str,
) -> NDArray[Number] | None:
    """Return one value for each token from those of its rows; rows without one are ignored."""
    if values is None:
        return None
    found = np.full(n, unknown, values.dtype)
    given = values != unknown
    rows = slice(None) if given.all() else given
    found[index[rows]] = values[rows]
    differs = found[index[rows]] != values[rows]
    if differs.any():
        row = int(np.flatnonzero(given)[np.argmax(differs)])
        raise complain(row, f"rows of one token have different {words}")
    return found
