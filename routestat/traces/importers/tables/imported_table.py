"""A table that was read, and its rows in parts for the store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.clusters.units import LABEL, named_column
from routestat.traces.importers.common.assembly import ImportedTrace, check_imported
from routestat.traces.importers.common.checks import WrongChoiceError
from routestat.traces.importers.common.counts_only import ANY, refuse_counts
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.placeholders import NothingRemainsError
from routestat.traces.importers.tables.assembling import Assembled, WrongPlaceError, assemble
from routestat.traces.importers.tables.document_numbering import Stream
from routestat.traces.importers.tables.external_sort import RowStore
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.metadata import check_top_k, facts_of_stream
from routestat.traces.importers.tables.position_offsets import as_written
from routestat.traces.metadata import routers_like

#: Least numbers per layer that may be one for each expert.
FEWEST = 4


@dataclass
class Table:
    """A table that was read: facts, and the rows in parts that fit memory.

    Attributes
    ----------
    facts : dict
        `model`, `dataset` and `engine`, if the files give them.
    notes : list of str
        Of all parts, after these were read.
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
    options: ImportOptions
    top_k: int | None
    names: list[str]
    said: dict[str, list[str | None]]
    finite: bool
    origins: list[int]
    whole: bool
    batches: dict[int, list[tuple[int, int]]]
    engine: str = ""

    @property
    def n_tokens(self) -> int:
        """Approximate number of tokens, as if no layer were missing."""
        each = len(self.layers) * ((self.top_k or 1) if self.plans[0].columns.expert else 1)
        return max(self.store.n_rows // each, 1)

    @property
    def in_parts(self) -> bool:
        """Whether the rows come in several parts because of memory."""
        return bool(self.store.runs)

    def parts(self) -> Iterator[ImportedTrace]:
        """Yield the rows by document and position, checked as those of every format are."""
        path = self.plans[0].path
        single = bool(self.plans[0].columns.expert)
        top_k, emptied, left = self.top_k, None, False
        for rows in self.store.parts():
            base = int(rows.document.min())
            try:
                made = assemble(
                    replace(rows, document=rows.document - base), np.array(self.layers), single, top_k
                )
            except WrongPlaceError as error:
                raise self._at_lines(_elsewhere(error, base)) from None
            del rows
            if top_k is None:
                top_k = made.experts.shape[2]
                if FEWEST <= top_k == self.n_experts and self.options.n_experts is None:
                    refuse_counts(path, f"every place has all {top_k} experts; per token: {ANY}")
                check_top_k(
                    path, top_k, self.options, facts_of_stream(self.stream)[0].get("top_k"), self.notes
                )
            try:
                settled = self._settled(path, made, base)
            except WrongChoiceError as error:
                if self.options.drop_dummy_rows:
                    raise  # whose row is counted without those that were left out
                document, position = int(made.document[error.row]), int(made.position[error.row])
                wrong = WrongPlaceError(document + base, position, error.layer, error.words)
                raise self._at_lines(wrong) from None
            except NothingRemainsError as error:
                emptied = error
                self.notes.append(
                    f"{len(made.document):,} rows that follow each other (first: document {self.names[base]}, position "
                    f"{made.position[0]}) hold no measurement: left out"
                )
                continue
            left = True
            yield settled
        if emptied is not None and not left:
            raise emptied

    def _settled(self, path: Path, made: Assembled, base: int) -> ImportedTrace:
        weights, experts = made.weights, made.experts
        if weights is not None and self.finite:
            order = np.argsort(-weights, axis=2, kind="stable")
            experts, weights = np.take_along_axis(experts, order, 2), np.take_along_axis(weights, order, 2)
        # A layer that has no row in this part may have some in another.
        held = [place for place in range(len(self.layers)) if (experts[:, place, 0] != -1).any()]
        whole = len(held) == len(self.layers)
        numbers = np.unique(made.document)
        described: dict[str, list[str | None]] = {
            "name": [self.names[base + number] for number in range(int(numbers[-1]) + 1)]
        }
        for role, values in self.said.items():
            described[self._column(role)] = values[base : base + int(numbers[-1]) + 1]
        imported = check_imported(
            path,
            experts if whole else experts[:, held],
            made.document,
            made.position,
            replace(self.options, layers=None, n_experts=None, top_k=None, cluster=self._cluster()),
            axis=[self.layers[place] for place in held],
            n_experts=self.n_experts,
            token=made.token,
            decode=made.decode,
            described=described,
            slot_order=self.slot_order,
            keep_layers=bool(self.store.runs) or not whole,
            extra=self.extra,
            engine=self.engine,
        )
        self.notes += [note for note in imported.notes if note not in self.notes]
        # Each of several parts keeps all layers: one may lack a layer that others have.
        found = [router.layer for router in imported.routers]
        if found != self.layers and (self.store.runs or not whole):
            full = np.full((len(imported.experts), *experts.shape[1:]), -1, imported.experts.dtype)
            full[:, [self.layers.index(layer) for layer in found]] = imported.experts
            routers = routers_like(self.layers, self.n_experts, experts.shape[2])
            imported = replace(imported, experts=full, routers=routers)
        numbered = [base + number for number in imported.documents["document"]]
        kept = None
        if weights is not None and self.finite:
            own = [self.layers.index(router.layer) for router in imported.routers]
            kept = _kept(weights[:, own], made, imported)
        return replace(
            imported,
            document=imported.document + np.int32(base),
            documents={**imported.documents, "document": numbered},
            weights=kept,
        )

    def _cluster(self) -> str | None:
        return self.options.cluster if "cluster" in self.said and self.options.cluster is not None else None

    def _column(self, role: str) -> str:
        if role != "cluster":
            return role
        return LABEL if self.options.cluster is None else named_column(self.options.cluster)

    def _at_lines(self, error: WrongPlaceError) -> FormatError:
        """Return the error with the lines of the rows that it is about."""
        name = self.names[error.document]
        place = f"document {name}, position {error.position}, layer {error.layer}"
        position = as_written(self.batches.get(error.document, []), error.position)
        found = self.stream.find(self.origins[error.document], position, error.layer)
        where = " and ".join(found[:2]) or str(self.plans[0].path)
        said = f"{where}: {place}: {error.words}"
        if error.words == "occurs twice" and not self.plans[0].columns.document:
            said += "; if the file holds several documents, name their column: --columns document=NAME"
        return FormatError(said)


def _elsewhere(error: WrongPlaceError, base: int) -> WrongPlaceError:
    """Return the same error with the document numbered among all parts."""
    return WrongPlaceError(error.document + base, error.position, error.layer, error.words)


def _kept(weights: NDArray[np.float32], made: Assembled, imported: ImportedTrace) -> NDArray[np.float16]:
    """Return the weights of the kept rows, in descending order as the experts; 0 for a missing choice."""
    if len(imported.experts) != len(made.experts):
        own = (made.document.astype(np.int64) << 32) + made.position
        kept = (imported.document.astype(np.int64) << 32) + imported.position
        weights = weights[np.searchsorted(own, kept)]
    return np.where(imported.experts < 0, 0, weights).astype(np.float16)
