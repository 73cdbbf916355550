"""Files that each hold some layers of the same documents."""

from dataclasses import replace

import numpy as np

from routestat.traces.importers.tables.document_numbering import Stream
from routestat.traces.importers.tables.external_sort import RowStore
from routestat.traces.importers.tables.position_offsets import Prompts
from routestat.traces.importers.tables.repeated_names import Segments
from routestat.traces.importers.tables.rows import Rows
from routestat.traces.number_ranges import span


def are_layers(layers: dict[int, set[int]]) -> bool:
    """Return whether no layer is in two files: then each holds a part of the model, and not a document.

    Parameters
    ----------
    layers : dict
        The layers of each file.
    """
    held = [own for own in layers.values() if own]
    return len(held) > 1 and sum(map(len, held)) == len(set().union(*held))


def unlike(layers: dict[int, set[int]]) -> list[str]:
    """Return notes on files that are read as documents and hold different layers."""
    everywhere = set.intersection(*layers.values()) if layers else set()
    some = set().union(*layers.values()) - everywhere
    if not some:
        return []
    lacking = sum(not some <= own for own in layers.values())
    return [
        f"each file is taken as a document, and {lacking:,} of {len(layers):,} lack layers that others have "
        f"({span(sorted(some))}); if files hold layers of the same documents, give them a column of documents"
    ]


def join_layer_files(stream: Stream, store: RowStore, segments: Segments, prompts: Prompts) -> None:
    """Join the rows of all files into one document; stretches between falls of the position are kept."""
    stretches = bool(stream.plans[0].columns.position)

    def one_document(rows: Rows) -> Rows:
        return replace(
            rows, document=np.zeros(len(rows), np.int32), segment=rows.segment if stretches else None
        )

    store.change(one_document)
    stream.names = {next(iter(stream.names)): 0}
    segments.pairs = {pair & 0xFFFFFFFF for pair in segments.pairs} if stretches else {0}
    # Every layer is in one file.
    segments.last = {(0, layer): last for (_, layer), last in segments.last.items()}
    if segments.ends:
        n = max(len(low) for low, _ in segments.ends.values())
        first, end = np.full(n, np.iinfo(np.int64).max), np.full(n, np.iinfo(np.int64).min)
        for low, high in segments.ends.values():
            first[: len(low)] = np.minimum(first[: len(low)], low)
            end[: len(high)] = np.maximum(end[: len(high)], high)
        segments.ends = {0: (first, end)}
    prompts.stretches = {(0, segment, layer): held for (_, segment, layer), held in prompts.stretches.items()}
