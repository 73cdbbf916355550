"""Lists of experts or weights in one column, as Arrow has them or in the words of a cell."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from routestat.traces.importers.tables import arrow_columns as arrow
from routestat.traces.importers.tables.rows import WrongRowError
from routestat.traces.validation import shown

# Brackets and quotes around lists, and separators of their items.
_AROUND = b"[](){}\"'"
_BETWEEN = bytes.maketrans(b";| \t", b",,,,")


def listed(column: Any, name: str, read: Any) -> NDArray:
    """Read lists of Arrow or lists as text: ``[3, 17]``, ``3 17``, ``3;17``, ``3|17``."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
            raise WrongRowError(0, f"column {name} holds {column.type}, expected lists")
        return arrow.lists(column, name, read)
    cells = [text or "" for text in column.to_pylist()] if column.null_count else None
    if cells is None and len(column):
        try:
            return _split(column, read, name)
        except (pa.ArrowException, WrongRowError):
            cells = column.to_pylist()
    values = []
    for row, cell in enumerate(cells or ()):
        values.append(_numbers(row, cell, name, read is arrow.floats))
        if len(values[-1]) != len(values[0]):
            raise WrongRowError(
                row,
                f"{len(values[-1])} values in {name} ({shown(cell)}) where the row before has {len(values[-2])}",
            )
    return np.array(values, np.float32 if read is arrow.floats else np.int64).reshape(len(values), -1)


def _split(column: Any, read: Any, name: str) -> NDArray:
    """Read cells of one width by the CSV parser."""
    ended = pa.compute.binary_join_element_wise(column.cast(pa.large_string()), "\n", "")
    data = ended.buffers()[2].to_pybytes()
    if b"\r" in data or data.count(b"\n") != len(column):
        raise pa.ArrowInvalid("a line break in a list")
    data = data.replace(b", ", b",").translate(_BETWEEN, _AROUND)
    width = data[: data.index(b"\n")].count(b",") + 1
    names = [str(place) for place in range(width)]
    kind = pa.float32() if read is arrow.floats else pa.int32()
    table = pa.csv.read_csv(
        pa.py_buffer(data),
        read_options=pa.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, kind), null_values=[]),
    )
    if table.num_rows != len(column):
        raise pa.ArrowInvalid("a cell without numbers")
    return np.stack([read(table.column(one), name) for one in names], axis=1)


def _numbers(row: int, cell: str | None, name: str, fractions: bool) -> list[Any]:
    """Return the numbers of one cell."""
    text = (cell or "").encode("utf-8", "replace").translate(_BETWEEN, _AROUND).decode("utf-8", "replace")
    items = [item for item in text.split(",") if item]
    if not items:
        raise WrongRowError(row, f"column {name} is empty")
    try:
        numbers = [float(item) for item in items]
    except ValueError:
        raise WrongRowError(row, f"column {name}: {shown(cell)} is no list of numbers") from None
    if fractions:
        return numbers
    if not all(number.is_integer() and abs(number) < 2**31 for number in numbers):
        raise WrongRowError(row, f"column {name}: {shown(cell)} is no list of whole numbers")
    return [int(number) for number in numbers]
