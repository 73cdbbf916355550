"""What a reader has to know about a trace before any number."""

from collections.abc import Collection, Mapping

import numpy as np

from routestat.counting.counts import Counts
from routestat.inference.base.units import FEW_UNITS, effective_units, too_few
from routestat.study.parts import PARTS
from routestat.traces.clusters.summary import summarise_units
from routestat.traces.dummy_rows.findings import Finding, findings_of
from routestat.traces.metadata import layers_were_counted
from routestat.traces.number_ranges import span
from routestat.traces.store import Trace


def not_measured(trace: Trace, counts: Counts) -> tuple[Finding, ...]:
    """Return the rows of the counted layers that are not measurements."""
    return findings_of(trace, layers=[router.layer for router in counts.routers])


def notes_of(
    trace: Trace, counts: Counts, parts: Collection[str], not_fitted: Mapping[str, str]
) -> tuple[str, ...]:
    """Collect what a reader has to know before any number.

    Parameters
    ----------
    trace : Trace
    counts : Counts
    parts : collection of str
        What was computed.
    not_fitted : mapping of str to str
        Predictors that were not fitted, and why.
    """
    groups = int(np.count_nonzero(counts.tokens))
    notes = [
        note
        for note in (
            trace.note,
            counts.note,
            *summarise_units(trace, counts.n_documents, counts.clusters).sentences(),
            *(finding.sentence for finding in not_measured(trace, counts)),
        )
        if note
    ]
    if left_out := [name for name in PARTS if name not in parts]:
        notes.append(f"not computed, as requested: {', '.join(left_out)}")
    if layers_were_counted(trace.meta):
        notes.append(
            f"the source does not number its layers: {span(trace.meta.layers)} are only their order in it; name them "
            "with convert --layers"
        )
    if not trace.complete:
        notes.append("the writer of this trace stopped before closing it; what it had finished is analysed")
    sizes_of_units = counts.tokens[counts.tokens > 0]
    if groups < 2:
        several = "cluster" if counts.n_clusters < 2 else "group"
        one = "one document" if counts.n_documents < 2 else f"one {several} of {counts.n_documents} documents"
        notes.append(f"all tokens are of {one}: nothing can be held out and no interval can be given")
    elif why := too_few(sizes_of_units):
        notes.append(f"{why}. What the figures show may be chance, and what they do not show may exist")
    elif groups < FEW_UNITS:
        notes.append(
            f"only {groups} groups of documents: intervals and clustered p-values are approximate below {FEW_UNITS}"
        )
    elif (effective := effective_units(sizes_of_units)) < FEW_UNITS:
        notes.append(
            f"{groups} groups of documents, but a few hold most tokens: they weigh no more than {effective:.0f} "
            f"of one size, and intervals and clustered p-values are approximate below {FEW_UNITS}"
        )
    if counts.states == "expert":
        sizes = max(router.alphabet.size for router in counts.routers)
        notes.append(
            f"expert view: {sizes:,} subsets are too many to count one by one, so tables count experts"
        )
    if not_fitted:
        notes.append(
            f"{len(not_fitted)} predictors have as many features as tokens to fit them on, or more, and are not "
            "fitted; nor are contexts of the memory that they measure"
        )
    return tuple(notes)
