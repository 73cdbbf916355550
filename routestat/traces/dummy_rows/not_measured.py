"""Rows and layers of a trace that are no measurements, and their JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routestat.errors import TraceError
from routestat.traces.dummy_rows.suspicious_runs import EDGE, PHASE, STUCK, ZEROS
from routestat.traces.validation import read_json

#: Kinds of dummy rows, in the order of their codes; and their places in documents.
KINDS = ("warm-up", EDGE, STUCK, PHASE, ZEROS, "alike")
PLACES = ("start", "end", "inside")
#: A range of `rows` rows of one document, from position `first` to `last`.
RANGE = np.dtype(
    [("document", "i4"), ("first", "i4"), ("last", "i4"), ("rows", "i8"), ("kind", "i1"), ("place", "i1")]
)
# Key in the schema of a store's documents; the number of rows identifies an outdated result.
KEY = b"routestat.not_measured"


@dataclass(frozen=True, eq=False)
class NotMeasured:
    """The rows and the layers of a trace that are no measurements.

    Attributes
    ----------
    ranges : array ``[range]`` of `RANGE`
        By document, then position.
    layers : tuple of int
        Layers with one choice in all rows.
    """

    ranges: NDArray[np.void]
    layers: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Return whether anything was found."""
        return bool(len(self.ranges) or self.layers)

    @property
    def n_removed(self) -> int:
        """Rows at the starts and ends of documents: without them documents are shorter."""
        return int(self.ranges["rows"][self.ranges["place"] != PLACES.index("inside")].sum())

    def of(self, documents: Iterable[int]) -> "NotMeasured":
        """Return only the ranges of these documents."""
        return replace(self, ranges=self.ranges[np.isin(self.ranges["document"], list(documents))])

    def to_json(self, n_rows: int) -> bytes:
        """Write JSON for the schema of a store's documents; `from_json` reads it."""
        columns = {name: self.ranges[name].tolist() for name in RANGE.names or ()}
        return json.dumps({"version": 1, "n_rows": n_rows, "layers": self.layers, **columns}).encode()

    @classmethod
    def from_json(cls, content: bytes, n_rows: int) -> "NotMeasured | None":
        """Read what `to_json` wrote; None if it is of other rows or of another version."""
        try:
            held = read_json(content)
            if held.get("version") != 1 or held.get("n_rows") != n_rows:
                return None
            columns = [held[name] for name in RANGE.names or ()]
            ranges = np.array(list(zip(*columns, strict=True)), RANGE)
            layers = tuple(int(layer) for layer in held["layers"])
        except (TraceError, AttributeError, KeyError, TypeError, ValueError, OverflowError):
            return None
        inside = (ranges["kind"] < len(KINDS)) & (ranges["place"] < len(PLACES)) & (ranges["rows"] > 0)
        ordered = (ranges["first"] <= ranges["last"]) & (ranges["kind"] >= 0) & (ranges["place"] >= 0)
        return cls(ranges, layers) if (inside & ordered).all() else None
