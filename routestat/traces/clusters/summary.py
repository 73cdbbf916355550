"""The clusters of a trace in numbers and sentences: how many, how they are known, what is not counted."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routestat.traces.clusters.shared_prefixes import SHARED_ROWS
from routestat.traces.clusters.units import OVERLAP
from routestat.traces.store import Trace


@dataclass(frozen=True, slots=True)
class UnitSummary:
    """The clusters of a trace, or of the counted part of it.

    Attributes
    ----------
    n_documents, n_clusters : int
        Documents with tokens, and clusters, which tests and intervals take as independent.
    largest_cluster : int
        Documents of the largest cluster.
    clusters_from : tuple of str
        What joined documents: ``source``, ``column NAME``, ``token ids`` or ``choices``; empty if nothing did.
    template : str
        Treatment of a prefix that most documents share: ``once``, ``drop`` or ``keep``.
    template_tokens : int
        Rows of that prefix; 0: there is none.
    template_documents : int
        Documents that begin with the whole prefix.
    template_left_out : int
        Rows that are not counted for that reason.
    template_only : int
        Documents with no other rows.
    repeated_tokens, overlapping : int
        Rows that are a copy of the last rows of the document before, and documents that begin with such rows.
    """

    n_documents: int
    n_clusters: int
    largest_cluster: int
    clusters_from: tuple[str, ...]
    template: str
    template_tokens: int
    template_documents: int
    template_left_out: int
    template_only: int
    repeated_tokens: int = 0
    overlapping: int = 0

    def sentences(self) -> tuple[str, ...]:
        """Return one sentence for each fact to report; none where every document is a unit and nothing is left out."""
        return tuple(text for text in (self._clusters(), self._template(), self._overlaps()) if text)

    def _clusters(self) -> str:
        if self.n_clusters == self.n_documents:
            return ""
        said = (
            f"{self.n_documents:,} documents are {self.n_clusters:,} independent cluster"
            f"{'s' if self.n_clusters != 1 else ''} ({' and '.join(map(_because, self.clusters_from))}); the largest "
            f"holds {self.largest_cluster:,}"
        )
        if self.n_clusters == 1:
            return (
                f"{said}. One cluster is one measurement: there is no test and no interval. If these documents are "
                "independent after all, use --cluster document"
            )
        return f"{said}. Tests, intervals and held-out scores take clusters as the units"

    def _template(self) -> str:
        if not self.template_tokens:
            return ""
        tokens = f"{self.template_tokens:,} token{'s' if self.template_tokens != 1 else ''}"
        said = f"{self.template_documents:,} documents begin with the same {tokens} (a template)"
        what = {
            "once": f"they are counted once, {self.template_left_out:,} repeated tokens are left out",
            "drop": f"they are left out, {self.template_left_out:,} tokens in all",
            "keep": "they are counted in each, so intervals and tests take repeats as new measurements",
        }[self.template]
        if self.template_only:
            what += f"; {self.template_only:,} documents hold nothing else and add nothing"
        return f"{said}: {what}"

    def _overlaps(self) -> str:
        if not self.overlapping:
            return ""
        return (
            f"{self.overlapping:,} documents begin with the last rows of the one before, equal in every layer "
            f"(overlapping windows): {self.repeated_tokens:,} copies are not counted again"
        )


def _because(reason: str) -> str:
    """Describe how it is known that documents are dependent."""
    if reason == "source":
        return "as the source states"
    if reason.startswith("column "):
        return f"by {reason}"
    if reason == OVERLAP:
        return "documents begin with the last tokens of the one before"
    return (
        f"documents share their first {SHARED_ROWS} tokens or more, or about a fifth of them, or are copies, by "
        f"{reason}"
    )


def summarise_units(
    trace: Trace, n_documents: int | None = None, clusters: NDArray[np.int32] | None = None
) -> UnitSummary:
    """Summarise the units of a trace.

    Parameters
    ----------
    trace : Trace
    n_documents, clusters : int, int array ``[cluster]``, optional
        Those that were counted; all if not given.
    """
    units = trace.units
    names = np.unique(units.cluster) if clusters is None else clusters
    documents = trace.documents.num_rows if n_documents is None else n_documents
    sizes = np.unique(units.cluster[np.isin(units.cluster, names)], return_counts=True)[1]
    longest = int(units.template.max(initial=0))
    return UnitSummary(
        n_documents=documents,
        n_clusters=len(names),
        largest_cluster=int(sizes.max(initial=0)),
        clusters_from=units.reasons,
        template=trace.template,
        template_tokens=longest,
        template_documents=int(np.count_nonzero(units.template == longest)) if longest else 0,
        template_left_out=int(
            replace(units, repeated=np.zeros_like(units.template)).left_out(trace.template).sum()
        ),
        template_only=max(0, trace.documents.num_rows - documents) if longest else 0,
        repeated_tokens=int(units.repeated.sum()),
        overlapping=int(np.count_nonzero(units.repeated)),
    )
