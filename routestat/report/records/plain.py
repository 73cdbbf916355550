"""Records: plain values with stable keys, and how they are written as JSON and CSV.

Undefined values are null and have a reason beside them.
"""

import csv
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from routestat.traces.manifest import replace_file
from routestat.traces.metadata import Router

Record = dict[str, Any]


def plain(value: Any) -> Any:
    """Convert NumPy values to Python values, and NaN and infinities to None, which JSON has not."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


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
    """Write a plain record."""
    replace_file(path, json.dumps(record, indent=1, allow_nan=False).encode())


def write_rows(path: Path, rows: Iterable[Record]) -> None:
    """Write one line per record; lists become one cell, with spaces between the items."""
    records = [plain(row) for row in rows]
    columns = list(dict.fromkeys(key for record in records for key in record))
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        for record in records:
            writer.writerow({key: _cell(value) for key, value in record.items()})


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(_cell(item)).replace(" ", "+") for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {item}" for key, item in value.items())
    return "" if value is None else value
