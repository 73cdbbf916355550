"""The documents of a table, determined after all its rows were read."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routestat.traces.importers.tables.block_reading import Piece
from routestat.traces.importers.tables.columns import Columns
from routestat.traces.importers.tables.document_numbering import Stream
from routestat.traces.importers.tables.external_sort import RowStore
from routestat.traces.importers.tables.layer_files import are_layers, join_layer_files, unlike
from routestat.traces.importers.tables.names import plain
from routestat.traces.importers.tables.position_offsets import Prompts, begun_anew, moved, unsigned
from routestat.traces.importers.tables.repeated_names import Segments, clashing, separated

#: Documents that are checked first.
FEW = 32


@dataclass
class Seen:
    """What was found while rows were read."""

    segments: Segments
    prompts: Prompts
    layers: NDArray[np.int64]
    largest: int = 0
    finite: bool = True
    slots: tuple[int, int] = (1 << 20, -1)
    width: int = 0
    first: tuple[Piece, int] | None = None
    whole: bool = True
    batches: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    layers_of: dict[int, set[int]] = field(default_factory=dict)


def settle_documents(
    stream: Stream, store: RowStore, seen: Seen, notes: list[str]
) -> tuple[list[int], list[str], dict[str, list[str | None]]]:
    """Determine the documents: the number each had, its name, and its values."""
    columns = stream.plans[0].columns
    if not columns.document and are_layers(seen.layers_of):
        join_layer_files(stream, store, seen.segments, seen.prompts)
        notes.append(
            f"no layer is in two of the {len(seen.layers_of)} files: they are parts of the same documents"
        )
    elif not columns.document:
        notes += unlike(seen.layers_of)
    several = seen.segments.several
    apart = _separate_documents(store, seen, several, columns)
    change, owners = separated(seen.segments.pairs, apart)
    # Documents that lost all rows have no number.
    if len(several) or owners[-1][0] != len(owners) - 1:
        store.change(change)
    names = _names(stream, owners, bool(columns.document))
    _note_apart(apart, several, owners, columns.document, notes)
    _renumber_positions(store, seen, owners, columns, notes)
    said = {
        role: [stream.value_of(role, *owner) for owner in owners]
        for role in stream.said
        if role not in stream.changing
    }
    for role in sorted(stream.changing):
        notes.append(f"column {getattr(columns, role)} is not read: it changes within documents")
    if columns.document and plain(columns.document) == "turn" and len(owners) > 1:
        notes.append(
            "documents are turns; turns of one conversation are dependent: if there is a column that joins "
            "them, name it with --cluster"
        )
    return [document for document, _ in owners], names, said


def _separate_documents(
    store: RowStore, seen: Seen, several: NDArray[np.int64], columns: Columns
) -> NDArray[np.int64]:
    """Return the documents whose segments are documents of their own."""
    maybe = several
    if not columns.document:
        joined = [one for one in several.tolist() if seen.segments.are_joined(one, columns.signed)]
        maybe = np.array(joined, np.int64)
    # A few documents decide in most cases, and one suffices where a column numbers them.
    apart = clashing(store, maybe[:FEW]) if len(maybe) else maybe
    if len(maybe) > FEW and not (len(apart) and columns.document):
        apart = clashing(store, maybe)
    # With a column one number means different documents in different files: then so do all that are in several.
    return several if len(apart) and columns.document else apart


def _names(stream: Stream, owners: list[tuple[int, int]], from_column: bool) -> list[str]:
    """Return the name of each document, with its file or part where documents were separated."""
    labels = {number: name for name, number in stream.names.items()}
    names = []
    for document, segment in owners:
        if segment < 0:
            names.append(labels[document])
        elif from_column:
            names.append(f"{stream.sources[segment]} {labels[document]}")
        else:
            names.append(f"{labels[document]} part {segment + 1}")
    return names


def _renumber_positions(
    store: RowStore, seen: Seen, owners: list[tuple[int, int]], columns: Columns, notes: list[str]
) -> None:
    """Renumber positions that are negative in prompts, or that restart with the generated rows."""
    # Without prompts rows need not have been generated.
    if columns.signed and seen.prompts.stretches:
        numbers = {owner: number for number, owner in enumerate(owners)}
        batches = seen.prompts.batches(
            lambda document, segment: numbers.get((document, segment), numbers.get((document, -1), 0))
        )
        store.change(unsigned(batches))
        seen.batches = batches
        notes.append(
            f"negative positions: {sum(-min(low for low, _ in own) for own in batches.values())} tokens of prompts, "
            "taken as prefill"
        )
    elif columns.phase and columns.position and (anew := begun_anew(store)):
        store.change(moved(anew))
        notes.append(
            f"positions restart with the generated rows of {len(anew):,} documents: these follow their prompts"
        )


def _note_apart(
    apart: NDArray[np.integer],
    several: NDArray[np.integer],
    owners: list[tuple[int, int]],
    column: str,
    notes: list[str],
) -> None:
    """Note what was used as documents if no column gives them, or several files share them."""
    parts = sum(segment >= 0 for _, segment in owners)
    if len(apart) and column:
        notes.append(
            f"{len(several)} values of {column} are in several files at the same positions: taken as different "
            f"documents, {parts} in all"
        )
    elif len(apart):
        notes.append(
            f"no column of documents; positions restart inside {len(apart)} of the files, in every layer: cut "
            f"there, into {len(owners)} documents"
        )
    elif not column:
        one = "each file is one document" if len(owners) > 1 else "the file is one document"
        notes.append(f"no column of documents: {one}")
    elif len(several):
        notes.append(f"{len(several)} documents continue in another file")
