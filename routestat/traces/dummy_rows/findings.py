"""The dummy rows and layers of a trace in numbers and sentences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from routestat.traces.dummy_rows.not_measured import KINDS, PLACES, NotMeasured
from routestat.traces.number_ranges import span
from routestat.traces.store import Trace


@dataclass(frozen=True, slots=True)
class Finding:
    """Dummy rows of one kind at one place of their documents, or dummy layers.

    Attributes
    ----------
    kind : str
        ``warm-up``, ``padding``, ``stuck``, ``phase``, ``zeros``, ``alike`` or ``layer``.
    place : str
        ``start``, ``end`` or ``inside``: of their documents; empty for layers.
    n_rows, n_documents : int
        Rows, and the documents that have some.
    of_documents : int
        All documents.
    document, position : int
        Place of the first of them.
    layers : tuple of int
        The layers that hold one choice in all rows.
    others : tuple of int
    dropped : bool
        Whether they are left out.
    """

    kind: str
    place: str
    n_rows: int
    n_documents: int
    of_documents: int
    document: int
    position: int
    layers: tuple[int, ...]
    others: tuple[int, ...]
    dropped: bool

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        return self._layers() if self.kind == "layer" else self._rows()

    def _rows(self) -> str:
        said = {
            "warm-up": "repeat one choice in every layer, as a warm-up does",
            "padding": "repeat one choice in every layer, as padding does",
            "stuck": "repeat one choice in every layer for longer than this trace's repetitions explain",
            "phase": "repeat a few choices over and over, as replayed graphs do",
            "zeros": "hold the first expert ids in every layer, as rows that were never written do",
            "alike": "hold the same expert ids in every layer, as placeholders do and routers hardly ever do",
        }[self.kind]
        where = {"start": "at the starts of", "end": "at the ends of", "inside": "inside"}[self.place]
        noun = "decode rows" if self.kind == "phase" else "rows"
        documents = (
            f"{self.n_documents:,} of {self.of_documents:,} document{'s' if self.of_documents != 1 else ''}"
        )
        what = {
            False: "they are not measurements, but are counted: leave them out with --drop-dummy-rows",
            True: "left out, as they are not measurements"
            if self.place != "inside"
            else "taken as missing, as they are not measurements",
        }[self.dropped]
        return (
            f"{self.n_rows:,} {noun} {where} {documents} (first: document {self.document}, position {self.position}) "
            f"{said}: {what}"
        )

    def _layers(self) -> str:
        several = len(self.layers) > 1
        said = (
            f"layer{'s' if several else ''} {span(self.layers)} hold{'' if several else 's'} one choice in all rows: "
            "dense, never recorded, or a router that collapsed"
        )
        if self.dropped:
            return f"{said}: left out"
        return f"{said}; leave {'them' if several else 'it'} out with --layers {span(self.others).replace(', ', ',')}"


def findings(
    found: NotMeasured, n_documents: int, layers: Sequence[int], dropped: bool
) -> tuple[Finding, ...]:
    """Make one finding for each kind and place.

    Parameters
    ----------
    found : NotMeasured
    n_documents : int
        Of the trace.
    layers : sequence of int
        All layers.
    dropped : bool
        Whether they are left out.
    """
    ranges, listed = found.ranges, []
    for code, kind in enumerate(KINDS):
        for at, place in enumerate(PLACES):
            held = ranges[(ranges["kind"] == code) & (ranges["place"] == at)]
            if not len(held):
                continue
            documents = len(np.unique(held["document"]))
            first = held[0]
            listed.append(
                Finding(kind, place, int(held["rows"].sum()), documents, n_documents, int(first["document"]),
                        int(first["first"]), (), (), dropped)
            )  # fmt: skip
    if found.layers:
        others = tuple(layer for layer in layers if layer not in found.layers)
        listed.append(Finding("layer", "", 0, 0, n_documents, 0, 0, found.layers, others, dropped))
    return tuple(listed)


def findings_of(
    trace: Trace, documents: Sequence[int] | None = None, layers: Sequence[int] | None = None
) -> tuple[Finding, ...]:
    """Return the findings of a trace or some of its documents; those of layers outside `layers` only if dropped."""
    found = trace.not_measured
    if layers is not None and trace.dummy_rows == "keep":
        found = replace(found, layers=tuple(layer for layer in found.layers if layer in layers))
    number = trace.documents.num_rows
    if documents is not None:
        found, number = found.of(documents), len(documents)
    every = sorted({*trace.meta.layers, *found.layers})
    return findings(found, number, every, trace.dummy_rows == "drop")
