"""Rows of a table as compact arrays, and the checks of single rows."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.tables.columns import Columns

LARGEST = 2**31 - 1
# No model has a layer of such a number; larger numbers are not layers.
MOST_LAYERS = 10_000


class WrongRowError(Exception):
    """A wrong row, by its place in the block, and the error."""

    def __init__(self, row: int, words: str) -> None:
        super().__init__(words)
        self.row, self.words = row, words


@dataclass(frozen=True)
class Rows:
    """Rows in the order of the file.

    Attributes
    ----------
    layer : int16 array ``[row]``
    experts : int array ``[row, slot]``
        One slot where a row holds one expert.
    document : int32 array ``[row]``
        Index into `names` in a block, 0 without a column; later the number of the document.
    position : int32 array ``[row]``
        0 in a block without a column.
    names : tuple of str
    token : int32 array ``[row]``, optional
    slot : int16 array ``[row]``, optional
    weights : float32 array ``[row, slot]``, optional
    phase : int8 array ``[row]``, optional
        1 is decode.
    segment : int array ``[row]``, optional
        Which of several sources, or stretches of one, that may be separate documents; None: all are of segment 0.
    said : mapping of str to tuple
        ``domain`` and ``cluster`` of each of `names`.
    skipped : int
        Rows of another kind, which are left out.
    source : int32 array ``[row]``, optional
        Place of each row in its block, where rows were left out.
    """

    layer: NDArray[np.int16]
    experts: NDArray[np.integer]
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    names: tuple[str, ...] = ()
    token: NDArray[np.int32] | None = None
    slot: NDArray[np.int16] | None = None
    weights: NDArray[np.float32] | None = None
    phase: NDArray[np.int8] | None = None
    segment: NDArray[np.integer] | None = None
    said: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    skipped: int = 0
    source: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.layer)

    def arrays(self) -> dict[str, NDArray]:
        """Return the arrays by name."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in held.items() if isinstance(array, np.ndarray)}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays().values())

    def take(self, rows: Any) -> "Rows":
        """Return some rows, by a slice, a mask or their places."""
        return replace(self, **{name: array[rows] for name, array in self.arrays().items()})

    def place(self, row: int) -> int:
        """Return the place of a row in its block."""
        return row if self.source is None else int(self.source[row])


def joined(parts: list[Rows]) -> Rows:
    """Concatenate rows and empty the list, so that its parts are released column by column."""
    first = parts[0]
    if len(parts) == 1:
        parts.clear()
        return first
    names = [name for name in first.arrays() if name not in ("source", "segment")]
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    if any(part.segment is not None for part in parts):
        zeros = (np.zeros(len(part), np.int8) if part.segment is None else part.segment for part in parts)
        columns["segment"] = list(zeros)
    parts.clear()
    whole: dict[str, Any] = {name: np.concatenate(columns.pop(name)) for name in list(columns)}
    return replace(first, **whole)


def checked(columns: Columns, held: dict[str, Any], names: tuple[str, ...] = (), skipped: int = 0) -> Rows:
    """Make rows from columns of integers, each in the range that its role allows.

    Parameters
    ----------
    held : mapping
        Role → int array ``[row]`` (``experts`` and ``weights`` ``[row, slot]``).

    Raises
    ------
    WrongRowError
        For the first row with an impossible value.
    """
    layer, experts = held["layer"], held["experts"]
    _within(layer, 0, MOST_LAYERS, "layer", "a layer's number is 0 or more")
    _within(experts, -LARGEST, LARGEST, "expert", "")
    blank = np.zeros(len(layer), np.int32)
    ready: dict[str, Any] = {"layer": layer.astype(np.int16), "experts": narrow(experts)}
    ready["document"], ready["position"] = held.get("document", blank), blank
    if "position" in held:
        _within(
            held["position"],
            -LARGEST if columns.signed else 0,
            LARGEST - 1,
            "position",
            "positions are 0 or more",
        )
        ready["position"] = held["position"].astype(np.int32, copy=False)
    if "slot" in held:
        _within(held["slot"], 0, 1 << 14, "slot", "slots are 0 or more")
        ready["slot"] = held["slot"].astype(np.int16)
    if "token" in held:
        _within(held["token"], -1, LARGEST, "token", "token ids are 0 or more, -1 unknown")
        ready["token"] = held["token"].astype(np.int32, copy=False)
    for name in ("weights", "phase"):
        if name in held:
            ready[name] = held[name]
    rows = Rows(**ready, names=names, said=held.get("said", ()), skipped=skipped, source=held.get("source"))
    # A row of −1 was not recorded, like an absent row.
    present = (rows.experts != -1).any(axis=1) if rows.experts.size and int(rows.experts.min()) < 0 else None
    if present is None or present.all():
        return rows
    places = np.arange(len(rows), dtype=np.int32) if rows.source is None else rows.source
    return replace(rows, source=places).take(present)


def _within(values: NDArray[np.number], low: int, high: int, name: str, words: str) -> None:
    if not values.size or (int(values.min()) >= low and int(values.max()) <= high):
        return
    bad = ((values < low) | (values > high)).reshape(len(values), -1)
    row = int(np.argmax(bad.any(axis=1)))
    value = values.reshape(len(values), -1)[row][bad[row]][0]
    rule = words if value < low and words else f"at most {high}"
    raise WrongRowError(row, f"{name} {value}: {rule}")
