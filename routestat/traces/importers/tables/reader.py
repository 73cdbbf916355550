"""A table, from its files to rows that are ready for the store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.imported import Imported, Wanted, settle
from routestat.traces.importers.tables.assembling import Assembled, WrongPlace, assemble
from routestat.traces.importers.tables.layouts import plain
from routestat.traces.importers.tables.probing import probe
from routestat.traces.importers.tables.rows import Rows
from routestat.traces.importers.tables.separating import Prompts, Segments, clashing, separated, unsigned
from routestat.traces.importers.tables.sources import Progress, expand
from routestat.traces.importers.tables.spilling import BUDGET_BYTES, RowStore
from routestat.traces.importers.tables.stream import Piece, Stream
from routestat.traces.importers.tables.text import Plan
from routestat.traces.metadata import routers_like
from routestat.traces.store import span
from routestat.traces.units import LABEL, named_column

# Words of comments and of lines of another type for what a trace says of itself.
FACTS = {
    "model": ("model", "model_name", "model_id", "model_path"),
    "dataset": ("dataset", "dataset_name"),
    "engine": ("engine", "framework", "backend"),
    "n_experts": ("n_experts", "num_experts", "n_expert", "num_local_experts", "n_routed_experts"),
    "top_k": ("top_k", "topk", "num_experts_per_tok", "n_expert_used", "experts_per_token", "k"),
}


@dataclass
class Table:
    """A table that was read: facts, and the rows in parts that fit memory.

    Attributes
    ----------
    facts : dict
        What the files say of `model`, `dataset` and `engine`.
    notes : list of str
        Of all parts, once they were taken.
    """

    plans: Sequence[Plan]
    facts: dict[str, str]
    extra: dict[str, Any]
    notes: list[str]
    slot_order: str
    layers: list[int]
    n_experts: int
    stream: Stream
    store: RowStore
    wanted: Wanted
    top_k: int | None
    names: list[str]
    said: dict[str, list[str | None]]
    finite: bool
    origins: list[int]
    engine: str = ""

    @property
    def n_tokens(self) -> int:
        """About how many there are: as if no layer were missing."""
        each = len(self.layers) * ((self.top_k or 1) if self.plans[0].columns.expert else 1)
        return max(self.store.n_rows // each, 1)

    def parts(self) -> Iterator[Imported]:
        """The rows by document and position, checked as those of every format are."""
        path = self.plans[0].path
        single = bool(self.plans[0].columns.expert)
        top_k = self.top_k
        for rows in self.store.parts():
            assert rows.document is not None
            base = int(rows.document.min())
            try:
                made = assemble(
                    replace(rows, document=rows.document - base), np.array(self.layers), single, top_k
                )
            except WrongPlace as error:
                raise self._at_lines(_elsewhere(error, base)) from None
            del rows
            if top_k is None:
                top_k = made.experts.shape[2]
                _check_top_k(path, top_k, self.wanted, self.stream)
            yield self._settled(path, made, base)

    def _settled(self, path: Path, made: Assembled, base: int) -> Imported:
        weights, experts = made.weights, made.experts
        if weights is not None and self.finite:
            order = np.argsort(-weights, axis=2, kind="stable")
            experts, weights = np.take_along_axis(experts, order, 2), np.take_along_axis(weights, order, 2)
        # A layer that has no row in this part may have some in another.
        held = [place for place in range(len(self.layers)) if (experts[:, place, 0] != -1).any()]
        whole = len(held) == len(self.layers)
        numbers = np.unique(made.document)
        described = {"name": [self.names[base + number] for number in range(int(numbers[-1]) + 1)]}
        for role, values in self.said.items():
            described[self._column(role)] = values[base : base + int(numbers[-1]) + 1]
        imported = settle(
            path,
            experts if whole else experts[:, held],
            made.document,
            made.position,
            replace(self.wanted, layers=None, n_experts=None, top_k=None, cluster=self._cluster()),
            axis=[self.layers[place] for place in held],
            n_experts=self.n_experts,
            token=made.token,
            decode=made.decode,
            described=described,
            slot_order=self.slot_order,
            extra=self.extra,
            engine=self.engine,
        )
        self.notes += [note for note in imported.notes if note not in self.notes]
        if not whole:
            full = np.full((len(imported.experts), *experts.shape[1:]), -1, imported.experts.dtype)
            full[:, held] = imported.experts
            routers = routers_like(self.layers, self.n_experts, experts.shape[2])
            imported = replace(imported, experts=full, routers=routers)
        documents = {
            **imported.documents,
            "document": [base + number for number in imported.documents["document"]],
        }
        weights = _kept(weights, made, imported) if weights is not None and self.finite else None
        return replace(
            imported, document=imported.document + np.int32(base), documents=documents, weights=weights
        )

    def _cluster(self) -> str | None:
        return self.wanted.cluster if "cluster" in self.said and self.wanted.cluster is not None else None

    def _column(self, role: str) -> str:
        if role != "cluster":
            return role
        return LABEL if self.wanted.cluster is None else named_column(self.wanted.cluster)

    def _at_lines(self, error: WrongPlace) -> FormatError:
        """The error with the lines of the rows that it is about."""
        name = self.names[error.document]
        place = f"document {name}, position {error.position}, layer {error.layer}"
        found: list[str] = []
        if not self.plans[0].columns.signed:
            found = self.stream.find(self.origins[error.document], error.position, error.layer)
        where = " and ".join(found[:2]) or str(self.plans[0].path)
        said = f"{where}: {place}: {error.words}"
        if error.words == "stands there twice" and not self.plans[0].columns.document:
            said += "; if the file holds several documents, name their column: --columns document=NAME"
        return FormatError(said)


def _elsewhere(error: WrongPlace, base: int) -> WrongPlace:
    """The same of a document that is numbered among all parts."""
    return WrongPlace(error.document + base, error.position, error.layer, error.words)


def _kept(weights: NDArray[np.float32], made: Assembled, imported: Imported) -> NDArray[np.float16]:
    """Weights of the rows that were kept, by falling weight as the experts; 0 where the choice is missing."""
    if len(imported.experts) != len(made.experts):
        own = (made.document.astype(np.int64) << 32) + made.position
        kept = (imported.document.astype(np.int64) << 32) + imported.position
        weights = weights[np.searchsorted(own, kept)]
    return np.where(imported.experts < 0, 0, weights).astype(np.float16)


def read_tables(
    sources: Sequence[Path],
    wanted: Wanted,
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
        Naming the file and the line (of Parquet: the row) that cannot be.
    """
    plans = [probe(file, columns_said(wanted)) for file in expand(sources)]
    _refuse_mixture(plans)
    stream = Stream(plans, progress, top_k=wanted.top_k)
    store = RowStore(budget, scratch)
    seen = _take_in(stream, store, wanted, most)
    return _table(plans, stream, store, wanted, seen)


