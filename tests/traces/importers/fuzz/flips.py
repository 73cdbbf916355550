"""Flipped: bits, bytes, digits, signs and letters are others."""

import numpy as np

from tests.traces.importers.fuzz.change import ANY, Change
from tests.traces.importers.fuzz.spots import changed_at


def bits_flipped(rng, file):
    """Some bits are others."""
    content = bytearray(file.read_bytes())
    places = rng.integers(0, len(content), 1 + int(rng.integers(3)))
    for place in places.tolist():
        content[place] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)
    return Change(ANY, f"at {places.tolist()}")


def bytes_replaced(rng, file):
    """A stretch is noise, zeros or ones."""
    content = bytearray(file.read_bytes())
    n = int(rng.integers(1, 1 + min(len(content), 32)))
    start = int(rng.integers(len(content) - n + 1))
    fill = [rng.bytes(n), bytes(n), b"\xff" * n][int(rng.integers(3))]
    content[start : start + n] = fill
    file.write_bytes(content)
    return Change(ANY, f"{n} at {start}")


def number_changed(rng, file):
    """One number is another: its sign, a digit, a power of two."""

    def change(found):
        value = found.value
        if isinstance(value, np.ndarray):
            place = tuple(int(rng.integers(n)) for n in value.shape)
            low, high = (0, 1) if value.dtype.kind == "b" else (-9, 300)
            if value.dtype.kind == "u":
                low = 0
            before = value[place]
            value[place] = value.dtype.type(int(rng.integers(low, high)) % 120)
            if rng.random() < 0.3 and value.dtype.kind == "i":
                value[place] = -before
            return f"{place} from {before} to {value[place]}"
        fresh = [-value, value + 1, value - 1, value * 10, value ^ (1 << int(rng.integers(40))), 2**31 - 1]
        found.parent[found.key] = fresh[int(rng.integers(len(fresh)))]
        return f"from {value} to {found.parent[found.key]}"

    def fits(s):
        if isinstance(s.value, np.ndarray):
            return s.value.size > 0 and s.value.dtype.kind in "iub"
        return isinstance(s.value, int) and not isinstance(s.value, bool)

    return changed_at(rng, file, fits, change)


def letter_changed(rng, file):
    """One character of a text is another."""

    def change(found):
        at = int(rng.integers(len(found.value)))
        letter = "-0123456789.xAé/+= \x00"[int(rng.integers(20))]
        found.parent[found.key] = found.value[:at] + letter + found.value[at + 1 :]
        return f"character {at} to {letter!r}"

    return changed_at(rng, file, lambda s: isinstance(s.value, str) and s.value != "", change)
