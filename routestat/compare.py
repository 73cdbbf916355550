"""python -m routestat.compare A B: do two traces route alike? The front desk."""

import re
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from routestat.cli import options
from routestat.cli.output_folders import check_out, keep_traces_apart
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import parse_layers, require_tokens, run
from routestat.counting.agreement import Agreement, count_agreement
from routestat.counting.context import Context
from routestat.counting.counts import MAX_STATES, Counts, count
from routestat.errors import RoutestatError
from routestat.inference.base.units import FEW_UNITS, too_few
from routestat.report.html.comparison import write_comparison
from routestat.report.terminal.comparison import summarise
from routestat.study.comparison import Side, compare_traces
from routestat.traces.clusters.summary import summarise_units
from routestat.traces.document_selection import SelectedDocuments
from routestat.traces.dummy_rows.findings import Finding, findings_of
from routestat.traces.metadata import TraceMeta
from routestat.traces.number_ranges import span
from routestat.traces.pairing.document_contents import Document, documents_of, documents_of_domain
from routestat.traces.pairing.document_matching import WISHES, Pairing
from routestat.traces.pairing.layer_matching import WAYS, Matched
from routestat.traces.pairing.trace_matching import match_traces
from routestat.traces.store import Trace
from routestat.traces.views import OrderedDocuments, RowsTooManyError

CONTEXTS = (Context(), Context.layer(1))
# How a model's name says its precision: what is left names the model.
PRECISION = re.compile(
    r"(?<![a-z0-9])(b?f(p|loat)?(16|32|8|4)|(u?int|nf|mxfp|nvfp)(8|4)|(4|8)bit|e4m3|e5m2|q[2-8](_[k0-9a-z]+)*|awq|gptq|gguf)"
    r"(?![a-z0-9])"
)

app = typer.Typer(add_completion=False)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A trace: a folder that capture or convert wrote.")],
    b: Annotated[Path, typer.Argument(help="Another, or the same one with other documents.")],
    layers: Annotated[
        str, typer.Option(help="Layers of A, such as 0-31 or 0,4,8, or all that both have.")
    ] = "all",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report (if not given: reports/compare-A-B).")
    ] = None,
    domain_a: Annotated[str | None, typer.Option(help="Only documents of this domain of A.")] = None,
    domain_b: Annotated[str | None, typer.Option(help="Only documents of this domain of B.")] = None,
    paired: Annotated[
        str,
        typer.Option(
            help="Compare documents that are in both, by token ids or choices, with themselves: auto, yes or no. yes "
            "goes by name where nothing proves it."
        ),
    ] = "auto",
    match_layers: Annotated[
        str,
        typer.Option(
            help="Which layer of B is which of A: by number, in order, or auto: by number unless a source does not "
            "number its layers."
        ),
    ] = "auto",
    groups: Annotated[int, typer.Option(min=1, help="Bundles of documents that tables are kept for.")] = 256,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads (if not given: all cores).")] = None,
    cluster: options.Cluster = None,
    template: options.Template = "once",
    drop_dummy_rows: options.DummyRows = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the relabellings.")] = 0,
) -> None:
    """Say whether two traces route alike, layer by layer and transition by transition, over whole documents: which
    laws differ, by how much, and which cells moved. For data sets, prompts, precisions and quantisations.

    Example: python -m routestat.compare traces/mine-bf16 traces/mine-int4 --layers 0-31
    """
    wanted = parse_layers(layers)
    if paired not in WISHES:
        raise RoutestatError(f"--paired is {', '.join(WISHES)}, got {paired!r}")
    if match_layers not in WAYS:
        raise RoutestatError(f"--match-layers is {', '.join(WAYS)}, got {match_layers!r}")
    with ProgressBars() as ticker, threadpool_limits(limits=threads):
        same = a.resolve() == b.resolve()

        def opened(path: Path, name: str) -> Trace:
            progress = ticker.of(f"checking {name}")
            return Trace.open(
                path,
                progress=progress,
                cluster=cluster,
                template=template,
                dummy_rows="drop" if drop_dummy_rows else "keep",
            )

        first = opened(a, "A")
        second = first if same else opened(b, "B")
        folder = out or Path("reports") / default_name(a, b, domain_a, domain_b)
        read = documents_of(first, ticker.of("reading documents of A"))
        other = read if same else documents_of(second, ticker.of("reading documents of B"))
        chosen = (
            documents_of_domain(read, domain_a, "--domain-a"),
            documents_of_domain(other, domain_b, "--domain-b"),
        )
        for name, documents in zip("AB", chosen, strict=True):
            if not documents:
                raise RoutestatError(f"{name} holds no tokens: there is nothing to compare")
        found = match_traces((first, second), chosen, wanted, match_layers, paired)
        keep_traces_apart(folder)
        check_out(folder)
        traces, pairing = found.traces, found.pairing
        for trace in traces:
            require_tokens(trace, None)
        counts = count_both(traces, found.routers, groups, threads, ticker)
        agreement, unseen = flips(traces, pairing, found.routers, counts[0].groups, ticker)
        facts = [
            findings_of(trace, [one.number for one in documents], [pair[at].layer for pair in found.routers])
            for at, (trace, documents) in enumerate(zip((first, second), chosen, strict=True))
        ]
        findings = compare_traces(
            (
                side(a, first.meta, traces[0], domain_a, counts[0], facts[0]),
                side(b, second.meta, traces[1], domain_b, counts[1], facts[1]),
            ),
            counts,
            agreement,
            np.random.default_rng(seed),
            pairing=pairing,
            layers_of_b=found.layers_of_b,
            notes=[
                *found.notes,
                *unseen,
                *of_models(first.meta, second.meta, found.routers),
                *remarks(counts),
                *of_units(first, chosen, traces, counts, same),
                *(
                    f"{name}: {one.sentence}"
                    for name, found in zip("AB", facts, strict=True)
                    for one in found
                ),
            ],
            tick=ticker,
        )
        page = write_comparison(findings, folder, tick=ticker)
    summarise(findings, page)


