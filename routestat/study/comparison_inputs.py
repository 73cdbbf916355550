"""What `compare_traces` takes: counts in one view, choices on the same tokens, and notes on both traces."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from routestat.counting.agreement import Agreement, count_agreement
from routestat.counting.context import Context
from routestat.counting.counts import MAX_STATES, Counts, count
from routestat.counting.document_sample import take_sample
from routestat.inference.base.units import FEW_UNITS, too_few
from routestat.progress import Tick, silent
from routestat.study.comparison import Side, TraceComparison, compare_traces
from routestat.study.comparison_structure import compare_structure
from routestat.traces.clusters.summary import summarise_units
from routestat.traces.document_selection import SelectedDocuments
from routestat.traces.dummy_rows.findings import Finding, findings_of
from routestat.traces.metadata import TraceMeta
from routestat.traces.number_ranges import span
from routestat.traces.pairing.document_contents import Document
from routestat.traces.pairing.document_matching import Pairing
from routestat.traces.pairing.layer_matching import Matched
from routestat.traces.pairing.trace_matching import Matching
from routestat.traces.store import Trace
from routestat.traces.views import OrderedDocuments, RowsTooManyError

#: What both traces are counted by.
CONTEXTS = (Context(), Context.layer(1))
#: Words for the precision in the names of models.
PRECISION = re.compile(
    r"(?<![a-z0-9])(b?f(p|loat)?(16|32|8|4)|(u?int|nf|mxfp|nvfp)(8|4)|(4|8)bit|e4m3|e5m2|q[2-8](_[k0-9a-z]+)*|awq|gptq|gguf)"
    r"(?![a-z0-9])"
)


def compare_documents(
    paths: tuple[Path, Path],
    opened: tuple[Trace, Trace],
    documents: tuple[list[Document], list[Document]],
    domains: tuple[str | None, str | None],
    found: Matching,
    rng: np.random.Generator,
    *,
    groups: int = 256,
    threads: int | None = None,
    tick: Tick = silent,
) -> TraceComparison:
    """Count the matched documents of two traces and compare them.

    Parameters
    ----------
    paths, opened, documents, domains
        Of both traces: where they are, the whole traces, the documents that are compared, and their domain.
    found : Matching
        The layers and documents that both have.
    rng : numpy.random.Generator
        For permutations of documents.
    groups : int
    threads : int, optional
    tick : callable(what, done, total)
    """
    traces, same = found.traces, opened[0] is opened[1]
    counts = count_both(traces, found.routers, groups, threads, tick)
    agreement, unknown = agreement_of_tokens(traces, found.pairing, found.routers, counts[0].groups, tick)
    not_measured = [
        findings_of(trace, [one.number for one in chosen], [pair[at].layer for pair in found.routers])
        for at, (trace, chosen) in enumerate(zip(opened, documents, strict=True))
    ]
    first, second = (
        side_of(paths[at], opened[at].meta, traces[at], domains[at], counts[at], not_measured[at])
        for at in (0, 1)
    )
    layers = sorted({router.layer for router, _ in found.routers})
    progress = partial(tick, "reading whole documents")
    samples = [take_sample(trace, layers, counts[0].groups, progress=progress) for trace in traces]
    findings = compare_traces(
        (first, second),
        counts,
        agreement,
        rng,
        pairing=found.pairing,
        layers_of_b=found.layers_of_b,
        notes=[
            *found.notes,
            *unknown,
            *notes_on_models(opened[0].meta, opened[1].meta, found.routers),
            *notes_on_counts(counts),
            *notes_on_units(opened[0], documents, traces, counts, same),
            *(f"{name}: {one.sentence}" for name, own in zip("AB", not_measured, strict=True) for one in own),
        ],
        tick=tick,
    )
    both = samples[0], samples[1]
    structure = compare_structure(counts, both, rng.spawn(1)[0], paired=found.pairing.paired, tick=tick)
    return replace(findings, structure=structure)


def notes_on_models(a: TraceMeta, b: TraceMeta, routers: Matched) -> list[str]:
    """Return the notes on the models and their numbers of experts."""
    notes = []
    unlike = [x.layer for x, y in routers if (x.n_experts, x.top_k) != (y.n_experts, y.top_k)]
    if unlike:
        notes.append(
            f"layers {span(unlike)} have different numbers of experts in A and B: only statistics that need no labels "
            "are compared there"
        )
    if model_of(a) != model_of(b):
        notes.append(
            "the models have different names: expert ids are labels, so states can be compared only if "
            "one model was made from the other; otherwise use only the statistics that need no labels"
        )
    return notes


def model_of(meta: TraceMeta) -> str:
    """Return the model's name without the words for its precision."""
    return re.sub(r"[\W_]+", "", PRECISION.sub("", meta.model.lower()))


