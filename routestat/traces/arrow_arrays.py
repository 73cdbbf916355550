"""NumPy arrays and Arrow arrays of the same memory.

`pyarrow.array` and `to_numpy` import pandas where it is installed, which takes a quarter of a second and 30 MB.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers_of(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers as NumPy array; of an Arrow array without missing values it is a view."""
    if isinstance(column, pa.ChunkedArray):
        parts = [numbers_of(chunk) for chunk in column.chunks]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, column.type.to_pandas_dtype())
    plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if column.null_count or not plain:
        return column.to_numpy(zero_copy_only=False)
    return np.from_dlpack(column)


def arrow_numbers(values: NDArray[Any]) -> pa.Array:
    """Return numbers as Arrow array of the same type; floats that are not finite become missing values."""
    whole = np.ascontiguousarray(values)
    known = None
    if values.dtype.kind == "f":
        known = pa.py_buffer(np.packbits(np.isfinite(values), bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(whole.dtype), len(whole), [known, pa.py_buffer(whole)])


def arrow_words(values: NDArray[np.str_]) -> pa.Array:
    """Return words as Arrow array of strings."""
    width = values.dtype.itemsize // 4
    letters = np.ascontiguousarray(values).view(np.uint32).reshape(len(values), width) if width else None
    if letters is not None and letters.size and letters.max() < 128:
        # One byte a letter; what fills a short word up to the width is 0.
        lengths, content = np.count_nonzero(letters, axis=1), letters[letters > 0].astype(np.uint8)
        data = pa.py_buffer(content)
    else:
        words = [word.encode() for word in values.tolist()]
        lengths, data = np.array([len(word) for word in words], dtype=np.int64), pa.py_buffer(b"".join(words))
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(ends), data])
