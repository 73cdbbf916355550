"""Command-line options that several commands have, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

from routestat.traces.locations import locate

# A URL becomes a `UrlPath`, which has the methods of Path that reading a trace needs.
TraceFolder = Annotated[
    Path,
    typer.Argument(
        parser=locate,
        help="A trace: a folder that capture or convert wrote, or its URL, such as s3://bucket/trace.",
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A report that analyze wrote, or a trace.")]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the report (if not given: reports/ and the trace's name, or compare-A-B for two traces)."
    ),
]
ServingFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the report (if not given: reports/ and the command's and the trace's names)."
    ),
]
Layers = Annotated[str, typer.Option(help="Layers, such as 0-31 or 0,4,8, or all.")]
Alpha = Annotated[
    str, typer.Option(help="Prior of the chain: empirical-bayes, hierarchical, jeffreys, perks or a number.")
]
AlphaOfTrace = Annotated[
    str,
    typer.Option(
        help="Prior, when RUN is a trace: empirical-bayes (if not given), hierarchical, jeffreys, perks or a number."
    ),
]
Groups = Annotated[int, typer.Option(min=1, help="Groups of whole documents that tables are kept for.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads (if not given: all cores).")]
TopRows = Annotated[int, typer.Option(min=1, help="Most rows of each table to print.")]
Predictor = Annotated[
    str | None,
    typer.Option(
        "--with",
        help="Predictor: a ridge of the report, such as ridge-all or ridge-all-token-id, a chain such as layer-1, or "
        "best: of least log loss on held-out documents. If not given: the chain.",
    ),
]
PreviousChoices = Annotated[
    str | None,
    typer.Option(
        "--previous",
        help="With a ridge: choices of the previous token from the first layer on, such as 1,7/-/2,3 (- for an "
        "unknown one); none: there is no previous token.",
    ),
]
TokenId = Annotated[int | None, typer.Option("--token", help="With a ridge: the id of the token.")]
PreviousTokenId = Annotated[
    int | None, typer.Option("--previous-token", help="With a ridge: the id of the previous token.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="Column of the trace's documents that says which belong together, such as domain; document: each is "
        "independent. If not given: what the source said, and documents that share their beginning."
    ),
]
DummyRows = Annotated[
    bool,
    typer.Option(
        "--drop-dummy-rows",
        help="Leave out rows and layers that are not measurements (warm-up, padding, stuck or never written rows; in "
        "imported files also ids that are not experts); inside documents they become missing. If not given they are "
        "noted and kept.",
    ),
]
Template = Annotated[
    str,
    typer.Option(
        help="A beginning that most documents share: count it once, drop it, or keep it in every document."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Worker processes of this machine that read the trace, each a part (Dask)."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="A running Dask scheduler, such as tcp://host:8786, whose workers read the trace, each a part; they have "
        "to see it under the same path or URL.",
    ),
]
