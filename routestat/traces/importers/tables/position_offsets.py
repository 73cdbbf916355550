"""Positions that are negative in prompts, or that restart with the generated rows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from routestat.traces.importers.tables.external_sort import RowStore, keys_of
from routestat.traces.importers.tables.repeated_names import HALF
from routestat.traces.importers.tables.rows import Rows


class Prompts:
    """Prompt rows with negative positions, as stretches of consecutive positions.

    −1 is the last row of the first batch, and a later batch continues below it: −4 … −1, −7 … −5.
    """

    def __init__(self) -> None:
        self.stretches: dict[tuple[int, int, int], list[list[int]]] = {}

    def add(self, rows: Rows) -> None:
        """Add rows in the order of the file."""
        own = rows.take(rows.position < 0)
        segment = np.zeros(len(own), np.int32) if own.segment is None else own.segment
        columns = [column.tolist() for column in (own.document, segment, own.layer, own.position)]
        for document, part, layer, position in zip(*columns, strict=True):
            held = self.stretches.setdefault((document, part, layer), [])
            if held and held[-1][1] + 1 == position:
                held[-1][1] = position
            else:
                held.append([position, position])

    def batches(self, numbered: Callable[[int, int], int]) -> dict[int, list[tuple[int, int]]]:
        """Return first and last position of the batches of each document, in their order."""
        found: dict[int, list[tuple[int, int]]] = {}
        for (document, segment, _), held in self.stretches.items():
            number, own = numbered(document, segment), [(low, high) for low, high in held]
            lowest = min(low for low, _ in own)
            ends = [high for _, high in own]
            starts = [low for low, _ in own]
            # In a chain each batch ends where the one before began; otherwise the order is that of the positions.
            chained = ends[0] == -1 and all(b == a - 1 for a, b in zip(starts, ends[1:], strict=False))
            best = found.get(number)
            if not chained:
                own = [(lowest, -1)]
            covered = -min(low for low, _ in best) if best else 0
            if -lowest > covered or (
                -lowest == covered and chained and best is not None and len(own) > len(best)
            ):
                found[number] = own
        return found


def as_written(batches: list[tuple[int, int]], position: int) -> int:
    """Return the position in the file of one that `unsigned` gave."""
    for low, high in batches:
        if position <= high - low:
            return low + position
        position -= high - low + 1
    return position


def begun_anew(store: RowStore) -> dict[int, int]:
    """Find documents whose generated rows restart at position 0 or 1, and the shift that they need."""
    last_prompt, first_answer = np.empty(0, np.int64), np.empty(0, np.int64)
    for rows in store.pieces():
        if rows.phase is None or not (rows.phase == 1).any():
            continue
        grown = max(int(rows.document.max()) + 1 - len(last_prompt), 0)
        last_prompt = np.append(last_prompt, np.full(grown, -1))
        first_answer = np.append(first_answer, np.full(grown, np.iinfo(np.int64).max))
        answer = rows.phase == 1
        np.maximum.at(last_prompt, rows.document[~answer], rows.position[~answer])
        np.minimum.at(first_answer, rows.document[answer], rows.position[answer])
    maybe = np.flatnonzero((first_answer <= last_prompt) & (first_answer <= 1))
    anew = [_held_twice(rows, maybe) for rows in store.pieces()] if len(maybe) else []
    found = np.unique(np.concatenate([maybe[:0], *anew]))
    return {int(number): int(last_prompt[number] + 1 - first_answer[number]) for number in found}


def _held_twice(rows: Rows, documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the documents in which one place of one layer has a row of the prompt and one of the answer."""
    own = rows.take(np.isin(rows.document, documents))
    if own.phase is None or not len(own):
        return documents[:0]
    places, index = np.unique(keys_of(own.document, own.position), return_inverse=True)
    cell = index.astype(np.int64) * (int(own.layer.max()) + 1) + own.layer
    both = np.intersect1d(cell[own.phase == 1], cell[own.phase != 1]) // (int(own.layer.max()) + 1)
    return np.unique(places[both] >> HALF)


def moved(by: dict[int, int]) -> Callable[[Rows], Rows]:
    """Shift the positions of the generated rows of some documents."""
    numbers = np.array(sorted(by), np.int64)
    shifts = np.array([by[number] for number in numbers.tolist()], np.int64)

    def change(rows: Rows) -> Rows:
        place = np.minimum(np.searchsorted(numbers, rows.document), len(numbers) - 1)
        own = (numbers[place] == rows.document) & (rows.phase == 1)
        position = rows.position + np.where(own, shifts[place], 0)
        return replace(rows, position=position.astype(np.int32))

    return change


def unsigned(batches: dict[int, list[tuple[int, int]]]) -> Callable[[Rows], Rows]:
    """Renumber positions from 0: prompts in the order of their batches, then generated rows."""

    def change(rows: Rows) -> Rows:
        position = rows.position.astype(np.int64)
        phase = np.ones(len(rows), np.int8)
        for number, own in batches.items():
            mine = rows.document == number
            prompt = mine & (rows.position < 0)
            phase[prompt] = 0
            total = -min(low for low, _ in own)
            position[mine & ~prompt] += total
            done = 0
            for low, high in own:
                here = prompt & (rows.position >= low) & (rows.position <= high)
                position[here] = rows.position[here] - low + done
                done += high - low + 1
        return replace(rows, position=position.astype(np.int32), phase=phase)

    return change
