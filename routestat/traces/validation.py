"""Checks of values from outside: text, whole numbers, JSON, columns of numbers."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from routestat.errors import TraceError
from routestat.traces.arrow_arrays import arrow_words, numbers_of

# What the store's 32-bit columns hold.
LARGEST = 2**31 - 1
PHASES = ("prefill", "decode")
PHASE_TYPE = pa.dictionary(pa.int8(), pa.string())
_PHASE_WORDS = arrow_words(np.array(PHASES))


def shown(value: Any) -> str:
    """Format a value for a message: one line, short and printable."""
    text = repr(value).encode("ascii", "backslashreplace").decode()
    return text if len(text) <= 60 else text[:57] + "..."


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def require_text(value: Any, what: str) -> str:
    """Return `value` if it is text that UTF-8 can encode; JSON can hold lone surrogates, which it cannot."""
    if not isinstance(value, str):
        raise TraceError(f"{what} must be text, got {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TraceError(f"{what} holds text that is not Unicode: {shown(value)}") from None
    return value


def require_whole(value: Any, what: str, low: int = 0, high: int | None = LARGEST) -> int:
    """Return `value` if it is a whole number from `low` to `high`; booleans are refused."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TraceError(f"{what} must be a whole number, got {shown(value)}")
    if value < low or (high is not None and value > high):
        upto = "" if high is None else f", at most {high}"
        raise TraceError(f"{what} must be {low} or more{upto}, got {shown(int(value))}")
    return int(value)


def require_kind(value: Any, kind: type, what: str, word: str) -> Any:
    """Return `value` if it is of `kind`; `word` is the name of that kind in JSON."""
    if not isinstance(value, kind):
        raise TraceError(f"{what} must be {word}, got {shown(value)}")
    return value


def read_json(content: bytes) -> Any:
    """Parse JSON of any content; the error does not name the file."""
    try:
        return json.loads(content)
    except RecursionError:
        raise TraceError("not valid JSON (nested too deeply)") from None
    except ValueError as error:  # also numbers of too many digits, and bytes that are not UTF-8
        raise TraceError(f"not valid JSON ({first_line(error)})") from None


def to_array(values: Any, name: str, shape: tuple[int, ...], kinds: str = "iu") -> NDArray:
    """Return a column as an array of the given shape and of whole numbers (``f`` in `kinds` admits others)."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise TraceError(f"column {name} is no array of numbers ({first_line(error)})") from None
    if array.ndim == len(shape) and len(array) != shape[0]:
        raise TraceError(f"column {name} has {len(array)} rows where document has {shape[0]}")
    if array.shape != shape:
        raise TraceError(f"column {name} must have the shape {shape}, got {array.shape}")
    # NumPy makes an empty list a float array.
    if array.dtype.kind not in kinds and array.size:
        wanted = "numbers" if "f" in kinds else "whole numbers"
        raise TraceError(f"column {name} must be {wanted}, got {array.dtype}")
    return array


def require_range(array: NDArray[np.number], high: int, wanted: str, low: int = 0) -> None:
    """Refuse the first row with a value outside `low` … `high`, which a narrower dtype would wrap around."""
    if not array.size or (int(array.min()) >= low and int(array.max()) <= high):
        return
    bad = (array < low) | (array > high)
    row = int(np.argmax(bad.reshape(len(array), -1).any(axis=1)))
    raise TraceError(f"row {row}: {wanted}, got {array[row][bad[row]].flat[0]}")


def whole_column(values: Any, name: str, low: int = 0, n: int | None = None) -> NDArray[np.int32]:
    """Return a column of ``document``, ``position`` or ``token`` numbers; the first one out of range is refused."""
    if n is None:
        try:
            n = len(values)
        except TypeError:
            raise TraceError(f"column {name} must be a list of whole numbers, got {shown(values)}") from None
    array = to_array(values, name, (n,))
    require_range(array, LARGEST, f"{name} numbers are {low} or more, at most {LARGEST}", low)
    return np.ascontiguousarray(array, dtype=np.int32)


def check_record(record: pa.RecordBatch, where: str, first_row: int) -> None:
    """Refuse missing values and unknown phases: NumPy would turn the first into floats and drop the second."""
    for name, column in zip(record.schema.names, record.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowException as error:
            raise TraceError(f"{where}: column {name} is damaged ({first_line(error)})") from None
        parts = [column.indices, column] if pa.types.is_dictionary(column.type) else [column]
        if any(part.null_count for part in parts):
            row = first_row + pc.index(column.is_null(), value=True).as_py()
            raise TraceError(f"{where}, row {row}: column {name} has no value")
        if pa.types.is_fixed_size_list(column.type) and column.flatten().null_count:
            slot = pc.index(column.flatten().is_null(), value=True).as_py()
            row = first_row + slot // column.type.list_size
            raise TraceError(f"{where}, row {row}: column {name} has no value")
        if name == "phase":
            to_phases(column, where, first_row)


def to_phases(column: pa.Array, where: str, first_row: int) -> pa.DictionaryArray:
    """Convert a column of phase words, in any text type, to the store's type."""
    if column.type == PHASE_TYPE and column.dictionary.to_pylist() == list(PHASES) and not column.null_count:
        return column
    words = column.cast(pa.string())
    codes = pc.index_in(words, value_set=_PHASE_WORDS).cast(pa.int8())
    if codes.null_count:
        row = pc.index(codes.is_null(), value=True).as_py()
        raise TraceError(
            f"{where}, row {first_row + row}: column phase must be one of {', '.join(PHASES)}, "
            f"got {shown(words[row].as_py())}"
        )
    return pa.DictionaryArray.from_arrays(codes, _PHASE_WORDS)


def check_documents(table: pa.Table) -> pa.Table:
    """Return a table of documents with its ``document`` column as the store's 32 bits."""
    places = table.schema.get_all_field_indices("document")
    if len(places) != 1 or not pa.types.is_integer(table.schema.field(places[0]).type):
        raise TraceError("documents need one column named document, of whole numbers")
    column = table.column(places[0])
    if column.null_count:
        raise TraceError(
            f"row {pc.index(column.is_null(), value=True).as_py()}: column document has no value"
        )
    whole_column(numbers_of(column), "document")
    return table.set_column(places[0], "document", column.cast(pa.int32()))
