"""Two traces matched: their common layers, their common documents, and the common rows of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.traces.document_selection import SelectedDocuments, with_common_units
from routestat.traces.metadata import Router
from routestat.traces.pairing.choice_similarity import pair_by_choices
from routestat.traces.pairing.choice_sketches import MISSING, sketch
from routestat.traces.pairing.document_contents import Document
from routestat.traces.pairing.document_matching import (
    NAMES,
    PLACES,
    ROWS,
    SAME,
    Pair,
    Pairing,
    pair_by_content,
    pair_documents,
)
from routestat.traces.pairing.layer_matching import Matched, agreement_of, common_routers, match_layers
from routestat.traces.store import Trace
from routestat.traces.views import RelabelledLayers

# Documents, and rows at either end of each, by which layers are identified.
DOCUMENTS, ROWS_EACH = 256, 128


@dataclass(frozen=True)
class Matching:
    """Two traces whose routers have the same names and whose common documents have the same numbers.

    Attributes
    ----------
    traces : (Selected, Selected)
        B under the layers of A.
    routers : sequence of (Router, Router)
        As named in each trace.
    pairing : Pairing
    notes : tuple of str
        Notes on layers and documents.
    """

    traces: tuple[SelectedDocuments, SelectedDocuments]
    routers: Matched
    pairing: Pairing
    notes: tuple[str, ...]

    @property
    def layers_of_b(self) -> Mapping[str, int]:
        """The layer in B by the name of A's router; empty if all numbers are equal."""
        found = {x.name: y.layer for x, y in self.routers}
        return found if any(x.layer != y.layer for x, y in self.routers) else {}


def match_traces(
    traces: tuple[Trace, Trace],
    documents: tuple[Sequence[Document], Sequence[Document]],
    wanted: Sequence[int] | None,
    way: str,
    wish: str,
) -> Matching:
    """Match layers and documents of two traces.

    Parameters
    ----------
    traces : (Trace, Trace)
        The same object twice if both are one trace.
    documents : (sequence of Document, sequence of Document)
        The documents to compare.
    wanted : sequence of int, optional
        Layers as A numbers them.
    way : str
        How to match layers, see `match_layers`.
    wish : str
        Whether to pair documents, see `pair_documents`.

    Raises
    ------
    RoutestatError
        If layers cannot be matched, or no documents can be paired that must be.
    """
    a, b = traces
    if a is b:
        routers, notes = common_routers(a.meta, b.meta, wanted)
    else:
        routers, notes = match_layers(a.meta, b.meta, wanted, way, lambda: _agreement(traces, documents))
    if any((x.layer, x.name) != (y.layer, y.name) for x, y in routers):
        b = RelabelledLayers(b, routers)
    under = list(zip((x for x, _ in routers), _named(b, routers), strict=True))
    pairing = pair_documents(
        *documents, wish, a is traces[1], lambda *left: pair_by_choices((a, b), under, left)
    )
    chosen = (
        SelectedDocuments(a, documents[0], pairing.numbers_a, pairing.common_a),
        SelectedDocuments(b, documents[1], pairing.numbers_b, pairing.common_b),
    )
    if pairing.paired:
        chosen = with_common_units(*chosen)
    return Matching(chosen, routers, pairing, (*notes, *_of_documents(documents, pairing, wish)))


def _named(b: Trace, routers: Matched) -> list[Router]:
    """Return B's routers of the matching under their new names."""
    names = {router.name: router for router in b.meta.routers}
    return [names[x.name] for x, _ in routers]


def _agreement(
    traces: tuple[Trace, Trace], documents: tuple[Sequence[Document], Sequence[Document]]
) -> NDArray[np.float64] | None:
    """Compute the agreement of every router of A with every one of B in common documents."""
    a, b = traces
    if len({(router.n_experts, router.top_k) for router in (*a.meta.routers, *b.meta.routers)}) > 1:
        return None
    contents = [{one.number: one.content for one in some} for some in documents]
    found = pair_by_content(*contents) or _by_shift(traces, documents)
    if not found:
        return None
    found = found[:DOCUMENTS]
    lengths = [{one.number: one.tokens for one in some} for some in documents]
    sketches = [
        sketch(trace, trace.meta.routers, {n: length[n] for n in numbers}, ROWS_EACH)
        for trace, length, numbers in zip(
            traces, lengths, ([one.a for one in found], [one.b for one in found]), strict=True
        )
    ]
    places = [{int(n): at for at, n in enumerate(one.document)} for one in sketches]
    rows: list[list[NDArray[np.integer]]] = [[], []]
    for one in found:
        first, second = places[0][one.a], places[1][one.b]
        of_a, of_b = (
            slice(*held.start[at : at + 2]) for held, at in zip(sketches, (first, second), strict=True)
        )
        _, at_a, at_b = np.intersect1d(
            sketches[0].place[of_a] - one.skip_a,
            sketches[1].place[of_b] - one.skip_b,
            assume_unique=True,
            return_indices=True,
        )
        rows[0].append(sketches[0].state[of_a][at_a])
        rows[1].append(sketches[1].state[of_b][at_b])
    x, y = (np.concatenate(part) for part in rows)
    # Missing in both is not an agreement.
    return agreement_of(x, np.where(y == MISSING, MISSING - 1, y)) if len(x) else None


def _by_shift(
    traces: tuple[Trace, Trace], documents: tuple[Sequence[Document], Sequence[Document]]
) -> list[Pair]:
    """Pair documents whose layers in one trace are consecutive layers of the other, at the best offset."""
    if all(one.content is not None for some in documents for one in some):
        return []
    a, b = (trace.meta.routers for trace in traces)
    n = min(len(a), len(b))
    found: list[Pair] = []
    for shift in range(max(len(a), len(b)) - n + 1):
        first, second = (side[shift : shift + n] if len(side) > n else side for side in (a, b))
        pairs = pair_by_choices(traces, list(zip(first, second, strict=True)), documents)
        found = pairs if len(pairs) > len(found) else found
    return found


def _of_documents(
    documents: tuple[Sequence[Document], Sequence[Document]], pairing: Pairing, wish: str
) -> list[str]:
    """Return notes on which documents were paired, by what, and why others were not."""
    sizes = [len(some) for some in documents]
    rest = [size - pairing.n_common for size in sizes]
    if pairing.by == SAME and not any(rest):
        return ["A and B are the same documents of the same trace and cannot differ"]
    if wish == "no" or (pairing.by == "" and not pairing.reasons):
        return []
    notes = []
    if pairing.n_common:
        alone = f"; {rest[0]} of A and {rest[1]} of B are unpaired" if any(rest) else ""
        notes.append(
            f"paired: {pairing.n_common} documents are in both, by {pairing.by}, and are compared with themselves"
            f"{alone}"
        )
    if pairing.n_missing:
        notes.append(
            f"{pairing.n_missing} of them have a few rows at an end in one trace only: the rows that are in both are "
            "compared"
        )
    if ROWS in pairing.by:
        notes.append(
            "documents without token ids were paired by their choices: documents with low agreement are not found, so "
            "the share of flips may be underestimated"
        )
    if pairing.by in (NAMES, PLACES):
        notes.append(
            f"documents were paired by {pairing.by} because of --paired yes: without equal token ids or rows this "
            "proves nothing, and if the texts differ the comparison is wrong; choices are not compared token by token"
        )
    if pairing.reasons:
        notes.append(f"not paired: {'; '.join(pairing.reasons)}")
    return notes