def count_both(
    traces: tuple[SelectedDocuments, SelectedDocuments],
    routers: Matched,
    groups: int,
    threads: int | None,
    tick: Tick,
) -> tuple[Counts, Counts]:
    """Count both traces in one view and with the same number of groups, so that equal documents share a group."""
    widest = max(router.alphabet.size for pairs in routers for router in pairs)
    view = "subset" if widest <= MAX_STATES else "expert"
    layers = sorted({router.layer for router, _ in routers})

    def one(name: str, trace: Trace, groups: int) -> Counts:
        progress = partial(tick, f"counting {name}")
        return count(trace, layers, CONTEXTS, groups, states=view, threads=threads, progress=progress)

    first = one("A", traces[0], groups)
    second = one("B", traces[1], first.groups if first.wraps else groups)
    if second.wraps and second.groups < first.groups:
        first = one("A", traces[0], second.groups)
    groups = max(first.groups, second.groups)
    return first.with_groups(groups), second.with_groups(groups)


def notes_on_counts(counts: tuple[Counts, Counts]) -> list[str]:
    """Return the notes on the sizes of both samples and on the view."""
    notes = list(dict.fromkeys(c.note for c in counts if c.note))
    for name, found in zip("AB", counts, strict=True):
        held = int(np.count_nonzero(found.tokens))
        if why := too_few(found.tokens[found.tokens > 0]):
            notes.append(f"{name} has {why}: differences are shown, but cannot be tested")
        elif held < FEW_UNITS:
            units = "documents" if found.n_clusters == found.n_documents else "clusters of documents"
            notes.append(
                f"{name} has only {found.n_clusters} {units}: intervals and clustered p-values are approximate below 30"
            )
    if counts[0].states == "expert":
        notes.append("expert view: there are too many subsets to count one by one, so tables count experts")
    return notes


def notes_on_units(
    trace: Trace,
    chosen: tuple[list[Document], list[Document]],
    traces: tuple[SelectedDocuments, SelectedDocuments],
    counts: tuple[Counts, Counts],
    same: bool,
) -> list[str]:
    """Return the notes on the independent units of both traces, and on clusters that have documents in both."""
    said = [
        summarise_units(one, found.n_documents, found.clusters).sentences()
        for one, found in zip(traces, counts, strict=True)
    ]
    notes = [f"{name}: {text}" for name, texts in zip("AB", said, strict=True) for text in texts]
    if same:
        numbers = [np.array([d.number for d in documents], np.int32) for documents in chosen]
        shared_of = [
            set(trace.units.cluster_of(n[~np.isin(n, other)]).tolist())
            for n, other in (numbers, numbers[::-1])
        ]
        if shared := len(shared_of[0] & shared_of[1]):
            notes.append(
                f"{shared} clusters have documents in A and others in B: the two samples are not independent, and "
                "tests of their difference are cautious"
            )
    return notes


def agreement_of_tokens(
    traces: tuple[SelectedDocuments, SelectedDocuments],
    pairing: Pairing,
    routers: Matched,
    groups: int,
    tick: Tick,
) -> tuple[Agreement | None, list[str]]:
    """Count how often the tokens that are in both traces have equal choices; None, with a note, where unknown."""
    if not pairing.aligned or any((x.n_experts, x.top_k) != (y.n_experts, y.top_k) for x, y in routers):
        return None, []
    both = [OrderedDocuments(trace.first(pairing.n_common)) for trace in traces]
    try:
        progress = partial(tick, "comparing choices")
        return count_agreement(both[0], both[1], [x for x, _ in routers], groups, progress), []
    except RowsTooManyError as error:
        return None, [f"choices are not compared token by token: {error}"]


def side_of(
    path: Path,
    meta: TraceMeta,
    trace: Trace,
    domain: str | None,
    counts: Counts,
    not_measured: tuple[Finding, ...],
) -> Side:
    """Describe one of the two traces; `meta` is that of the whole trace."""
    groups = int(np.count_nonzero(counts.tokens))
    units = summarise_units(trace, counts.n_documents, counts.clusters)
    return Side(path.name, meta, domain, counts.n_tokens, counts.n_documents, groups, units, not_measured)
