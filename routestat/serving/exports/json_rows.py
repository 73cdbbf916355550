"""JSON lists of rows, one row a line, so that a file of thousands of numbers can be read and compared by eye."""

import json
from collections.abc import Sequence


def json_rows(rows: Sequence[object]) -> str:
    """Return a JSON list with each of its items on a line of its own."""
    return "[\n" + ",\n".join(f" {json.dumps(row)}" for row in rows) + "\n]"
