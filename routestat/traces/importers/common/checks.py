"""Checks that all readers share: layers, ids, repeats within a row."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.alphabet import sorted_slots
from routestat.traces.clusters.overlapping_windows import find_repeats
from routestat.traces.metadata import FROM_FILE, FROM_READER, FROM_USER
from routestat.traces.number_ranges import span
from routestat.traces.row_hash import hash_rows

# Most rows without positions that are searched for copies of others.
MOST_LOOKED_AT = 1 << 24
# A larger id is garbage, such as bytes of another type.
MOST_EXPERTS = 1 << 16
# Ids, or the weights beside them.
Number = TypeVar("Number", bound=np.number)


class WrongChoiceError(FormatError):
    """An impossible choice, with its row and layer number."""

    def __init__(self, path: Path, row: int, layer: int, place: str, words: str) -> None:
        super().__init__(f"{path}: experts of layer {layer}, {place}: {words}")
        self.row, self.layer, self.words = row, layer, words


def check_subsets(
    path: Path,
    experts: NDArray[np.integer],
    n_experts: int,
    layers: Sequence[int],
    place: Callable[[int], str] = "row {}".format,
) -> None:
    """Require k different ids, or all −1, in every row; the first other row is named by its `place`.

    Raises
    ------
    WrongChoiceError
    """
    if experts.shape[2] > n_experts:
        raise FormatError(f"{path}: experts has k={experts.shape[2]} of n_experts={n_experts}")
    for index, layer in enumerate(layers):
        rows = sorted_slots(experts[:, index])
        least, most = rows[:, 0], rows[:, -1]
        # A sorted row of −1 also ends with −1; slot by slot, as the axis of the slots is short.
        present = (most != -1) | (least != -1)
        outside = ((least < 0) | (most >= n_experts)) & present
        repeats = np.zeros(len(rows), bool)
        for slot in range(1, rows.shape[1]):
            repeats |= rows[:, slot] == rows[:, slot - 1]
        repeats &= present
        if (outside | repeats).any():
            row = int(np.argmax(outside | repeats))
            wrong = f"is outside 0 … {n_experts - 1}" if outside[row] else "repeats an expert"
            if repeats.all() and rows.shape[1] > 1:
                wrong += ", as every row of this layer does: was it recorded at all?"
            words = f"{experts[row, index].tolist()} {wrong}"
            raise WrongChoiceError(path, row, layer, place(row), words)


def count_positions(document: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the place of every row among the rows of its document, in their order."""
    order = np.argsort(document, kind="stable")
    starts = np.flatnonzero(np.diff(document[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(document)))
    position = np.empty(len(document), np.int64)
    position[order] = np.arange(len(document)) - np.repeat(starts, lengths)
    return position


def mask_of_copies(
    experts: NDArray[np.integer],
    document: NDArray[np.integer],
    token: NDArray[np.integer] | None,
    notes: list[str],
) -> NDArray[np.bool_] | None:
    """Return which rows to keep where documents were joined from overlapping windows; None: all.

    For rows without positions and contiguous documents; see `find_repeats`.
    """
    if not experts.size or len(experts) > MOST_LOOKED_AT:
        return None
    columns = [*experts.reshape(len(experts), -1).T, *([] if token is None else [token])]
    found = find_repeats(hash_rows(columns, len(experts)), document, experts.shape[1])
    if not found.n_joins:
        return None
    notes.append(
        f"{found.n_joins} times in {found.n_documents} documents, rows repeat those directly before them in every "
        f"layer, as where overlapping windows were joined: {int(found.rows.sum())} copies were dropped, so that each "
        "measurement counts once"
    )
    return ~found.rows


def narrow(experts: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the same ids in the narrowest signed integers that hold them and −1."""
    largest = int(experts.max()) if experts.size else 0
    for dtype in (np.int8, np.int16, np.int32):
        if largest <= np.iinfo(dtype).max and (not experts.size or experts.min() >= np.iinfo(dtype).min):
            return experts.astype(dtype, copy=False)
    return experts


def pick_layers(
    path: Path,
    experts: NDArray[Number],
    axis: Sequence[int] | None,
    wanted: Sequence[int] | None,
    notes: list[str],
) -> tuple[NDArray[Number], list[int]]:
    """Return the wanted layers of ``[token, layer, slot]`` and their numbers.

    Where the file does not number its layers (`axis` is None), wanted layers of the same number name them in
    order; fewer pick them from an axis that holds all layers of the model.
    """
    width = experts.shape[1]
    if axis is None and wanted is not None and len(wanted) == width:
        return experts, list(wanted)
    numbers = list(range(width)) if axis is None else list(axis)
    if wanted is None:
        if axis is None:
            notes.append(f"the file does not number its layers: they are numbered 0 to {width - 1}")
        return experts, numbers
    absent = sorted(set(wanted) - set(numbers))
    if absent:
        raise FormatError(
            f"{path}: --layers {span(absent)} not in it; it holds {width} layers, {span(numbers)}"
        )
    if list(wanted) == numbers:
        return experts, numbers
    return experts[:, [numbers.index(layer) for layer in wanted]], list(wanted)


def layer_numbers_from(axis: Sequence[int] | None, wanted: Sequence[int] | None) -> str:
    """Return who numbered the layers: the file, the user by ``--layers``, or the reader by counting."""
    if axis is not None:
        return FROM_FILE
    return FROM_READER if wanted is None else FROM_USER


def empty_layers(
    path: Path,
    experts: NDArray[np.integer],
    layers: Sequence[int],
    allowed: bool = False,
    or_missing: bool = True,
) -> list[int]:
    """Find layers that were not recorded: all zeros (k > 1), or all −1; refused unless `allowed`.

    `or_missing` False: −1 in every row is accepted, as in arrays that a trace was written to.

    Raises
    ------
    FormatError
        If there is no row, no layer with a record, or an empty layer that is not allowed.
    """
    if not experts.size:
        raise FormatError(f"{path}: no tokens in it")
    several = experts.shape[2] > 1
    empty = []
    for index, layer in enumerate(layers):
        rows = experts[:, index]
        # The first rows suffice almost always.
        if (rows[:1024] > 0).any():
            continue
        missing = bool((rows == -1).all())
        if (missing and or_missing) or (several and not missing and not (rows > 0).any()):
            empty.append(layer)
    rest = [layer for layer in layers if layer not in empty]
    if empty and not rest:
        raise FormatError(f"{path}: nothing but zeros or −1 in every layer: the routing was not recorded")
    if empty and not allowed:
        raise FormatError(
            f"{path}: nothing but zeros or −1 in layers {span(empty)}: dense layers, or never recorded; "
            f"name the MoE layers: --layers {span(rest).replace(', ', ',')}, or leave out dummy rows: "
            "--drop-dummy-rows"
        )
    return empty


def settle_n_experts(
    path: Path,
    experts: NDArray[np.integer],
    known: int | None,
    wanted: int | None,
    notes: list[str],
    place: Callable[[int], str] = "row {}".format,
) -> int:
    """Return the experts per router: from the file, else from the caller, else the largest id + 1."""
    if known is not None and wanted is not None and known != wanted:
        raise FormatError(f"{path}: it has {known} experts, --n-experts says {wanted}")
    given = wanted if known is None else known
    if given is not None:
        return given
    found = max(int(experts.max()) + 1, 1)
    if found > MOST_EXPERTS:
        row = int(np.unravel_index(int(experts.argmax()), experts.shape)[0])
        raise FormatError(
            f"{path}: {place(row)}: an id of {found - 1}: no router has so many experts; is the dtype right?"
        )
    notes.append(
        f"taken as {found} experts, the largest id + 1; a dead last expert would be missed: --n-experts"
    )
    return found
