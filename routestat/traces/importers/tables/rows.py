"""Rows of a table as compact arrays, and the checks that each row passes by itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from routestat.traces.importers.checks import narrow
from routestat.traces.importers.tables.layouts import Columns, plain

LARGEST = 2**31 - 1
# No model has a layer of such a number; a column of other numbers is taken for layers by mistake.
MOST_LAYERS = 10_000
# Words of engines and their tools for what a token was when it was routed.
PHASE_WORDS = {
    **dict.fromkeys(("prefill", "prompt", "extend", "context", "ctx", "encode", "0", "0.0", "false"), 0),
    **dict.fromkeys(("decode", "generate", "generation", "gen", "decoding", "output", "completion"), 1),
    **dict.fromkeys(("response", "answer", "1", "1.0", "true"), 1),
}
# SGLang's ForwardMode as numbers.
FORWARD_MODES = {**PHASE_WORDS, "1": 0, "2": 1}


class WrongRowError(Exception):
    """A row, by its place in the block, and what is wrong with it."""

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
        Index into `names` in a block, 0 where no column says it; a document's number later.
    position : int32 array ``[row]``
        In a block 0 where no column says it.
    names : tuple of str
    token : int32 array ``[row]``, optional
    slot : int16 array ``[row]``, optional
    weights : float32 array ``[row, slot]``, optional
    phase : int8 array ``[row]``, optional
        1 is decode.
    segment : int32 array ``[row]``, optional
        Which of several sources, or stretches of one, that may be documents of their own; None: all are of segment 0.
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
    segment: NDArray[np.int32] | None = None
    said: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    skipped: int = 0
    source: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.layer)

    def arrays(self) -> dict[str, NDArray]:
        """The arrays by name."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in held.items() if isinstance(array, np.ndarray)}

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(array.nbytes for array in self.arrays().values())

    def take(self, rows: Any) -> "Rows":
        """Some rows, by a slice, a mask or their places."""
        return replace(self, **{name: array[rows] for name, array in self.arrays().items()})

    def place(self, row: int) -> int:
        """The place in its block of a row."""
        return row if self.source is None else int(self.source[row])


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows behind each other."""
    if len(parts) == 1:
        return parts[0]
    if any(part.segment is not None for part in parts):
        parts = [
            part if part.segment is not None else replace(part, segment=np.zeros(len(part), np.int32))
            for part in parts
        ]
    names = [name for name in parts[0].arrays() if name != "source"]
    whole: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **whole)


def checked(columns: Columns, held: dict[str, Any], names: tuple[str, ...] = (), skipped: int = 0) -> Rows:
    """Rows from columns of integers, each in the range that its role allows.

    Parameters
    ----------
    held : mapping
        Role → int array ``[row]`` (``experts`` and ``weights`` ``[row, slot]``).

    Raises
    ------
    WrongRowError
        For the first row with a value that cannot be.
    """
    layer, experts = held["layer"], held["experts"]
    _within(layer, 0, MOST_LAYERS, "layer", "a layer's number is 0 or more" if len(layer) else "")
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
    # A row of −1 says that nothing was recorded, as a row that is not there does.
    present = (rows.experts != -1).any(axis=1) if rows.experts.size and int(rows.experts.min()) < 0 else None
    if present is None or present.all():
        return rows
    places = np.arange(len(rows), dtype=np.int32) if rows.source is None else rows.source
    return replace(rows, source=places).take(present)


def _within(values: NDArray, low: int, high: int, name: str, words: str) -> None:
    if not values.size or (int(values.min()) >= low and int(values.max()) <= high):
        return
    bad = ((values < low) | (values > high)).reshape(len(values), -1)
    row = int(np.argmax(bad.any(axis=1)))
    value = values.reshape(len(values), -1)[row][bad[row]][0]
    rule = words if value < low and words else f"at most {high}"
    raise WrongRowError(row, f"{name} {value}: {rule}")


def phases(column: str, words: Any) -> NDArray[np.int8]:
    """Which rows are decode, from a column of words or numbers in any Arrow type.

    Raises
    ------
    WrongRowError
        For the first word that is neither.
    """
    known = FORWARD_MODES if plain(column) == "forward_mode" else PHASE_WORDS
    flipped = plain(column) == "is_prefill"
    codes, names = encoded(words)
    values = [known.get(str(name).strip().lower()) for name in names]
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        if value is None:
            shown = "nothing" if name is None else repr(name)
            raise WrongRowError(
                int(np.argmax(codes == place)), f"column {column} is a phase (prefill, decode), got {shown}"
            )
    table = np.array([1 - value if flipped else value for value in values if value is not None], np.int8)
    return table[codes] if len(table) else np.zeros(len(codes), np.int8)


def encoded(column: Any) -> tuple[NDArray[np.int32], list[Any]]:
    """Codes ``[row]`` of the different values of an Arrow column, and these values; nothing is a value too."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column, null_encoding="encode")
    elif column.null_count:
        column = pc.dictionary_encode(column.cast(column.type.value_type), null_encoding="encode")
    codes = column.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return codes, column.dictionary.to_pylist()