def columns_said(wanted: Wanted) -> str | None:
    """What the caller says of columns: ``--columns``, with the cluster's column of ``--cluster``."""
    if wanted.cluster is None or wanted.cluster == "document":
        return wanted.columns
    said = f"cluster={wanted.cluster}"
    return said if wanted.columns is None else f"{wanted.columns},{said}"


@dataclass
class _Seen:
    """What was found while rows streamed by."""

    segments: Segments
    prompts: Prompts
    layers: NDArray[np.int64]
    largest: int = 0
    finite: bool = True
    falling: bool = True
    slots: tuple[int, int] = (1 << 20, -1)
    width: int = 0
    first: tuple[Piece, int] | None = None


def _take_in(stream: Stream, store: RowStore, wanted: Wanted, most: int | None) -> _Seen:
    seen = _Seen(Segments.empty(), Prompts(), np.zeros(1 << 15, np.int64))
    chosen = None if wanted.layers is None else np.array(wanted.layers)
    for rows, piece in stream:
        _refuse_other_width(rows, piece, seen)
        counts = np.bincount(rows.layer)
        seen.layers[: len(counts)] += counts
        if chosen is not None:
            rows = rows.take(np.isin(rows.layer, chosen))
        if not len(rows):
            continue
        columns = piece.plan.columns
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
            break
        store.add(rows)
    return seen


