"""Clusters: which documents are independent measurements, and which rows are copies.

All tests and intervals take *clusters* of documents as independent. A document is a cluster
by itself unless its source says otherwise or it shares a prefix with others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from routestat.errors import TraceError
from routestat.traces.arrow_arrays import numbers_of
from routestat.traces.clusters.document_prefixes import DocumentPrefixes
from routestat.traces.clusters.shared_prefixes import connected_parts, find_shared_prefixes
from routestat.traces.validation import shown

#: Treatments of the rows of a prefix that most documents share.
TEMPLATES = ("once", "drop", "keep")
#: Columns of the documents: the source's label, and what routestat found (the last only where there is any).
LABEL, CLUSTER, REASON, TEMPLATE, REPEATED = "cluster_label", "cluster", "cluster_by", "template", "repeated"
FOUND = (CLUSTER, REASON, TEMPLATE, REPEATED)
#: The reason that joins documents of which one begins with the last rows of the other.
OVERLAP = "overlap"
#: Key in a trace's `extra`: the column of the documents that the user named as their clusters.
CLUSTER_COLUMN = "cluster_column"


def named_column(name: str) -> str:
    """Return the column of the documents for a source's field of this name, apart from the store's own columns."""
    return f"source_{name}" if name in (*FOUND, LABEL) else name


@dataclass(frozen=True, eq=False)
class Units:
    """The clusters of a trace's documents, its template, and the repeats of overlapping windows.

    Attributes
    ----------
    document : int array ``[document]``
        Their numbers, ascending.
    cluster : int array ``[document]``
        The cluster of each, named by the number of its first document.
    template : int array ``[document]``
        Rows at its beginning that belong to a template; 0: none.
    reason : str array ``[document]``
        What joins it to others: ``source``, ``column NAME``, ``token ids``, ``choices`` or ``overlap``; empty if
        nothing does.
    repeated : int array ``[document]``
        Rows at its beginning that are a copy of the last rows of the document before; none if not given.
    """

    document: NDArray[np.int32]
    cluster: NDArray[np.int32]
    template: NDArray[np.int64]
    reason: NDArray[np.str_]
    repeated: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _slot: NDArray[np.int64] = field(init=False)
    _place: NDArray[np.int64] | None = field(init=False)

    def __post_init__(self) -> None:
        """Assign the groups and freeze the arrays."""
        names, rank = np.unique(self.cluster, return_inverse=True)
        # Clusters of one document are grouped by its number, so that traces counted separately agree on groups.
        slot = self.document if len(names) == len(self.document) else rank
        object.__setattr__(self, "_slot", slot.astype(np.int64))
        last = int(self.document[-1]) if len(self.document) else 0
        place = None
        if last < 4 * len(self.document) + 1024:
            place = np.zeros(last + 1, np.int64)
            place[self.document] = np.arange(len(self.document))
        object.__setattr__(self, "_place", place)
        if len(self.repeated) != len(self.document):
            object.__setattr__(self, "repeated", np.zeros(len(self.document), np.int64))
        for array in (self.document, self.cluster, self.template, self.reason, self.repeated, self._slot):
            array.flags.writeable = False

    @classmethod
    def alone(cls, document: ArrayLike) -> "Units":
        """Make units in which every document is a cluster, without a template."""
        numbers = np.unique(np.asarray(document, np.int32))
        return cls(
            numbers, numbers.copy(), np.zeros(len(numbers), np.int64), np.full(len(numbers), "", np.str_)
        )

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(np.unique(self.cluster))

    @property
    def reasons(self) -> tuple[str, ...]:
        """What joined documents, most frequent first."""
        names, times = np.unique(self.reason[self.reason != ""], return_counts=True)
        return tuple(names[np.argsort(-times, kind="stable")].tolist())

    def places(self, document: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the places of the documents in `document`."""
        if self._place is None:
            return np.asarray(np.searchsorted(self.document, document))
        return np.asarray(self._place[document])

    def cluster_of(self, document: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the cluster of each document."""
        return np.asarray(self.cluster[self.places(document)])

    def group_of(self, document: NDArray[np.int32], groups: int) -> NDArray[np.int64]:
        """Return the group of each document; a cluster lies in one group, and clusters take the groups in turn."""
        return np.asarray(self._slot[self.places(document)] % groups)

    @property
    def n_ranks(self) -> int:
        """One more than the largest rank of a cluster: with so many groups no two clusters share one."""
        return int(self._slot.max(initial=-1)) + 1

    def fewest_groups(self, groups: int) -> int:
        """Halve `groups` as long as each cluster has a group of its own: what is left out would be empty."""
        while groups > 1 and groups // 2 >= self.n_ranks:
            groups //= 2
        return groups

    def left_out(self, template: str) -> NDArray[np.int64]:
        """Return the rows at the start of each document that are not counted, ``[document]``.

        ``once``: those of the template in all documents but the first that has all of it; ``drop``: in all;
        ``keep``: none. Copies of the last rows of the document before are never counted: they are one measurement.
        """
        left_out = np.zeros_like(self.template) if template == "keep" else self.template.copy()
        if template == "once" and len(left_out):
            left_out[np.argmax(left_out)] = 0
        return np.maximum(left_out, self.repeated)

    def behind(self, document: NDArray[np.int32], rows: NDArray[np.int64]) -> "Units":
        """Return the units if each document ``[document]`` had `rows` more rows at its start; others are alone."""
        alone = Units.alone(document)
        at = np.searchsorted(alone.document, self.document)
        cluster, template, repeated = alone.cluster.copy(), alone.template.copy(), alone.repeated.copy()
        reason = np.zeros(len(document), self.reason.dtype)
        cluster[at], reason[at] = self.cluster, self.reason
        template[at] = np.where(self.template > 0, self.template + rows[at], 0)
        repeated[at] = np.where(self.repeated > 0, self.repeated + rows[at], 0)
        return Units(alone.document, cluster, template, reason, repeated)

    def of(self, numbers: Mapping[int, int]) -> "Units":
        """Return the units of some documents under new numbers, given by old number."""
        old = np.array(sorted(numbers, key=lambda number: numbers[number]), np.int32)
        at = self.places(old)
        new = np.array([numbers[int(number)] for number in old], np.int32)
        _, first, inverse = np.unique(self.cluster[at], return_index=True, return_inverse=True)
        # What a document repeats of one that was not chosen occurs once.
        beside = np.isin(self.document[np.maximum(at - 1, 0)], old)
        repeated = np.where(beside, self.repeated[at], 0)
        return Units(new, new[first[inverse]], self.template[at], self.reason[at], repeated)

    def to_columns(self) -> dict[str, pa.Array]:
        """Return the columns for the store's documents, in the order of `document`."""
        columns = {
            CLUSTER: pa.array(self.cluster, pa.int32()),
            REASON: pa.array(self.reason.tolist(), pa.string()),
            TEMPLATE: pa.array(self.template.astype(np.int32)),
        }
        return columns | ({REPEATED: pa.array(self.repeated.astype(np.int32))} if self.repeated.any() else {})


def units_in(documents: pa.Table) -> Units | None:
    """Read the units from a store's documents; None where they are not stored, or not for all documents.

    Raises
    ------
    TraceError
        For impossible columns.
    """
    names = documents.schema.names
    needed = [name for name in FOUND if name != REPEATED or name in names]
    if not set(needed) <= set(names) or any(documents.column(name).null_count for name in needed):
        return None
    columns = [documents.column(name) for name in needed]
    whole = [column for name, column in zip(needed, columns, strict=True) if name != REASON]
    if not all(pa.types.is_integer(column.type) for column in whole):
        raise TraceError(
            "documents: columns cluster, template and repeated are whole numbers; convert the trace again"
        )
    number = numbers_of(documents.column("document"))
    cluster, template = numbers_of(columns[0]), numbers_of(columns[2])
    repeated = numbers_of(columns[3]) if REPEATED in needed else np.zeros_like(template)
    if (template < 0).any() or (repeated < 0).any():
        raise TraceError("documents: template and repeated count rows, 0 or more; convert the trace again")
    order = np.argsort(number)
    reason = np.array(columns[1].to_pylist(), np.str_)
    return Units(
        number[order].astype(np.int32),
        cluster[order].astype(np.int32),
        template[order].astype(np.int64),
        reason[order],
        repeated[order].astype(np.int64),
    )


def find_units(
    beginnings: DocumentPrefixes,
    documents: pa.Table,
    column: str | None = None,
    overlaps: NDArray[np.int64] | None = None,
    copied: NDArray[np.bool_] | None = None,
) -> Units:
    """Find the clusters and the template of a trace's documents.

    Parameters
    ----------
    beginnings : Beginnings
    documents : pyarrow.Table
        May have ``cluster_label``: documents with the same one are joined.
    column : str, optional
        Use only the values of this column of the documents as the clusters; ``document`` makes every
        document a cluster.
    overlaps : int array, optional
        Rows at the start of each document of `beginnings` that are the last of the one before, see `find_overlaps`.
    copied : bool array, optional
        Whether these rows are equal in every layer; all if not given.

    Raises
    ------
    TraceError
        If there is no such column, or it has no value for a document.
    """
    listed = numbers_of(documents.column("document"))
    number = np.union1d(listed, beginnings.document).astype(np.int32)
    n, at = len(number), np.searchsorted(number, beginnings.document)
    shared = find_shared_prefixes(beginnings)
    # Documents without rows share nothing.
    bond, template, repeated = np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    bond[at], template[at] = shared.bond, shared.template
    if overlaps is None:
        overlaps = np.zeros(len(at), np.int64)
    repeated[at] = overlaps if copied is None else np.where(copied, overlaps, 0)
    chain = _chain(overlaps, at, n)
    labels, reason = _labels(documents, column or LABEL, number), np.full(n, "", np.dtype("<U32"))
    if column is not None:
        part, named = (
            connected_parts(_without_holes(labels, column, number, documents)),
            f"column {column}"[:32],
        )
    else:
        part, named = connected_parts(bond, *chain, *([] if labels is None else [labels])), "source"
        reason[np.max(chain, axis=0) >= 0] = OVERLAP
        reason[bond >= 0] = beginnings.by
    if labels is not None:
        times = np.bincount(labels[labels >= 0], minlength=1)
        labelled = labels >= 0
        reason[labelled] = np.where(times[labels[labelled]] > 1, named, reason[labelled])
    return Units(number, number[part], template, reason, repeated)


def _chain(overlaps: NDArray[np.int64], at: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return labels ``[2, document]`` that join each overlapping document to the one before, in alternation."""
    labels = np.full((2, n), -1, np.int64)
    for place in np.flatnonzero(overlaps).tolist():
        labels[place % 2, at[place - 1 : place + 1]] = place
    return labels


def _without_holes(
    labels: NDArray[np.int64] | None, column: str, number: NDArray[np.int32], documents: pa.Table
) -> NDArray[np.int64]:
    if labels is None:
        known = ", ".join(name for name in documents.schema.names if name not in FOUND)
        raise TraceError(
            f"cluster column {shown(column)}: the documents have no such column; there are {known}"
        )
    if (labels < 0).any():
        hole = int(number[np.argmax(labels < 0)])
        raise TraceError(
            f"cluster column {column}: no value for document {hole}; fill the gaps or name another column"
        )
    return labels


def _labels(documents: pa.Table, column: str, number: NDArray[np.int32]) -> NDArray[np.int64] | None:
    """Return labels ``[document]`` as whole numbers, −1 without a value; None without such a column."""
    if column not in documents.schema.names:
        return None
    values = documents.column(column).to_pylist()
    codes: dict[Any, int] = {}
    of = {
        int(document): -1 if value is None else codes.setdefault(value, len(codes))
        for document, value in zip(documents.column("document").to_pylist(), values, strict=True)
    }
    return np.array([of.get(int(one), -1) for one in number], np.int64)


def relabelled(units: Units, labels: ArrayLike) -> Units:
    """Return the documents in other clusters, one label each; a cluster is named by its first document."""
    _, first, inverse = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    return replace(units, cluster=units.document[first[inverse]])
