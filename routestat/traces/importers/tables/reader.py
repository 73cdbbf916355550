"""A table, from its files to rows ready for the store."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.progress import Progress
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.counts_only import ANY, refuse_counts
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.tables.block_reading import Piece
from routestat.traces.importers.tables.document_numbering import Stream
from routestat.traces.importers.tables.documents import Seen, settle_documents
from routestat.traces.importers.tables.external_sort import BUDGET_BYTES, RowStore
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.folders import passed_over, plans_of
from routestat.traces.importers.tables.imported_table import FEWEST, Table
from routestat.traces.importers.tables.metadata import check_top_k, facts_of_stream, whole_fact
from routestat.traces.importers.tables.position_offsets import Prompts
from routestat.traces.importers.tables.repeated_names import Segments
from routestat.traces.importers.tables.rows import Rows
from routestat.traces.number_ranges import span


def read_tables(
    sources: Sequence[Path],
    options: ImportOptions,
    progress: Progress | None = None,
    scratch: Path | None = None,
    budget: int = BUDGET_BYTES,
    most: int | None = None,
) -> Table:
    """Read the files of a table; its rows then come in `Table.parts`.

    Parameters
    ----------
    sources : sequence of path
        Files, folders, patterns.
    progress : callable(done, total), optional
        Bytes read.
    scratch : path, optional
        A folder for rows that memory would not hold.
    budget : int
        Bytes of rows in memory.
    most : int, optional
        Rows after which no more are read.

    Raises
    ------
    FormatError
        Naming the file and the first impossible line (of Parquet: row).
    """
    plans = list(plans_of(sources, columns_said(options)))
    _refuse_mixture(plans)
    stream = Stream(plans, progress, top_k=options.top_k)
    store = RowStore(budget, scratch)
    seen = _take_in(stream, store, options, most)
    table = _table(plans, stream, store, options, seen)
    table.notes += passed_over(sources, plans)
    return table


def columns_said(options: ImportOptions) -> str | None:
    """Return ``--columns``, with the column of ``--cluster`` added."""
    if options.cluster is None or options.cluster == "document":
        return options.columns
    said = f"cluster={options.cluster}"
    return said if options.columns is None else f"{options.columns},{said}"


def _take_in(stream: Stream, store: RowStore, options: ImportOptions, most: int | None) -> Seen:
    seen = Seen(Segments.empty(), Prompts(), np.zeros(1 << 15, np.int64))
    chosen = None if options.layers is None else np.array(options.layers)
    for rows, piece in stream:
        _refuse_other_width(rows, piece, seen)
        counts = np.bincount(rows.layer)
        seen.layers[: len(counts)] += counts
        if chosen is not None:
            rows = rows.take(np.isin(rows.layer, chosen))
        if not len(rows):
            continue
        columns = piece.plan.columns
        if not columns.document:
            found = np.flatnonzero(counts).tolist()
            seen.layers_of.setdefault(int(rows.document[0]), set()).update(found)
        seen.segments.add(rows, by_layer=not columns.document and bool(columns.position))
        if columns.signed:
            seen.prompts.add(rows)
        seen.largest = max(seen.largest, int(rows.experts.max()))
        if rows.weights is not None:
            seen.finite &= bool(np.isfinite(rows.weights).all() and np.abs(rows.weights).max() <= 65504)
        if rows.slot is not None:
            low, high = seen.slots
            seen.slots = min(low, int(rows.slot.min())), max(high, int(rows.slot.max()))
        if most is not None and store.n_rows + len(rows) >= most:
            rows = _without_last_place(rows.take(slice(max(most - store.n_rows, 1))))
            if len(rows):
                store.add(rows)
            seen.whole = False
            break
        store.add(rows)
    return seen


def _without_last_place(rows: Rows) -> Rows:
    """Remove the rows of the last place, which may be incomplete."""
    same = (rows.document == rows.document[-1]) & (rows.position == rows.position[-1])
    return rows.take(~(same & (rows.layer == rows.layer[-1])))


def _refuse_other_width(rows: Rows, piece: Piece, seen: Seen) -> None:
    width = rows.experts.shape[1]
    if seen.first is None:
        seen.width, seen.first = width, (piece, 0)
    elif width != seen.width:
        first, row = seen.first
        raise FormatError(f"{piece.where(0)}: {width} experts where {first.where(row)} has {seen.width}")


def _refuse_mixture(plans: Sequence[Plan]) -> None:
    first = plans[0]
    for plan in plans[1:]:
        roles = [
            {role for role, _ in one.columns.pairs() if role not in ("token", "domain")}
            for one in (first, plan)
        ]
        if roles[0] != roles[1]:
            words = [", ".join(sorted(part)) for part in roles]
            raise FormatError(
                f"{plan.path}: columns for {words[1]}, in {first.path} for {words[0]}; convert them separately"
            )


def _table(
    plans: Sequence[Plan], stream: Stream, store: RowStore, options: ImportOptions, seen: Seen
) -> Table:
    path, columns = plans[0].path, plans[0].columns
    if not store.n_rows:
        if seen.layers.any():
            held = span(np.flatnonzero(seen.layers).tolist())
            raise FormatError(
                f"{path}: --layers {span(list(options.layers or ()))} not in it; it holds {held}"
            )
        raise FormatError(
            f"{path}: a header, but no rows of a table" if plans[0].header else f"{path}: no rows"
        )
    layers = _layers(path, options, np.flatnonzero(seen.layers).tolist())
    if store.n_rows == len(layers) and seen.width >= FEWEST and not (columns.document or columns.position):
        refuse_counts(path, f"one row per layer, and no token; per token: {ANY}")
    stated, extra = facts_of_stream(stream)
    notes = [*_notes_of(plans, stream), *_unequal(layers, seen.layers[layers])]
    origins, names, said = settle_documents(stream, store, seen, notes)
    n_experts = _n_experts(path, options, stated, seen.largest, notes)
    top_k: int | None = None
    if columns.expert:
        top_k = _from_slots(store, seen) if columns.slot else options.top_k
        if top_k is not None:
            check_top_k(path, top_k, options, stated.get("top_k"), notes)
    else:
        check_top_k(path, seen.width, options, stated.get("top_k"), notes)
    weighted = bool(columns.weight or columns.weights)
    if weighted and not seen.finite:
        notes.append("weights are not all finite numbers: left out")
    order = "weight" if columns.falling or (weighted and seen.finite) else "unknown"
    if extra:
        extra = {"source_facts": extra}
    return Table(
        plans=plans,
        facts={key: str(stated[key]) for key in ("model", "dataset") if key in stated},
        extra=extra,
        notes=notes,
        slot_order=order,
        layers=layers,
        n_experts=n_experts,
        stream=stream,
        store=store,
        options=options,
        top_k=top_k,
        names=names,
        said=said,
        finite=seen.finite and weighted,
        engine=str(stated.get("engine", "")),
        origins=origins,
        whole=seen.whole,
        batches=seen.batches,
    )


def _layers(path: Path, options: ImportOptions, found: list[int]) -> list[int]:
    if options.layers is None:
        return found
    absent = sorted(set(options.layers) - set(found))
    if absent:
        raise FormatError(f"{path}: --layers {span(absent)} not in it; it holds {span(found)}")
    return sorted(options.layers)


def _unequal(layers: list[int], rows: NDArray[np.int64]) -> list[str]:
    """Return a note on layers with fewer rows than others: a wrong digit makes such a layer."""
    least, most = int(rows.argmin()), int(rows.max())
    if rows[least] == most:
        return []
    return [
        f"layers have unequal numbers of rows, {most:,} at most and {rows[least]:,} in layer {layers[least]}: where a "
        "token has no row for a layer, its choice is missing there"
    ]


def _n_experts(
    path: Path, options: ImportOptions, stated: dict[str, Any], largest: int, notes: list[str]
) -> int:
    known = whole_fact(stated.get("n_experts"))
    if known is not None and options.n_experts is not None and known != options.n_experts:
        raise FormatError(f"{path}: it says {known} experts, --n-experts says {options.n_experts}")
    given = options.n_experts if known is None else known
    if given is not None:
        return given
    if largest + 1 > 1 << 16:
        raise FormatError(f"{path}: an id of {largest}: no router has so many experts; is the column right?")
    notes.append(
        f"taken as {largest + 1} experts, the largest id + 1; a dead last expert would be missed: --n-experts"
    )
    return max(largest, 0) + 1


def _from_slots(store: RowStore, seen: Seen) -> int:
    """Return k from the numbers of the slots, which may be counted from 1."""
    low, high = seen.slots
    if low > 0:
        store.change(
            lambda rows: replace(rows, slot=None if rows.slot is None else rows.slot - np.int16(low))
        )
    return high - low + 1


def _notes_of(plans: Sequence[Plan], stream: Stream) -> list[str]:
    notes = list(dict.fromkeys(words for plan in plans for words in plan.belied))
    columns = plans[0].columns
    if stream.skipped:
        notes.append(f"{stream.skipped} lines of another type (without layer and experts) are skipped")
    if not columns.position:
        notes.append("no column of positions: the order of the rows of a document and layer is the position")
    return notes


def read_table(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read one table whole.

    Raises
    ------
    FormatError
        As `read_tables`.
    """
    with (table := read_tables([path], options, budget=1 << 62)).store:
        imported = next(iter(table.parts()))
    return replace(imported, notes=tuple(table.notes))
