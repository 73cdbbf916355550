"""Positions that no column gives, and places where given positions restart."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routestat.traces.importers.tables.rows import Rows


@dataclass
class Place:
    """The state of reading a file: rows counted per layer, last positions."""

    at: tuple[int, int]
    source: int
    document: int = 0
    base: int = 0
    highest: int = 0
    last: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)

    def counted(self, document: NDArray[np.int32], rows: Rows, per_place: int) -> NDArray[np.int32]:
        """Return positions by the order of the rows of a document and layer."""
        slot = 0 if rows.slot is None else rows.slot.astype(np.int64)
        key = (document.astype(np.int64) << 32) + (rows.layer.astype(np.int64) << 16) + slot
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=-1))
        lengths = np.diff(np.append(starts, len(key)))
        names = key[order][starts].tolist()
        before = np.array([self.counts.get(name, 0) for name in names], np.int64)
        for name, first, length in zip(names, before.tolist(), lengths.tolist(), strict=True):
            self.counts[name] = first + length
        position = np.empty(len(key), np.int64)
        position[order] = np.arange(len(key)) - np.repeat(starts - before, lengths)
        return (position // per_place).astype(np.int32)

    def stretches(self, rows: Rows, signed: bool, single: bool) -> NDArray[np.int32] | None:
        """Assign each row to a stretch; a new one begins where the position falls within its layer.

        Positions may restart where a prompt ends and its answer begins: that is one stretch.
        """
        order = np.argsort(rows.layer, kind="stable")
        layer, position = rows.layer[order], rows.position[order]
        slot = np.zeros(len(layer), np.int64) if rows.slot is None else rows.slot[order].astype(np.int64)
        phase = np.zeros(len(layer), np.int8) if rows.phase is None else rows.phase[order]
        starts = np.flatnonzero(np.diff(layer, prepend=-1))
        before, before_slot, before_phase = np.roll(position, 1), np.roll(slot, 1), np.roll(phase, 1)
        carried = np.zeros(len(layer), np.int64)
        lengths = np.diff(np.append(starts, len(layer)))
        states = [self.last.get(int(number)) for number in layer[starts]]
        for start, length, state in zip(starts.tolist(), lengths.tolist(), states, strict=True):
            least = (int(position[start]) - 1, -1, 0, self.base)
            at, at_slot, at_phase, carried[start : start + length] = state or least
            before[start], before_slot[start], before_phase[start] = at, at_slot, at_phase
        if signed:
            falls = (position < before) & (before >= 0) | (position == before)
        elif not single:
            falls = position <= before
        else:
            falls = position < before
            if rows.slot is not None:
                falls |= (position == before) & (slot <= before_slot)
        falls &= (phase != 1) | (before_phase == 1)
        total = np.cumsum(falls)
        within = total - np.repeat(total[starts] - falls[starts], lengths)
        found = np.maximum(carried, self.base) + within
        ends = starts + lengths - 1
        for end in ends.tolist():
            self.last[int(layer[end])] = (
                int(position[end]),
                int(slot[end]),
                int(phase[end]),
                int(found[end]),
            )
        self.highest = max(self.highest, int(found.max(initial=0)))
        if not self.highest:
            return None
        segment = np.empty(len(layer), np.int32)
        segment[order] = found
        return segment
