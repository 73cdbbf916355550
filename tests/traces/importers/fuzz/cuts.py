"""Cut: bytes, lines, files, members or rows are missing."""

from typing import Any

import numpy as np

from tests.traces.importers.fuzz.change import ANY, GONE, PART, RECORD, Change
from tests.traces.importers.fuzz.spots import LINES, changed_at
from tests.traces.importers.fuzz.trees import TEXT


def truncated(rng, file):
    """The end is missing."""
    content = file.read_bytes()
    at = int(rng.integers(len(content)))
    file.write_bytes(content[:at])
    # A table that is cut off may be one of fewer layers.
    return Change(GONE if file.suffix in TEXT else ANY, f"to {at} of {len(content)} bytes")


def holed(rng, file):
    """A stretch inside is missing."""
    content = file.read_bytes()
    start, stop = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    stop = min(stop, start + 1 + int(rng.integers(64)))
    file.write_bytes(content[:start] + content[stop:])
    return Change(ANY, f"bytes {start} to {stop}")


def emptied(rng, file):
    """Nothing is left."""
    file.write_bytes(b"" if rng.random() < 0.5 else b"\n")
    return Change(ANY, "all")


def deleted(rng, file):
    """The file is gone."""
    file.unlink()
    return Change(GONE, "the file")


def line_dropped(rng, file):
    """One line is missing."""
    if file.suffix not in LINES:
        return None
    lines = file.read_text().splitlines(keepends=True)
    at = int(rng.integers(len(lines)))
    file.write_text("".join(lines[:at] + lines[at + 1 :]))
    return Change(RECORD if file.suffix == ".jsonl" else ANY, f"line {at + 1}")


def part_dropped(rng, file):
    """A key, item or member is missing."""

    def drop(found):
        del found.parent[found.key]
        return "dropped"

    return changed_at(rng, file, lambda s: True, drop, PART)


def shortened(rng, file):
    """An array, list or string lost its end, or all of it."""

    def shorten(found):
        value = found.value
        if isinstance(value, np.ndarray):
            axis = int(rng.integers(value.ndim))
            n = int(rng.integers(value.shape[axis]))
            found.parent[found.key] = np.take(value, range(n), axis=axis)
            return f"axis {axis} to {n}"
        n = int(rng.integers(len(value)))
        found.parent[found.key] = value[:n]
        return f"to {n} of {len(value)}"

    return changed_at(rng, file, lambda s: _is_long(s.value), shorten, PART)


def _is_long(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and value.size > 0
    return isinstance(value, list | str) and len(value) > 0
