"""Some documents of a trace, under numbers of their own; and which documents two traces have in common."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from routestat.errors import RoutestatError
from routestat.traces.shared_beginnings import joined
from routestat.traces.store import Trace
from routestat.traces.units import Units, relabelled

WISHES = ("auto", "yes", "no")


@dataclass(frozen=True)
class Document:
    """What tells a document from others; `digest` is of its token ids, empty where these are unknown."""

    number: int
    name: str | None
    domain: str | None
    tokens: int
    digest: bytes


@dataclass
class _Reading:
    tokens: int = 0
    known: bool = False
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))


def documents_of(trace: Trace, progress: Callable[[int, int], None] | None = None) -> list[Document]:
    """Every document that has tokens, in the order of the rows; one pass over the token ids."""
    found: dict[int, _Reading] = {}
    done = 0
    for batch in trace.batches(["token"]):
        token = np.ascontiguousarray(batch.columns["token"], dtype="<i4")
        edges = (np.flatnonzero(np.diff(batch.document)) + 1).tolist()
        for first, last in zip([0, *edges], [*edges, len(batch)], strict=True):
            reading = found.setdefault(int(batch.document[first]), _Reading())
            reading.tokens += last - first
            reading.known = reading.known or bool(token[first:last].max() >= 0)
            reading.digest.update(token[first:last].tobytes())
        done += len(batch)
        if progress is not None:
            progress(done, trace.n_tokens)
    names, domains = _facts(trace, "name"), _facts(trace, "domain")
    return [
        Document(
            number,
            names.get(number),
            domains.get(number),
            reading.tokens,
            reading.digest.digest() if reading.known else b"",
        )
        for number, reading in found.items()
    ]


def _facts(trace: Trace, column: str) -> dict[int, str | None]:
    if column not in trace.documents.column_names:
        return {}
    numbers = trace.documents.column("document").to_pylist()
    return dict(zip(numbers, trace.documents.column(column).to_pylist(), strict=True))


def choose(documents: Sequence[Document], domain: str | None, option: str) -> list[Document]:
    """The documents of one domain; all of them if None.

    Raises
    ------
    RoutestatError
        If the trace has no such domain; says which it has.
    """
    if domain is None:
        return list(documents)
    chosen = [document for document in documents if document.domain == domain]
    if not chosen:
        known = sorted({document.domain for document in documents if document.domain})
        has = f"there are {', '.join(known)}" if known else "its documents name none"
        raise RoutestatError(f"{option} {domain}: no document of that domain; {has}")
    return chosen


@dataclass(frozen=True)
class Pairing:
    """Which documents are in both traces.

    Attributes
    ----------
    paired : bool
        Whether documents in both are to be compared with themselves.
    n_common : int
        How many there are; without `paired` none were looked for.
    aligned : bool
        Whether their tokens are the same in the same order of rows, so that choices compare token by token.
    numbers_a, numbers_b : mapping of the trace's number to the new one
        Documents in both get the same, the first; all others numbers of their own.
    """

    paired: bool
    n_common: int
    aligned: bool
    numbers_a: Mapping[int, int]
    numbers_b: Mapping[int, int]


def pair(a: Sequence[Document], b: Sequence[Document], wish: str, same_trace: bool = False) -> Pairing:
    """Find the documents that are in both: by their token ids; where these are unknown by name and length.

    Parameters
    ----------
    a, b : sequences of Document
    wish : {"auto", "yes", "no"}
        "yes" goes by name where tokens differ, and by place where there are no names but equal lengths.
    same_trace : bool
        Both come from one trace, so that equal numbers are the same document.

    Raises
    ------
    RoutestatError
        For "yes" where no document is in both, or another word.
    """
    if wish not in WISHES:
        raise RoutestatError(f"--paired is {', '.join(WISHES)}, got {wish!r}")
    if wish == "no":
        return _numbered(a, b, {}, {}, False)
    if same_trace:
        return _common(a, b, lambda d: d.number, True)
    found = _common(a, b, lambda d: d.digest or ((d.name, d.tokens) if d.name else None), True)
    if found.n_common or wish == "auto":
        return found
    found = _common(a, b, lambda d: d.name, False)
    if not found.n_common and [d.tokens for d in a] == [d.tokens for d in b]:
        first, second = ({d.number: place for place, d in enumerate(x)} for x in (a, b))
        found = _numbered(a, b, first, second, False)
    if not found.n_common:
        raise RoutestatError("--paired yes: the two traces have no document in common, by tokens or by name")
    return found


def _common(
    a: Sequence[Document], b: Sequence[Document], key: Callable[[Document], Hashable], aligned: bool
) -> Pairing:
    """Pair documents of equal keys, the first of a key with the first, and so on; no key, no partner."""
    keyed: list[dict[Hashable, int]] = []
    for documents in (a, b):
        seen: Counter[Hashable] = Counter()
        places: dict[Hashable, int] = {}
        for document in documents:
            if (mark := key(document)) is not None:
                places[mark, seen[mark]] = document.number
                seen[mark] += 1
        keyed.append(places)
    shared = [mark for mark in keyed[0] if mark in keyed[1]]
    first, second = ({places[mark]: new for new, mark in enumerate(shared)} for places in keyed)
    return _numbered(a, b, first, second, aligned)


def _numbered(
    a: Sequence[Document], b: Sequence[Document], first: dict[int, int], second: dict[int, int], aligned: bool
) -> Pairing:
    common = len(first)
    order = [[new[d.number] for d in x if d.number in new] for x, new in ((a, first), (b, second))]
    numbers_a, numbers_b = dict(first), dict(second)
    # Unpaired traces may use the same numbers: their groups are never put together.
    following = common
    for document in a:
        if document.number not in numbers_a:
            numbers_a[document.number] = following
            following += 1
    following = following if common else 0
    for document in b:
        if document.number not in numbers_b:
            numbers_b[document.number] = following
            following += 1
    return Pairing(common > 0, common, aligned and common > 0 and order[0] == order[1], numbers_a, numbers_b)


def in_common_units(a: "Selected", b: "Selected") -> tuple["Selected", "Selected"]:
    """Paired selections with one set of units: documents that belong together in either do so in both.

    Of the template both leave out as much as the one that knows more of it, so that rows stay side by side.
    """
    number = np.union1d(a.units.document, b.units.document)
    labels, templates = [], []
    for one in (a.units, b.units):
        at = np.searchsorted(number, one.document)
        label, template = np.full(len(number), -1, np.int64), np.zeros(len(number), np.int64)
        label[at], template[at] = one.cluster, one.template
        labels.append(label)
        templates.append(template)
    part, template = joined(*labels), np.maximum(*templates)

    def shared(one: Units) -> Units:
        at = np.searchsorted(number, one.document)
        return relabelled(replace(one, template=template[at]), part[at])

    return a.in_units(shared(a.units)), b.in_units(shared(b.units))


class Selected(Trace):
    """Some documents of a trace, renumbered; rows are read from the trace as they are asked for.

    Parameters
    ----------
    trace : Trace
    documents : sequence of Document
        Of that trace, as `documents_of` gives them.
    numbers : mapping of the trace's number to the new one
    units : Units, optional
        Of these documents under their new numbers; those of the trace if not given.
    """

    def __init__(
        self,
        trace: Trace,
        documents: Sequence[Document],
        numbers: Mapping[int, int],
        units: Units | None = None,
    ) -> None:
        chosen = {document.number: numbers[document.number] for document in documents}
        listed = trace.documents.column("document").to_pylist()
        places = [place for place, number in enumerate(listed) if number in chosen]
        table = trace.documents.take(pa.array(places, pa.int64()))
        renumbered = pa.array([chosen[listed[place]] for place in places], pa.int32())
        table = table.set_column(table.schema.get_field_index("document"), "document", renumbered)
        tokens = sum(document.tokens for document in documents)
        units = trace.units.of(chosen) if units is None else units
        super().__init__(trace.meta, table, (), tokens, trace.columns, trace.complete, units, trace.template)
        self._trace = trace
        self._documents = tuple(documents)
        self._new = chosen
        self._numbers = np.full(max(chosen, default=0) + 2, -1, np.int32)
        self._numbers[list(chosen)] = list(chosen.values())

    def first(self, n: int) -> "Selected":
        """Only the documents whose new number is below `n`."""
        kept = [document for document in self._documents if self._new[document.number] < n]
        units = self.units.of({number: number for number in self.units.document.tolist() if number < n})
        return Selected(self._trace, kept, self._new, units)

    def in_units(self, units: Units) -> "Selected":
        """The same documents in other clusters, or with another template."""
        return Selected(self._trace, self._documents, self._new, units)

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of the chosen documents, in the trace's order."""
        for record in self._trace.record_batches(columns):
            place = record.schema.get_field_index("document")
            # Numbers beyond the last chosen one share the last place, which names none.
            old = np.minimum(record.column(place).to_numpy(), len(self._numbers) - 1)
            new = self._numbers[old]
            kept = np.flatnonzero(new >= 0)
            if not kept.size:
                continue
            renumbered = record.set_column(place, "document", pa.array(new, pa.int32()))
            yield renumbered if kept.size == len(new) else renumbered.take(pa.array(kept))