def default_name(a: Path, b: Path, domain_a: str | None, domain_b: str | None) -> str:
    """``compare-A-B``, with the domains where they were asked for; only what a folder's name can hold."""
    words = ["compare", a.resolve().name, domain_a, b.resolve().name, domain_b]
    return "-".join(re.sub(r"[^\w.-]+", "_", word) for word in words if word)


def of_models(a: TraceMeta, b: TraceMeta, routers: Matched) -> list[str]:
    """What there is to say of models and their alphabets."""
    notes = []
    unlike = [x.layer for x, y in routers if (x.n_experts, x.top_k) != (y.n_experts, y.top_k)]
    if unlike:
        notes.append(
            f"layers {span(unlike)} have other numbers of experts in A and B: only figures that need no labels are "
            "compared there"
        )
    if model_of(a) != model_of(b):
        notes.append(
            "the models have different names: expert ids are labels, so laws of states can be compared only if one "
            "model was made from the other; else read only the figures that need no labels"
        )
    return notes


def model_of(meta: TraceMeta) -> str:
    """The model's name without what says its precision."""
    return re.sub(r"[\W_]+", "", PRECISION.sub("", meta.model.lower()))


def count_both(
    traces: tuple[SelectedDocuments, SelectedDocuments],
    routers: Matched,
    groups: int,
    threads: int | None,
    ticker: ProgressBars,
) -> tuple[Counts, Counts]:
    """Count both in one view and by as many groups, so that groups of the same documents have the same number."""
    widest = max(router.alphabet.size for pairs in routers for router in pairs)
    view = "subset" if widest <= MAX_STATES else "expert"
    layers = sorted({router.layer for router, _ in routers})

    def one(name: str, trace: Trace, groups: int) -> Counts:
        progress = ticker.of(f"counting {name}")
        return count(trace, layers, CONTEXTS, groups, states=view, threads=threads, progress=progress)

    first = one("A", traces[0], groups)
    second = one("B", traces[1], first.groups)
    return (first if first.groups == second.groups else one("A", traces[0], second.groups)), second


def remarks(counts: tuple[Counts, Counts]) -> list[str]:
    """What a reader has to know of the counts before any number."""
    notes = list(dict.fromkeys(c.note for c in counts if c.note))
    for name, found in zip("AB", counts, strict=True):
        held = int(np.count_nonzero(found.tokens))
        if why := too_few(found.tokens[found.tokens > 0]):
            notes.append(
                f"{name} has {why}: differences are shown, but whether they are more than chance cannot be said"
            )
        elif held < FEW_UNITS:
            units = "documents" if found.n_clusters == found.n_documents else "clusters of documents"
            notes.append(
                f"{name} has only {found.n_clusters} {units}: intervals and clustered p-values are rough below 30"
            )
    if counts[0].states == "expert":
        notes.append("expert view: there are too many subsets to count one by one, so tables count experts")
    return notes


def of_units(
    trace: Trace,
    chosen: tuple[list[Document], list[Document]],
    traces: tuple[SelectedDocuments, SelectedDocuments],
    counts: tuple[Counts, Counts],
    same: bool,
) -> list[str]:
    """What there is to say of the independent units of either, and of clusters that lie in both."""
    said = [
        summarise_units(one, found.n_documents, found.clusters).sentences()
        for one, found in zip(traces, counts, strict=True)
    ]
    notes = [f"{name}: {text}" for name, texts in zip("AB", said, strict=True) for text in texts]
    if same:
        numbers = [np.array([d.number for d in documents], np.int32) for documents in chosen]
        of = [
            set(trace.units.cluster_of(n[~np.isin(n, other)]).tolist())
            for n, other in (numbers, numbers[::-1])
        ]
        if shared := len(of[0] & of[1]):
            notes.append(
                f"{shared} clusters have documents in A and others in B: the two samples are not independent, and "
                "tests of their difference are cautious"
            )
    return notes


def flips(
    traces: tuple[SelectedDocuments, SelectedDocuments],
    pairing: Pairing,
    routers: Matched,
    groups: int,
    ticker: ProgressBars,
) -> tuple[Agreement | None, list[str]]:
    """How often the tokens that are in both chose alike, None where that is not known; and why not, if it could be."""
    if not pairing.aligned or any((x.n_experts, x.top_k) != (y.n_experts, y.top_k) for x, y in routers):
        return None, []
    both = [OrderedDocuments(trace.first(pairing.n_common)) for trace in traces]
    try:
        progress = ticker.of("comparing choices")
        return count_agreement(both[0], both[1], [x for x, _ in routers], groups, progress), []
    except RowsTooManyError as error:
        return None, [f"choices are not compared token by token: {error}"]


def side(
    path: Path,
    meta: TraceMeta,
    trace: Trace,
    domain: str | None,
    counts: Counts,
    not_measured: tuple[Finding, ...],
) -> Side:
    """What the report says of one of the two; `meta` is the trace's own."""
    groups = int(np.count_nonzero(counts.tokens))
    units = summarise_units(trace, counts.n_documents, counts.clusters)
    return Side(path.name, meta, domain, counts.n_tokens, counts.n_documents, groups, units, not_measured)


def main() -> None:
    """Entry of ``python -m routestat.compare``."""
    sys.exit(run(app, "routestat compare"))


if __name__ == "__main__":
    main()
