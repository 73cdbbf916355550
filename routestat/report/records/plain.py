"""Records: plain values with stable keys, and how they are written as JSON and CSV.

Undefined values are null and have a reason beside them.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from routestat.traces.arrow_arrays import arrow_numbers, arrow_words
from routestat.traces.manifest import replace_file
from routestat.traces.metadata import Router

Record = dict[str, Any]


def plain(value: Any) -> Any:
    """Convert NumPy values to Python values, and NaN and infinities to None, which JSON has not."""
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        found = value.tolist()
        # Nearly all arrays are of one kind without anything undefined: nothing is looked at one by one.
        return found if value.dtype.kind in "iub" or _all_finite(value) else plain(found)
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


_AS_IT_IS = frozenset((str, int, bool, type(None)))
_NUMBERS = frozenset((int, float))


def _all_finite(value: NDArray[Any]) -> bool:
    return value.dtype.kind == "f" and bool(np.isfinite(value).all())


def reason(*reasons: str | None) -> Record:
    """Return the key that says why something is null; no key without a reason."""
    given = [one for one in dict.fromkeys(reasons) if one]
    return {"reason": "; ".join(given)} if given else {}


def caution(**cautions: str | None) -> Record:
    """Return the cautions on defined values, in one text and by key; no keys without a caution."""
    given = {key: text for key, text in cautions.items() if text}
    if not given:
        return {}
    return {"caution": "; ".join(dict.fromkeys(given.values())), "cautions": given}


def note(text: str | None) -> Record:
    """Return the key of a note; no key without one."""
    return {"note": text} if text else {}


def subset_words(router: Router) -> list[str]:
    """Return the experts of every state, such as ``0 3``."""
    rows = router.alphabet.unrank(np.arange(router.alphabet.size)).tolist()
    return [" ".join(map(str, row)) for row in rows]


def write_json(path: Path, record: Record) -> None:
    """Write a plain record, one line per key; lists and records of records have one line per item."""
    parts = ",\n".join(f" {json.dumps(key)}: {_lines(value)}" for key, value in record.items())
    replace_file(path, f"{{\n{parts}\n}}".encode())


def _lines(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n  " + ",\n  ".join(map(_line, value)) + "\n ]"
    if isinstance(value, dict) and any(isinstance(item, list | dict) for item in value.values()):
        items = (f"{json.dumps(key)}: {_nested(item)}" for key, item in value.items())
        return "{\n  " + ",\n  ".join(items) + "\n }"
    return _line(value)


def _nested(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n   " + ",\n   ".join(map(_line, value)) + "\n  ]"
    return _line(value)


def _line(value: Any) -> str:
    # Without an indent the encoder is the one in C.
    return json.dumps(value, allow_nan=False)


def write_rows(path: Path, rows: Iterable[Record]) -> None:
    """Write one line per plain record; lists become one cell, with spaces between the items."""
    records = list(rows)
    columns = list(dict.fromkeys(key for record in records for key in record))
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows([_cell(record.get(key)) for key in columns] for record in records)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        if _NUMBERS.issuperset(map(type, value)):
            return " ".join(map(str, value))
        return " ".join(str(_cell(item)).replace(" ", "+") for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {item}" for key, item in value.items())
    return "" if value is None else value


def write_columns(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write a table column by column: numbers as the shortest text that reads back as the same number.

    Parameters
    ----------
    path : path
    columns : mapping of str to array ``[row]``
        Numbers, NaN where there is none; or words without quotes and commas.
    """
    arrays = {
        name: arrow_words(values) if values.dtype.kind == "U" else arrow_numbers(values)
        for name, values in columns.items()
    }
    with path.open("wb") as handle:
        handle.write((",".join(columns) + "\r\n").encode())
        options = arrow_csv.WriteOptions(include_header=False, quoting_style="none")
        arrow_csv.write_csv(pa.table(arrays), handle, options)
