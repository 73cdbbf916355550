"""Command-line options that several commands of capture have, each declared once.

Options of a run over documents are the fields of `capture.settings.RunSettings`; options that are also those of
`routestat` are in `routestat.cli.options`.
"""

from pathlib import Path
from typing import Annotated

import typer

# transformers seeds torch and numpy together, and the latter takes 32 bits.
LARGEST_SEED = 2**32 - 1
TEXT_HELP = "Text files, one document each; .jsonl, one document per line."

Out = Annotated[Path, typer.Option(help="Folder to write to.")]
Column = Annotated[
    str, typer.Option(help="Column of the data set, or field of .jsonl lines, that holds the text.")
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of all random numbers.")]
SaveEvery = Annotated[float, typer.Option(min=0, help="Seconds between saves.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue where an earlier run stopped.")]
