"""Options that several commands have, declared once."""

from typing import Annotated

import typer

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
        help="Leave out rows and layers that are no measurements (warm-up, padding, stuck or never written rows); "
        "inside documents they become missing. If not given they are noted and counted.",
    ),
]
Template = Annotated[
    str,
    typer.Option(
        help="A beginning that most documents share: count it once, drop it, or keep it in every document."
    ),
]
