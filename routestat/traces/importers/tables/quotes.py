"""Quotes that are characters of a value, not delimiters of one.

Tools that print a token's text unchanged write a single ``"`` for a quote. Taken as the start of a quoted value, it
would hide all rows up to the next one.
"""

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.tables.csv_lines import wrong_cells
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.sources import Block


def are_characters(plan: Plan, block: Block) -> bool:
    """Return whether quotes are characters in this block: every line is then a whole row.

    Raises
    ------
    FormatError
        If quotes hide whole rows, while other lines are rows only with quotes as delimiters.
    """
    delimiters, inside = _lines(block.text, plan.delimiter.encode())
    lines = block.text.split(b"\n")
    wanted = len(plan.held) - 1
    whole = all(n == wanted for n, line in zip(delimiters.tolist(), lines, strict=True) if line.strip())
    whole = whole and not _stand_in(plan, lines)
    if whole and block.text.count(b'"') % 2:
        return True
    full = delimiters == wanted
    # The line where quotes open must be a row, too: a value that holds line breaks is cut there.
    for place in np.flatnonzero(inside & full & np.append(False, full[:-1])).tolist():
        cells = lines[place].decode("utf-8", "replace").rstrip("\r").split(plan.delimiter)
        if wrong_cells(plan, cells):
            continue
        if whole:
            return True
        raise FormatError(
            f"{plan.path}, line {block.first_line() + place}: a row inside quotes that open above it; write a quote "
            'that is a character as """" (csv.writer does)'
        )
    return False


def _stand_in(plan: Plan, lines: list[bytes]) -> bool:
    """Return whether quotes occur in a column that is read."""
    used = [plan.held.index(name) for name in plan.columns.used]
    cells = (line.split(plan.delimiter.encode()) for line in lines if b'"' in line)
    return any(b'"' in row[place] for row in cells for place in used)


def _lines(text: bytes, delimiter: bytes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the number of delimiters in each line, and whether it begins inside quotes."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.append(0, ends + 1)
    counts = [
        np.diff(np.searchsorted(np.flatnonzero(data == ord(sign)), np.append(starts, len(data))))
        for sign in (delimiter, b'"')
    ]
    before = np.cumsum(counts[1]) - counts[1]
    return counts[0], before % 2 == 1