def _without_last_place(rows: Rows) -> Rows:
    """Without the rows of the place that the last is of: others of it may come."""
    assert rows.document is not None and rows.position is not None
    same = (rows.document == rows.document[-1]) & (rows.position == rows.position[-1])
    return rows.take(~(same & (rows.layer == rows.layer[-1])))


def _refuse_other_width(rows: Rows, piece: Piece, seen: _Seen) -> None:
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
                f"{plan.path}: columns for {words[1]}, in {first.path} for {words[0]}; convert them apart"
            )


def _table(plans: Sequence[Plan], stream: Stream, store: RowStore, wanted: Wanted, seen: _Seen) -> Table:
    path, columns = plans[0].path, plans[0].columns
    if not store.n_rows:
        if seen.layers.any():
            held = span(np.flatnonzero(seen.layers).tolist())
            raise FormatError(
                f"{path}: --layers {span(list(wanted.layers or ()))} not in it; it holds {held}"
            )
        raise FormatError(
            f"{path}: a header, but no rows of a table" if plans[0].header else f"{path}: no rows"
        )
    layers = _layers(path, wanted, np.flatnonzero(seen.layers).tolist())
    facts, extra = _facts(stream)
    notes = _notes_of(plans, stream)
    origins, names, said = _documents(stream, store, seen, columns.expert != "", notes)
    n_experts = _n_experts(path, wanted, facts, seen.largest, notes)
    top_k: int | None = None
    if columns.expert:
        top_k = wanted.top_k or _whole(facts.get("top_k"))
        if columns.slot:
            top_k = _from_slots(path, store, seen, top_k, wanted)
    else:
        _check_top_k(path, seen.width, wanted, stream, facts)
    weighted = bool(columns.weight or columns.weights)
    if weighted and not seen.finite:
        notes.append("weights are not all finite numbers: left out")
    order = "weight" if columns.falling or (weighted and seen.finite) else "unknown"
    if extra:
        extra = {"source_facts": extra}
    return Table(
        plans=plans,
        facts={key: str(facts[key]) for key in ("model", "dataset") if key in facts},
        extra=extra,
        notes=notes,
        slot_order=order,
        layers=layers,
        n_experts=n_experts,
        stream=stream,
        store=store,
        wanted=wanted,
        top_k=top_k,
        names=names,
        said=said,
        finite=seen.finite and weighted,
        engine=str(facts.get("engine", "")),
        origins=origins,
    )


def _layers(path: Path, wanted: Wanted, found: list[int]) -> list[int]:
    if wanted.layers is None:
        return found
    absent = sorted(set(wanted.layers) - set(found))
    if absent:
        raise FormatError(f"{path}: --layers {span(absent)} not in it; it holds {span(found)}")
    return sorted(wanted.layers)


def _n_experts(path: Path, wanted: Wanted, facts: dict[str, Any], largest: int, notes: list[str]) -> int:
    known = _whole(facts.get("n_experts"))
    if known is not None and wanted.n_experts is not None and known != wanted.n_experts:
        raise FormatError(f"{path}: it says {known} experts, --n-experts says {wanted.n_experts}")
    given = wanted.n_experts if known is None else known
    if given is not None:
        return given
    if largest + 1 > 1 << 16:
        raise FormatError(f"{path}: an id of {largest}: no router has so many experts; is the column right?")
    notes.append(
        f"taken as {largest + 1} experts, the largest id + 1; a dead last expert would be missed: --n-experts"
    )
    return max(largest, 0) + 1


def _from_slots(path: Path, store: RowStore, seen: _Seen, top_k: int | None, wanted: Wanted) -> int:
    """k from the numbers of the slots, which may be counted from 1."""
    low, high = seen.slots
    if low > 0:
        store.change(
            lambda rows: replace(rows, slot=None if rows.slot is None else rows.slot - np.int16(low))
        )
        high -= low
    if top_k is not None and high + 1 != top_k:
        said = "--top-k says" if wanted.top_k else "the file says"
        raise FormatError(f"{path}: {high + 1} slots where {said} {top_k}")
    return high + 1


