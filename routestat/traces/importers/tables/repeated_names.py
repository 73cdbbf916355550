"""Segments: rows of one name that may be separate documents."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routestat.traces.importers.tables.assembling import tokens_of
from routestat.traces.importers.tables.external_sort import RowStore, keys_of
from routestat.traces.importers.tables.rows import Rows

# Bits of a key's lower half.
HALF = 32
# Largest table of places, one byte each.
MOST_CELLS = 1 << 28


@dataclass
class Segments:
    """The segments of documents, collected while rows are read.

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
        """Make the collection before any row was read."""
        return cls(set(), {}, {})

    def add(self, rows: Rows, by_layer: bool) -> None:
        """Add rows; `by_layer` if the segments are stretches of a file, which every layer must have."""
        segment = rows.segment
        last = 0 if segment is None else int(segment[0])
        if segment is None or (segment == last).all():
            documents = np.flatnonzero(np.bincount(rows.document)).astype(np.int64)
            self.pairs.update(((documents << HALF) + last).tolist())
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

    def _extend(self, document: int, segment: NDArray[np.integer], position: NDArray[np.int32]) -> None:
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
        documents, times = np.unique(np.array(sorted(self.pairs), np.int64) >> HALF, return_counts=True)
        return np.asarray(documents[times > 1])

    def are_joined(self, document: int, signed: bool) -> bool:
        """Return whether the stretches of a file look like consecutive documents.

        Every layer has all of them, and each begins at the same position and holds several; a row that occurs
        twice, or unordered rows, make other stretches.

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
    """Return the documents of which two segments hold the same place.

    Parameters
    ----------
    several : int array ``[document]``
        Those with several segments.
    """
    found: list[NDArray[np.integer]] = []
    for rows in store.pieces():
        own = rows.take(np.isin(rows.document, several))
        if not len(own) or not _any_twice(own):
            continue
        place = keys_of(own.document, own.position)
        within = own.layer.astype(np.int64) << 46
        if own.slot is not None:
            within += own.slot.astype(np.int64) << HALF
        if own.segment is not None:
            within += own.segment
        order = np.lexsort((within, place))
        place, within = place[order], within[order]
        # The rows of a place are next to each other, by segment.
        same = (place[1:] == place[:-1]) & (within[1:] >> HALF == within[:-1] >> HALF)
        same &= within[1:] != within[:-1]
        found.append(place[1:][same] >> HALF)
    return np.unique(np.concatenate([np.empty(0, np.int64), *found]))


def _any_twice(rows: Rows) -> bool:
    """Return whether any place has two rows, which is faster than finding which."""
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
    """Make a document of every segment of the documents in `apart`.

    Returns
    -------
    change : callable(rows)
    owners : list of (document, segment)
        The origin of each new document, in the order of the files; segment −1 where all segments stay together.
    """
    split = set(apart.tolist())
    owners: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    for pair in sorted(pairs):
        document, segment = pair >> HALF, pair & 0xFFFFFFFF
        owner = (document, segment if document in split else -1)
        if owner not in seen:
            seen.add(owner)
            owners.append(owner)
    table = np.array(sorted(pairs), np.int64)
    numbers = {owner: number for number, owner in enumerate(owners)}
    new = np.array(
        [numbers[(p >> HALF, (p & 0xFFFFFFFF) if (p >> HALF) in split else -1)] for p in table.tolist()],
        np.int32,
    )

    def change(rows: Rows) -> Rows:
        return replace(rows, document=new[np.searchsorted(table, _pair(rows))], segment=None)

    return change, owners


def _pair(rows: Rows) -> NDArray[np.int64]:
    key = rows.document.astype(np.int64) << HALF
    return key if rows.segment is None else key + rows.segment
