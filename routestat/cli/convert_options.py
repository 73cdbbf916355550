"""The options of ``convert``."""

from pathlib import Path
from typing import Annotated

import typer

from routestat.traces.importers.registry import FORMATS

Sources = Annotated[
    list[Path],
    typer.Argument(
        help="A file or folder of one of the formats, a .parquet that convert wrote, or a trace; several "
        "files of a table, or a quoted pattern such as 'traces/*.csv.gz'."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder of the new trace, or a .parquet or .npz file to write a trace to."),
]
Show = Annotated[
    bool,
    typer.Option("--show", help="Print what the file is recognised as, and change nothing."),
]
Name = Annotated[str, typer.Option(help="Name of the trace; the folder's if not given.")]
Model = Annotated[str, typer.Option(help="Model that was routed.")]
Dataset = Annotated[str, typer.Option(help="What the documents are.")]
Origin = Annotated[str, typer.Option(help="Where the file came from.")]
Licence = Annotated[str, typer.Option(help="Licence of the data.")]
LicenceFile = Annotated[Path | None, typer.Option(help="Licence text, copied into the trace.")]
Slots = Annotated[
    str,
    typer.Option(help="Order of the k slots: weight (heaviest first; the first is kept as top1) or unknown."),
]
Window = Annotated[
    int,
    typer.Option(
        min=0,
        help="Tokens the model saw at once, if documents were cut into windows; 0: documents ran whole.",
    ),
]
ShardRows = Annotated[int, typer.Option(min=1, help="Tokens per shard.")]
Format = Annotated[
    str, typer.Option("--format", help=f"auto (recognised by the content), parquet, {', '.join(FORMATS)}.")
]
Layers = Annotated[
    str, typer.Option(help="MoE layers to take, or their numbers where the file has none; 0-31 or 1,3,5.")
]
NExperts = Annotated[int | None, typer.Option(min=1, help="Experts per router, where the file does not say.")]
TopK = Annotated[int | None, typer.Option(min=1, help="Experts per token, where the file does not say.")]
EndOfDocument = Annotated[int | None, typer.Option(help="Token id that ends a document, for flame-moe.")]
SequenceLength = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens of a sequence, each a document, for flame-moe and megatron."),
]
Iteration = Annotated[int | None, typer.Option(min=0, help="Which checkpoint, for flame-moe.")]
Stride = Annotated[
    int | None, typer.Option(min=2, help="Integers per row of a complete argsort (n_expert), for llama-cpp.")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="Field or column that says which documents belong together (samples of one prompt, turns of one "
        "conversation), such as conversation_id; if not given, found from ids and shared prefixes."
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="Columns of a table by role: document=req,position=step,layer=layer,experts=topk. Roles: document, "
        "position, layer, experts (a list, or several columns: experts=e0+e1) or expert with one per row (and "
        "slot or weight); also token, phase, domain, cluster, weights. If not given, recognised."
    ),
]
Axes = Annotated[
    str | None,
    typer.Option(
        help="Order of an array's axes, where it is ambiguous: tokens,layers,k or layers,tokens,k, or the three "
        "words in any other order."
    ),
]
SequenceParallel = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Adjacent ranks that each hold a part of every sequence, for megatron: they are joined.",
    ),
]
Shape = Annotated[
    str | None, typer.Option(help="Shape of packed bytes, such as 1000,24,2 (tokens, layers, k).")
]
Dtype = Annotated[str | None, typer.Option(help="Type of packed bytes, such as uint8.")]
Logits = Annotated[
    bool,
    typer.Option(
        "--logits",
        help="The arrays hold router logits; the --top-k largest of each row are the chosen experts.",
    ),
]
SkipFailed = Annotated[
    bool,
    typer.Option(
        "--skip-failed", help="Leave out records without routing (failed requests), and count them."
    ),
]
