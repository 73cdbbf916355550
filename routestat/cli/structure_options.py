"""Options of `analyze` that say which structure is looked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from routestat.structure.block_search import check_blocks
from routestat.study.model_facts import read_model_facts
from routestat.study.structure_plan import StructurePlan
from routestat.traces.token_texts import read_token_texts

Blocks = Annotated[int, typer.Option(min=1, help="Most blocks of each side per transition.")]
BlocksMethod = Annotated[
    str,
    typer.Option(help="How blocks are found: evidence, cocluster or bicluster (spectral, for comparison)."),
]
BlocksMatrix = Annotated[
    str,
    typer.Option(help="What is alike inside a block: the lift, the conditional or the joint probability."),
]
Paths = Annotated[int, typer.Option(min=1, help="Dominant and most frequent paths listed.")]
Triples = Annotated[bool, typer.Option(help="Also count three consecutive layers together.")]
Documents = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Show the routing of this document token by token; may be given again."
    ),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(
        help="The model's tokenizer.json, or its folder: classes of tokens are found from their text."
    ),
]
ModelConfig = Annotated[
    Path | None, typer.Option(help="The model's config.json, or its folder: its numbers of parameters.")
]
SharedModules = Annotated[
    bool,
    typer.Option(
        help="All routers choose among the same modules: ids of different layers are the same module. "
        "Known where the trace's metadata say so."
    ),
]


def structure_plan(
    blocks: int,
    blocks_method: str,
    blocks_matrix: str,
    paths: int,
    triples: bool,
    documents: Sequence[str],
    tokenizer: Path | None,
    model_config: Path | None,
    shared_modules: bool,
) -> StructurePlan:
    """Return what the options request of a study; files are read first, so that a bad one fails at once.

    Parameters
    ----------
    blocks, blocks_method, blocks_matrix, paths, triples, documents, tokenizer, model_config, shared_modules
        As the options of `analyze`.
    """
    check_blocks(blocks_method, blocks_matrix, blocks)
    return StructurePlan(
        blocks,
        blocks_method,
        blocks_matrix,
        paths,
        triples,
        tuple(documents),
        None if tokenizer is None else read_token_texts(tokenizer),
        None if model_config is None else read_model_facts(model_config),
        shared_modules,
    )