def of_documents(
    document: NDArray[np.int32] | None, n_documents: int, name: str, column: Any, required: bool
) -> tuple[str | None, ...]:
    """What a column says of each document of a block.

    Raises
    ------
    WrongRowError
        If it says two things of one (only where it is `required`; else the later one is taken).
    """
    codes, values = encoded(column)
    table = np.full(max(n_documents, 1), -1, np.int64)
    own = np.zeros(len(codes), np.int32) if document is None else document
    table[own] = codes
    if required and (table[own] != codes).any():
        row = int(np.argmax(table[own] != codes))
        raise WrongRowError(
            row,
            f"column {name} changes within a document: {values[codes[row]]!r} and {values[table[own[row]]]!r}",
        )
    return tuple(None if code < 0 or values[code] is None else str(values[code]) for code in table.tolist())


def whole(column: Any, name: str, empty: int | None = None) -> NDArray[np.integer]:
    """An Arrow column as integers; 5.0 is one, 5.5 and nothing are not.

    Parameters
    ----------
    empty : int, optional
        What nothing stands for.

    Raises
    ------
    WrongRowError
        For the first row that is none.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kinds = pa.types
    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_null(column.type)):
        raise WrongRowError(0, f"column {name} holds {column.type}, wanted whole numbers")
    if column.null_count:
        if empty is None:
            raise WrongRowError(pc.index(column.is_null(), value=True).as_py(), f"column {name} is empty")
        column = (
            column.fill_null(empty)
            if not kinds.is_null(column.type)
            else pa.array(np.full(len(column), empty))
        )
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        bad = ~(np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) <= 2.0**53))
        if empty is not None:
            bad &= ~np.isnan(values)
            values = np.where(np.isnan(values), empty, values)
        if bad.any():
            row = int(np.argmax(bad))
            raise WrongRowError(row, f"column {name}: {values[row]} is no whole number")
        return np.asarray(values.astype(np.int64))
    if values.dtype == np.uint64 and len(values) and int(values.max()) > np.iinfo(np.int64).max:
        raise WrongRowError(int(np.argmax(values)), f"column {name}: {values.max()} is at most {LARGEST}")
    return np.asarray(values)


def lists(column: Any, name: str, read: Callable[[Any, str], NDArray]) -> NDArray:
    """An Arrow column of lists of one length as ``[row, slot]``; `read` makes numbers of the items.

    Raises
    ------
    WrongRowError
        For the first row that is empty or of another length than the first.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.null_count:
        raise WrongRowError(pc.index(column.is_null(), value=True).as_py(), f"column {name} is empty")
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    if len(lengths) and (int(lengths.min()) != int(lengths[0]) or int(lengths.max()) != int(lengths[0])):
        row = int(np.argmax(lengths != lengths[0]))
        raise WrongRowError(
            row, f"{lengths[row]} values in {name} where the row before has {lengths[row - 1]}"
        )
    width = int(lengths[0]) if len(lengths) else 1
    if not width:
        raise WrongRowError(0, f"column {name} is an empty list")
    try:
        return read(column.flatten(), name).reshape(len(column), width)
    except WrongRowError as error:
        raise WrongRowError(error.row // width, error.words) from None


def floats(column: Any, name: str) -> NDArray[np.float32]:
    """An Arrow column of weights; nothing is NaN."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not (
        pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)
    ):
        raise WrongRowError(0, f"column {name} holds {column.type}, wanted weights")
    with np.errstate(over="ignore"):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float32))
