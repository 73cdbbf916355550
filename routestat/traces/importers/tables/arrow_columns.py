"""Arrow columns as integers, weights, phases and codes; the first unreadable row is named."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from routestat.traces.importers.tables.names import plain
from routestat.traces.importers.tables.rows import LARGEST, WrongRowError
from routestat.traces.validation import shown

# Words of engines for the phase of a token.
PHASE_WORDS = {
    **dict.fromkeys(("prefill", "prompt", "extend", "context", "ctx", "encode", "0", "0.0", "false"), 0),
    **dict.fromkeys(("decode", "generate", "generation", "gen", "decoding", "output", "completion"), 1),
    **dict.fromkeys(("response", "answer", "1", "1.0", "true"), 1),
    **{"forwardmode.extend": 0, "forwardmode.decode": 1},
}
# SGLang's ForwardMode as numbers.
FORWARD_MODES = {**PHASE_WORDS, "1": 0, "2": 1}


def phases(column: str, words: Any) -> NDArray[np.int8]:
    """Read which rows are decode, from a column of words or numbers in any Arrow type.

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
            said = "no value" if name is None else repr(name)
            raise WrongRowError(
                int(np.argmax(codes == place)), f"column {column} is a phase (prefill, decode), got {said}"
            )
    table = np.array([1 - value if flipped else value for value in values if value is not None], np.int8)
    return table[codes] if len(table) else np.zeros(len(codes), np.int8)


def encoded(column: Any) -> tuple[NDArray[np.int32], list[Any]]:
    """Return the code ``[row]`` of each value of an Arrow column, and the values; null is a value, too."""
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
    """Return the value of a column for each document of a block.

    Raises
    ------
    WrongRowError
        If a document has two values and the column is `required`; otherwise nothing is returned.
    """
    codes, values = encoded(column)
    table = np.full(max(n_documents, 1), -1, np.int64)
    own = np.zeros(len(codes), np.int32) if document is None else document
    table[own] = codes
    if (table[own] != codes).any():
        if not required:
            return ()
        row = int(np.argmax(table[own] != codes))
        raise WrongRowError(
            row,
            f"column {name} changes within a document: {values[codes[row]]!r} and {values[table[own[row]]]!r}",
        )
    return tuple(None if code < 0 or values[code] is None else str(values[code]) for code in table.tolist())


def whole(column: Any, name: str, empty: int | None = None, named: bool = False) -> NDArray[np.integer]:
    """Read an Arrow column as integers; 5.0 is one, 5.5 and an empty value are not.

    Parameters
    ----------
    empty : int, optional
        The value of an empty cell.
    named : bool
        Names that hold one number are that number: ``model.layers.3.mlp.gate``.

    Raises
    ------
    WrongRowError
        For the first row that is not one.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kinds = pa.types
    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kinds.is_string(column.type) or kinds.is_large_string(column.type) or kinds.is_decimal(column.type):
        column = _in_words(column, name, named)
    if not (kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_null(column.type)):
        raise WrongRowError(0, f"column {name} holds {column.type}, expected whole numbers")
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


def _in_words(column: Any, name: str, named: bool) -> Any:
    """Read numbers that are stored as text or as decimals."""
    codes, words = encoded(column)
    values = [None if word is None else number_in(str(word), named) for word in words]
    for place, (word, value) in enumerate(zip(words, values, strict=True)):
        if word is not None and value is None:
            row = int(np.argmax(codes == place))
            raise WrongRowError(row, f"column {name}: {shown(str(word))} is no whole number")
    return pa.array(values, pa.int64()).take(pa.array(codes))


def number_in(text: str, named: bool = False) -> int | None:
    """Return the whole number that a text is, or if `named` the only one in a name."""
    found = re.fullmatch(r"\s*([+-]?\d{1,18})(?:\.0*)?\s*", text)
    if found is None and named:
        found = re.fullmatch(r"[A-Za-z_]\D*(\d{1,9})\D*", text)
    return None if found is None else int(found[1])


def lists(column: Any, name: str, read: Callable[[Any, str], NDArray]) -> NDArray:
    """Read an Arrow column of lists of one length as ``[row, slot]``; `read` makes numbers of the items.

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
    """Read an Arrow column of weights; an empty value is NaN."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not (
        pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)
    ):
        raise WrongRowError(0, f"column {name} holds {column.type}, expected weights")
    with np.errstate(over="ignore"):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float32))
