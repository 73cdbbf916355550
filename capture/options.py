"""The options that the commands of capture share, each with its help: what to run, and on which model."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(help="A folder or a name on the hub.")]
Texts = Annotated[
    list[Path] | None,
    typer.Option(help="Text files, one document each; .jsonl, one per line."),
]
Dataset = Annotated[str, typer.Option(help="A data set on the hub or on disk, streamed.")]
Column = Annotated[str, typer.Option(help="Its column, or the field of .jsonl lines.")]
Split = Annotated[str, typer.Option(help="Its split, where it has several.")]
DatasetConfig = Annotated[str, typer.Option(help="Its configuration, where it has several.")]
Limit = Annotated[int, typer.Option(min=0, help="Only the first so many documents; 0: all.")]
ChatTemplate = Annotated[
    bool, typer.Option("--chat-template", help="Put texts into the model's chat template.")
]
MaxLength = Annotated[int, typer.Option(min=0, help="Keep the first tokens of a document; 0: all.")]
Window = Annotated[
    int,
    typer.Option(min=0, help="Run documents in windows of so many tokens, each behind a start token."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Texts run at once.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
DeviceMap = Annotated[str, typer.Option(help="Where the weights go [default: auto where there is a card].")]
In4Bit = Annotated[bool, typer.Option("--load-in-4bit", help="Quantise with bitsandbytes.")]
Experts = Annotated[str, typer.Option(help="Experts' kernel: eager, batched_mm, grouped_mm …")]
Revision = Annotated[str, typer.Option(help="Revision of the model on the hub.")]
TrustRemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's own code.")]
Threads = Annotated[int, typer.Option(min=0, help="Processor threads; 0: as torch chooses.")]
SaveEvery = Annotated[float, typer.Option(min=0, help="Seconds between saves.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")]
