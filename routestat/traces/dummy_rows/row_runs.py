"""Runs of equal rows, from which dummy rows are found.

A *run* is a stretch of consecutive rows of one document that are equal in every layer; rows that are missing in every
layer are skipped. The rows of one phase of one document are a *segment*; a run at its start or end is
at an *edge*. Runs at edges, runs of `LONG` rows and rows that hold the same ids in every layer are kept; of all others
only the number of each length.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A shorter run occurs in any text ("\\n\\n\\n").
LONG = 8
# Least number of layers for counting rows with the same ids in every layer: two or three agree by chance.
LEAST_ALIKE_LAYERS = 4

#: One run. `x` is its effective length: repetitions of known tokens are not evidence and are not counted.
#: `row` counts the rows before it in the trace; `opens`: it begins its document; `prev` and `next` are the keys around
#: it in its segment (0: none); `head` and `tail` are its first and last token (−1: unknown).
RUN = np.dtype(
    [
        ("document", "i4"), ("phase", "u1"), ("key", "u8"), ("n", "i8"), ("x", "i8"), ("first", "i4"),
        ("last", "i4"), ("row", "i8"), ("opens", "?"), ("prev", "u8"), ("next", "u8"), ("head", "i4"), ("tail", "i4"),
        ("starts", "?"), ("ends", "?"), ("alike", "?"), ("blank", "?"),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RowFeatures:
    """Features of consecutive rows, ``[row]`` each.

    Attributes
    ----------
    document, position : int arrays
    key : uint64 array
        Equal where rows are equal in every layer.
    present : bool array
        Whether any layer holds a choice.
    disagreeing : int array
        Number of neighbouring layers with different ids; 0: the same ids in every layer.
    blank : bool array
        Whether every layer holds the first k ids, as zeros and sorted constants do.
    phase : uint8 array
        0 prefill, 1 decode.
    token : int array, optional
        −1 unknown.
    """

    document: NDArray[np.int32]
    position: NDArray[np.int32]
    key: NDArray[np.uint64]
    present: NDArray[np.bool_]
    disagreeing: NDArray[np.integer]
    blank: NDArray[np.bool_]
    phase: NDArray[np.uint8]
    token: NDArray[np.int32] | None

    def taken(self, rows: NDArray[np.intp]) -> "RowFeatures":
        """Return some of the rows."""
        return RowFeatures(
            self.document[rows],
            self.position[rows],
            self.key[rows],
            self.present[rows],
            self.disagreeing[rows],
            self.blank[rows],
            self.phase[rows],
            None if self.token is None else self.token[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class RowRuns:
    """The runs of a trace.

    Attributes
    ----------
    runs : array ``[run]`` of `RUN`
        The kept runs, in the order of the rows.
    segments : array ``[segment]`` of `RUN`
        Each as if it were one run; `key`, `x` and the fields after `opens` are undefined.
    lengths : int array ``[LONG]``
        Number of other runs of effective length 0, 1, 2 …
    short_keys : uint64 array
        Keys of a sample of the others.
    sample : mapping of phase to (keys, documents, tokens) of its first rows
    n_phase : int array ``[2]``
        Rows of each phase.
    n_layers, top_k : int
        The most experts per token of any layer.
    n_alike, n_nearly : int
        Rows with the same ids in every layer, and in all but one.
    agreement : float
        Probability of the same ids in every layer if layers agreed with their neighbours independently.
    n_documents : int
    """

    runs: NDArray[np.void]
    segments: NDArray[np.void]
    lengths: NDArray[np.int64]
    short_keys: NDArray[np.uint64]
    sample: dict[int, tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int32]]]
    n_phase: NDArray[np.int64]
    n_layers: int
    top_k: int
    n_alike: int
    n_nearly: int
    agreement: float
    n_documents: int
