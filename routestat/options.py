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
Template = Annotated[
    str,
    typer.Option(
        help="A beginning that most documents share: count it once, drop it, or keep it in every document."
    ),
]
