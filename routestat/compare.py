"""python -m routestat.compare A B: how the routing of two traces differs."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from routestat.cli import options
from routestat.cli.output_folders import check_out, keep_traces_apart, named_folder
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app, parse_layers, require_tokens, run
from routestat.errors import RoutestatError
from routestat.progress import limited_threads
from routestat.report.html.comparison import write_comparison
from routestat.report.terminal.comparison import summarise
from routestat.study.comparison_inputs import compare_documents
from routestat.traces.locations import locate
from routestat.traces.pairing.document_contents import Document, documents_of, documents_of_domain
from routestat.traces.pairing.document_matching import WISHES
from routestat.traces.pairing.layer_matching import WAYS
from routestat.traces.pairing.trace_matching import match_traces
from routestat.traces.store import Trace

app = new_app()


@app.command()
def compare(
    a: options.TraceFolder,
    b: Annotated[
        Path, typer.Argument(parser=locate, help="Another trace, or the same one with other documents.")
    ],
    layers: Annotated[
        str, typer.Option(help="Layers of A, such as 0-31 or 0,4,8, or all that both have.")
    ] = "all",
    out: options.ReportFolder = None,
    domain_a: Annotated[str | None, typer.Option(help="Only documents of this domain of A.")] = None,
    domain_b: Annotated[str | None, typer.Option(help="Only documents of this domain of B.")] = None,
    paired: Annotated[
        str,
        typer.Option(
            help="Compare documents that are in both traces in pairs, found by token ids or choices: auto, yes or no; "
            "with yes also by name."
        ),
    ] = "auto",
    match_layers: Annotated[
        str,
        typer.Option(
            help="Which layer of B is which of A: by number, in order, or auto: by number unless a source does not "
            "number its layers."
        ),
    ] = "auto",
    groups: options.Groups = 256,
    threads: options.Threads = None,
    cluster: options.Cluster = None,
    template: options.Template = "once",
    drop_dummy_rows: options.DummyRows = False,
    seed: options.Seed = 0,
) -> None:
    """Compare the routing of two traces.

    Which distributions of layers and transitions differ, by how much, and which cells, with whole documents as the
    units. For data sets, prompts, precisions and quantisations.

    Example: python -m routestat.compare traces/mine-bf16 traces/mine-int4 --layers 0-31
    """
    wanted = parse_layers(layers)
    if paired not in WISHES:
        raise RoutestatError(f"--paired is {', '.join(WISHES)}, got {paired!r}")
    if match_layers not in WAYS:
        raise RoutestatError(f"--match-layers is {', '.join(WAYS)}, got {match_layers!r}")
    with ProgressBars() as ticker, limited_threads(threads):
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
        names = (a.resolve().name, domain_a, b.resolve().name, domain_b)
        folder = out or named_folder("compare", *filter(None, names))
        chosen = _documents_to_compare((first, second), (domain_a, domain_b), ticker)
        found = match_traces((first, second), chosen, wanted, match_layers, paired)
        keep_traces_apart(folder)
        check_out(folder)
        for trace in found.traces:
            require_tokens(trace, None)
        rng = np.random.default_rng(seed)
        findings = compare_documents(
            (a, b),
            (first, second),
            chosen,
            (domain_a, domain_b),
            found,
            rng,
            groups=groups,
            threads=threads,
            tick=ticker,
        )
        page = write_comparison(findings, folder, tick=ticker)
    summarise(findings, page)


def _documents_to_compare(
    traces: tuple[Trace, Trace], domains: tuple[str | None, str | None], ticker: ProgressBars
) -> tuple[list[Document], list[Document]]:
    """Return the documents of both traces, those of the domains where they are given."""
    first, second = traces
    read = documents_of(first, ticker.of("reading documents of A"))
    other = read if second is first else documents_of(second, ticker.of("reading documents of B"))
    chosen = (
        documents_of_domain(read, domains[0], "--domain-a"),
        documents_of_domain(other, domains[1], "--domain-b"),
    )
    for name, documents in zip("AB", chosen, strict=True):
        if not documents:
            raise RoutestatError(f"{name} holds no tokens: there is nothing to compare")
    return chosen


def main() -> None:
    """Entry of ``python -m routestat.compare``."""
    sys.exit(run(app, "routestat compare"))


if __name__ == "__main__":
    main()
