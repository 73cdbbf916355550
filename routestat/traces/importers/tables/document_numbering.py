"""The rows of all files in order: documents numbered, positions counted, joins of files detected.

Documents and their segments. Rows of one document may be in several files, and one file may hold several documents
without names. Each row therefore has a document (its name; the file's without a column) and a segment: the
file, or without a column of documents the stretch of the file between two places where the position restarts in
every layer. Whether the segments of a document are separate documents is known at the end: they are if two of
them hold the same place (position and layer); see `segments`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.progress import Progress
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.counts_only import ANY, refuse_counts
from routestat.traces.importers.tables.block_reading import Piece, read_pieces
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.json_lines import object_facts
from routestat.traces.importers.tables.positions import Place
from routestat.traces.importers.tables.rows import Rows
from routestat.traces.importers.tables.sources import facts_of, stem

# Lines of other types from which facts are read.
MOST_OTHERS = 100


@dataclass
class Stream:
    """The rows of files, read once by iterating over it, which also collects the facts in the files.

    Parameters
    ----------
    plans : sequence of Plan
    progress : callable(done, total), optional
        In bytes.

    Attributes
    ----------
    names : dict
        Name of every document → its number, in the order of the files.
    said : dict
        ``domain`` and ``cluster`` → value by number of the document and source.
    changing : set of str
        Those of them with several values for one document.
    skipped : int
        Lines of another type.
    facts : dict
        Facts in comments and lines of other types.
    sources : list of str
        The name of each segment: its file.
    """

    plans: Sequence[Plan]
    progress: Progress | None = None
    names: dict[str, int] = field(default_factory=dict)
    said: dict[str, dict[tuple[int, int], str | None]] = field(default_factory=dict)
    changing: set[str] = field(default_factory=set)
    skipped: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    top_k: int | None = None

    def __iter__(self) -> Iterator[tuple[Rows, Piece]]:
        """Yield the rows of all files, with the piece that each comes from."""
        total = sum(plan.path.stat().st_size for plan in self.plans)
        before, state = 0, None
        for place, plan in enumerate(self.plans):
            for piece in read_pieces(plan):
                if state is None or state.at != (place, piece.section):
                    state = self._begin(place, piece, state)
                if len(piece.rows):
                    yield self._placed(piece, state), piece
                self._note_others(piece)
                if self.progress is not None:
                    self.progress(min(before + piece.done, total), total)
            before += plan.path.stat().st_size

    def _begin(self, place: int, piece: Piece, last: Place | None) -> Place:
        plan, name = piece.plan, stem(piece.plan.path)
        self.sources.append(f"{name} part {piece.section + 1}" if piece.section else name)
        state = Place((place, piece.section), len(self.sources) - 1)
        if not plan.columns.document:
            if last is not None and last.at[0] == place and plan.columns.position:
                # A repeated header: another stretch of the file.
                return replace(last, at=state.at, base=last.highest + 1, last={})
            label = self.sources[-1]
            while label in self.names:
                label = f"{self.sources[-1]} ({len(self.names)})"
            state.document = self.names.setdefault(label, len(self.names))
        return state

    def _placed(self, piece: Piece, state: Place) -> Rows:
        rows, columns = piece.rows, piece.plan.columns
        if columns.document:
            codes = np.array([self.names.setdefault(name, len(self.names)) for name in rows.names], np.int32)
            document = codes[rows.document]
        else:
            codes = np.array([state.document], np.int32)
            document = np.full(len(rows), state.document, np.int32)
        for role, values in rows.said:
            self._keep(role, codes, values, piece, state.source)
        position = rows.position
        segment: NDArray[np.integer] | None = None
        if not columns.position:
            position = state.counted(document, rows, self._per_place(piece))
        if columns.position and not columns.document:
            segment = state.stretches(rows, columns.signed, bool(columns.expert))
        elif state.source:
            segment = np.full(len(rows), state.source, np.int32)
        segment = None if segment is None else narrow(segment)
        return replace(rows, document=document, position=position, segment=segment, names=(), said=())

    def _per_place(self, piece: Piece) -> int:
        """Return the number of consecutive rows of one place (token and layer), where nothing numbers them."""
        columns = piece.plan.columns
        if not columns.expert or columns.slot:
            return 1
        if set(columns.used) == set(piece.plan.held) and len(columns.used) == 2:
            raise FormatError(f"{piece.plan.path}: layer,expert is llama.cpp's moe-trace: --format llama-cpp")
        if self.top_k is None:
            rows = piece.rows
            choices = np.stack([rows.document, rows.layer, rows.experts[:, 0]], axis=1)
            if len(np.unique(choices, axis=0)) == len(choices):
                refuse_counts(piece.plan.path, f"every expert of a layer has one row; per token: {ANY}")
            raise FormatError(
                f"{piece.plan.path}: one expert per row, with neither position nor slot; give the number per token "
                "with --top-k, or name the position: --columns position=NAME"
            )
        return self.top_k

    def _keep(
        self, role: str, codes: NDArray[np.integer], values: tuple[str | None, ...], piece: Piece, source: int
    ) -> None:
        """Keep the values of a column for documents; no values mean that one document has several."""
        known = self.said.setdefault(role, {})
        if not values:
            self.changing.add(role)
        for code, value in zip(codes.tolist(), values, strict=False):
            if known.setdefault((code, source), value) == value:
                continue
            self.changing.add(role)
            if role in piece.plan.columns.named:
                name = next(name for name, number in self.names.items() if number == code)
                raise FormatError(
                    f"{piece.where(0)} and after: column {getattr(piece.plan.columns, role)} says {value!r} of "
                    f"document {name}, before it said {known[code, source]!r}"
                )

    def value_of(self, role: str, document: int, segment: int) -> str | None:
        """Return the value of a document in the file of its rows, or else in the first file that gives one."""
        known = self.said[role]
        if (document, segment) in known and self.plans[0].columns.document:
            return known[document, segment]
        own = (known.get((document, source)) for source in range(len(self.sources)))
        return next((value for value in own if value is not None), None)

    def _note_others(self, piece: Piece) -> None:
        self.skipped += piece.rows.skipped
        if piece.rows.skipped and piece.block is not None and len(self.facts) < MOST_OTHERS:
            for key, value in object_facts(piece.plan, piece.block, MOST_OTHERS).items():
                self.facts.setdefault(key, value)

    def comments(self) -> dict[str, str]:
        """Return the values that the comments of all files agree on."""
        found: dict[str, set[str]] = {}
        for plan in self.plans:
            for key, value in facts_of(plan.comments).items():
                found.setdefault(key, set()).add(value)
        return {key: values.pop() for key, values in found.items() if len(values) == 1}

    def find(self, document: int, position: int, layer: int) -> list[str]:
        """Find file and line of the rows of one place, of one slot if it has two, by reading the files again."""
        found: dict[int, str] = {}
        again = Stream(self.plans, top_k=self.top_k)
        for rows, piece in again:
            here = np.flatnonzero(
                (rows.document == document) & (rows.position == position) & (rows.layer == layer)
            )
            for row in here.tolist():
                slot = 0 if rows.slot is None else int(rows.slot[row])
                if slot in found:
                    return [found[slot], piece.where(row)]
                found[slot] = piece.where(row)
        return list(found.values())
