"""The rows of documents: their places within documents, and rows kept of every document."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class DocumentRows:
    """Some rows of every document, document after document.

    Attributes
    ----------
    document : int array ``[document]``
        Their numbers, in the order of the rows.
    length : int array ``[document]``
        Total rows of each.
    start : int array ``[document + 1]``
        First kept row of each.
    """

    document: NDArray[np.int32]
    length: NDArray[np.int64]
    start: NDArray[np.int64]

    @property
    def kept(self) -> NDArray[np.int64]:
        """Rows kept of each document ``[document]``."""
        return np.diff(self.start)


def first_rows(document: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the first row of every stretch of one document."""
    return np.flatnonzero(np.concatenate([[True], document[1:] != document[:-1]]))


def count_within(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count 0, 1, 2 … within consecutive stretches of these lengths."""
    return np.asarray(np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths))


class PlaceCounter:
    """The place of every row in its document, counted across batches."""

    def __init__(self) -> None:
        """Begin before the first row."""
        self._last, self._done = -1, 0

    def places(self, document: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the places ``[row]`` of the rows of the next batch.

        Parameters
        ----------
        document : int array ``[row]``
            At least one row; documents are contiguous.
        """
        first = first_rows(document)
        lengths = np.diff(np.append(first, len(document)))
        place = count_within(lengths)
        if int(document[0]) == self._last:
            place[: lengths[0]] += self._done
        self._last, self._done = int(document[-1]), int(place[-1]) + 1
        return place