def _check_top_k(
    path: Path, top_k: int, wanted: Wanted, stream: Stream, facts: dict[str, Any] | None = None
) -> None:
    known = _whole((facts if facts is not None else _facts(stream)[0]).get("top_k"))
    for number, word in ((wanted.top_k, "--top-k says"), (known, "it says")):
        if number is not None and number != top_k:
            raise FormatError(f"{path}: {top_k} experts a token where {word} {number}")


def _whole(value: Any) -> int | None:
    text = str(value)
    return (
        int(text)
        if value is not None and text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16
        else None
    )


def _facts(stream: Stream) -> tuple[dict[str, Any], dict[str, Any]]:
    """What files say of themselves: what has a place in the metadata, and the rest."""
    told = {**stream.facts, **stream.comments()}
    found: dict[str, Any] = {}
    for fact, words in FACTS.items():
        name = next((word for word in words if word in told), None)
        if name is not None:
            found[fact] = told.pop(name)
    return found, dict(sorted(told.items())[:100])


def _notes_of(plans: Sequence[Plan], stream: Stream) -> list[str]:
    notes = []
    columns = plans[0].columns
    if stream.skipped:
        notes.append(f"{stream.skipped} lines of another type (without layer and experts) are skipped")
    if not columns.position:
        notes.append("no column of positions: the order of the rows of a document and layer is the position")
    if not columns.document:
        one = "each file is one document" if len(plans) > 1 else "the file is one document"
        notes.append(f"no column of documents: {one}")
    return notes


def _documents(
    stream: Stream, store: RowStore, seen: _Seen, single: bool, notes: list[str]
) -> tuple[list[int], list[str], dict[str, list[str | None]]]:
    """Documents as they are at last: what each was, its name, and what is said of it."""
    columns = stream.plans[0].columns
    several = seen.segments.several
    apart = clashing(store, several, single) if len(several) else several
    if len(apart) and columns.document:
        # One number means different documents in different files: then so do all that stand in several.
        apart = several
    for document in apart.tolist():
        if not columns.document and seen.segments.uneven(document):
            apart = apart[apart != document]
    change, owners = separated(seen.segments.pairs, apart)
    store.change(change)
    labels = {number: name for name, number in stream.names.items()}
    names = []
    for document, segment in owners:
        if segment < 0:
            names.append(labels[document])
        elif columns.document:
            names.append(f"{stream.sources[segment]} {labels[document]}")
        else:
            names.append(f"{labels[document]} part {segment + 1}")
    _note_apart(apart, several, owners, columns.document, notes)
    if columns.signed:
        numbers = {owner: number for number, owner in enumerate(owners)}
        batches = seen.prompts.batches(
            lambda document, segment: numbers.get((document, segment), numbers.get((document, -1), 0))
        )
        store.change(unsigned(batches))
        notes.append(
            f"negative positions: {sum(-min(a for a, _ in own) for own in batches.values())} prompt rows, marked prefill"
        )
    said = {role: [values.get(document) for document, _ in owners] for role, values in stream.said.items()}
    if columns.document and plain(columns.document) == "turn" and len(owners) > 1:
        notes.append(
            "documents are turns; turns of one conversation depend on each other: if there is a column that joins them, "
            "name it with --cluster"
        )
    return [document for document, _ in owners], names, said


def _note_apart(
    apart: NDArray, several: NDArray, owners: list[tuple[int, int]], column: str, notes: list[str]
) -> None:
    if not len(several):
        return
    parts = sum(segment >= 0 for _, segment in owners)
    if len(apart) and column:
        notes.append(
            f"{len(several)} values of {column} stand in several files at the same positions: taken for different "
            f"documents, {parts} in all"
        )
    elif len(apart):
        notes.append(
            f"positions fall back inside a file, in every layer alike: cut there into {parts} documents"
        )
    elif column:
        notes.append(f"{len(several)} documents go on in another file")


def read_table(path: Path, wanted: Wanted) -> Imported:
    """Read one table whole.

    Raises
    ------
    FormatError
        As `read_tables`.
    """
    with (table := read_tables([path], wanted, budget=1 << 62)).store:
        imported = next(iter(table.parts()))
    return replace(imported, notes=tuple(table.notes))
