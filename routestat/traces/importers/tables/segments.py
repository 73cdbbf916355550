"""Which rows of one name are documents of their own, and what negative positions mean."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routestat.traces.importers.tables.assembling import tokens_of
from routestat.traces.importers.tables.row_store import RowStore, keys_of
from routestat.traces.importers.tables.rows import Rows

# Bits of a key's lower half.
_HALF = 32
# A table of so many places, a byte each, may be made.
MOST_CELLS = 1 << 28


@dataclass
class Segments:
    """What is known of the segments of documents while rows stream by.

    Attributes
    ----------
    pairs : set of int
        Documents with their segments, each pair as one number.
    last : dict
        Document and layer → its last segment.
    ends : dict
        Document → first and last position of each segment, ``[segment]`` each.
    """

    pairs: set[int]
    last: dict[tuple[int, int], int]
    ends: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]

    @classmethod
    def empty(cls) -> "Segments":
        """Before any row."""
        return cls(set(), {}, {})

    def add(self, rows: Rows, by_layer: bool) -> None:
        """Take in rows; `by_layer` where the segments are stretches of a file, which every layer must have."""
        segment = rows.segment
        last = 0 if segment is None else int(segment[0])
        if segment is None or (segment == last).all():
            documents = np.flatnonzero(np.bincount(rows.document)).astype(np.int64)
            self.pairs.update(((documents << _HALF) + last).tolist())
            segment = None
        else:
            self.pairs.update(np.unique(_pair(rows)).tolist())
        if by_layer:
            document = int(rows.document[0])
            for layer in np.flatnonzero(np.bincount(rows.layer)).tolist():
                highest = last if segment is None else int(segment[rows.layer == layer].max())
                at = (document, layer)
                self.last[at] = max(self.last.get(at, 0), highest)
            self._extend(document, np.full(len(rows), last) if segment is None else segment, rows.position)

    def _extend(self, document: int, segment: NDArray, position: NDArray[np.int32]) -> None:
        low, high = self.ends.get(document, (np.empty(0, np.int64), np.empty(0, np.int64)))
        grown = max(int(segment.max()) + 1 - len(low), 0)
        low = np.append(low, np.full(grown, np.iinfo(np.int64).max))
        high = np.append(high, np.full(grown, np.iinfo(np.int64).min))
        np.minimum.at(low, segment, position)
        np.maximum.at(high, segment, position)
        self.ends[document] = low, high

    @property
    def several(self) -> NDArray[np.int64]:
        """Documents with rows in several segments."""
        documents, times = np.unique(np.array(sorted(self.pairs), np.int64) >> _HALF, return_counts=True)
        return np.asarray(documents[times > 1])

    def are_joined(self, document: int, signed: bool) -> bool:
        """Whether the stretches of a file look like documents behind each other.

        Every layer has all of them, and each begins where the first does and holds several positions; a row that stands
        there twice, or rows in any order, make other stretches.

        Parameters
        ----------
        signed : bool
            Stretches begin with prompts of any length.
        """
        if len({last for (number, _), last in self.last.items() if number == document}) > 1:
            return False
        low, high = self.ends[document]
        own = low <= high
        return bool((signed or (low[own] == low[own][0]).all()) and (high[own] > low[own]).all())


def clashing(store: RowStore, several: NDArray[np.int64]) -> NDArray[np.int64]:
    """The documents of which two segments hold the same place.

    Parameters
    ----------
    several : int array ``[document]``
        Those with several segments.
    """
    found: list[NDArray] = []
    for rows in store.pieces():
        own = rows.take(np.isin(rows.document, several))
        if not len(own) or not _any_twice(own):
            continue
        place = keys_of(own.document, own.position)
        within = own.layer.astype(np.int64) << 46
        if own.slot is not None:
            within += own.slot.astype(np.int64) << _HALF
        if own.segment is not None:
            within += own.segment
        order = np.lexsort((within, place))
        place, within = place[order], within[order]
        # The rows of a place are next to each other, by segment.
        same = (place[1:] == place[:-1]) & (within[1:] >> _HALF == within[:-1] >> _HALF)
        same &= within[1:] != within[:-1]
        found.append(place[1:][same] >> _HALF)
    return np.unique(np.concatenate([np.empty(0, np.int64), *found]))


def _any_twice(rows: Rows) -> bool:
    """Whether any place has two rows, which is told much faster than which."""
    index, document, _ = tokens_of(rows.document, rows.position)
    slots = 1 if rows.slot is None else int(rows.slot.max()) + 1
    layers = int(rows.layer.max()) + 1
    n_cells = len(document) * layers * slots
    if n_cells > MOST_CELLS:
        return True
    cell = index.astype(np.int64) * layers + rows.layer
    if rows.slot is not None:
        cell = cell * slots + rows.slot
    taken = np.zeros(n_cells, bool)
    taken[cell] = True
    return int(np.count_nonzero(taken)) < len(rows)


def separated(
    pairs: set[int], apart: NDArray[np.int64]
) -> tuple[Callable[[Rows], Rows], list[tuple[int, int]]]:
    """Every segment of the documents in `apart` becomes a document.

    Returns
    -------
    change : callable(rows)
    owners : list of (document, segment)
        What each new document was, in the order of the files; segment −1 where all of them stay together.
    """
    split = set(apart.tolist())
    owners: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    for pair in sorted(pairs):
        document, segment = pair >> _HALF, pair & 0xFFFFFFFF
        owner = (document, segment if document in split else -1)
        if owner not in seen:
            seen.add(owner)
            owners.append(owner)
    table = np.array(sorted(pairs), np.int64)
    numbers = {owner: number for number, owner in enumerate(owners)}
    new = np.array(
        [numbers[(p >> _HALF, (p & 0xFFFFFFFF) if (p >> _HALF) in split else -1)] for p in table.tolist()],
        np.int32,
    )

    def change(rows: Rows) -> Rows:
        return replace(rows, document=new[np.searchsorted(table, _pair(rows))], segment=None)

    return change, owners


def _pair(rows: Rows) -> NDArray[np.int64]:
    key = rows.document.astype(np.int64) << _HALF
    return key if rows.segment is None else key + rows.segment


class Prompts:
    """Prompt rows with negative positions, as stretches of positions that rise by one.

    −1 is the last row of a batch of the first batch, and a later batch goes on below it: −4 … −1, −7 … −5.
    """

    def __init__(self) -> None:
        self.stretches: dict[tuple[int, int, int], list[list[int]]] = {}

    def add(self, rows: Rows) -> None:
        """Take in rows in the order of the file."""
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
        """Of each document: first and last position of its batches, in their order."""
        found: dict[int, list[tuple[int, int]]] = {}
        for (document, segment, _), held in self.stretches.items():
            number, own = numbered(document, segment), [(low, high) for low, high in held]
            lowest = min(low for low, _ in own)
            ends = [high for _, high in own]
            starts = [low for low, _ in own]
            # A chain of batches ends each where the one before began; else the positions alone say the order.
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
    """The position in the file of one that `unsigned` gave."""
    for low, high in batches:
        if position <= high - low:
            return low + position
        position -= high - low + 1
    return position


def begun_anew(store: RowStore) -> dict[int, int]:
    """Documents whose generated rows are numbered from 0 or 1 anew, and by how much these have to be moved."""
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
    """Of some documents those of which a place, in one layer, has a row of the prompt and one of the answer."""
    own = rows.take(np.isin(rows.document, documents))
    if own.phase is None or not len(own):
        return documents[:0]
    places, index = np.unique(keys_of(own.document, own.position), return_inverse=True)
    cell = index.astype(np.int64) * (int(own.layer.max()) + 1) + own.layer
    both = np.intersect1d(cell[own.phase == 1], cell[own.phase != 1]) // (int(own.layer.max()) + 1)
    return np.unique(places[both] >> _HALF)


def moved(by: dict[int, int]) -> Callable[[Rows], Rows]:
    """Generated rows of some documents further on by as many positions."""
    numbers = np.array(sorted(by), np.int64)
    shifts = np.array([by[number] for number in numbers.tolist()], np.int64)

    def change(rows: Rows) -> Rows:
        place = np.minimum(np.searchsorted(numbers, rows.document), len(numbers) - 1)
        own = (numbers[place] == rows.document) & (rows.phase == 1)
        position = rows.position + np.where(own, shifts[place], 0)
        return replace(rows, position=position.astype(np.int32))

    return change


def unsigned(batches: dict[int, list[tuple[int, int]]]) -> Callable[[Rows], Rows]:
    """Positions from 0: prompts in the order of their batches, generated rows behind them."""

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
