"""The options of a run over documents, and of what is recorded in it; each field is declared as an option."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from capture import options
from routestat.errors import RoutestatError

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class RunSettings:
    """Which documents run through which model: the options of every command that runs a model."""

    model: Annotated[str, typer.Argument(help="Model: a folder, or a name on the hub.")]
    out: options.Out
    text: Annotated[list[Path] | None, typer.Option(help=options.TEXT_HELP)] = None
    dataset: Annotated[str, typer.Option(help="Data set on the hub or on disk, streamed.")] = ""
    column: options.Column = "text"
    split: Annotated[str, typer.Option(help="Split of the data set, where it has several.")] = ""
    dataset_config: Annotated[
        str, typer.Option(help="Configuration of the data set, where it has several.")
    ] = ""
    limit: Annotated[int, typer.Option(min=0, help="Number of documents; 0: all.")] = 0
    chat_template: Annotated[
        bool, typer.Option("--chat-template", help="Put texts into the model's chat template.")
    ] = False
    max_length: Annotated[
        int, typer.Option(min=0, help="Keep this many tokens of each document; 0: all.")
    ] = 0
    window: Annotated[
        int,
        typer.Option(min=0, help="Run documents in windows of this many tokens, each after a start token."),
    ] = 0
    batch_size: Annotated[int, typer.Option(min=1, help="Texts that run together.")] = 8
    dtype: Annotated[str, typer.Option(help=f"Number type of the weights: {', '.join(DTYPES)}.")] = "auto"
    device_map: Annotated[
        str, typer.Option(help="Devices of the weights (if not given: auto where there is a GPU).")
    ] = ""
    load_in_4bit: Annotated[
        bool, typer.Option("--load-in-4bit", help="Quantise the weights to 4 bits with bitsandbytes.")
    ] = False
    experts: Annotated[str, typer.Option(help="Kernel of the experts: eager, batched_mm, grouped_mm …")] = ""
    revision: Annotated[str, typer.Option(help="Revision of the model on the hub.")] = ""
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that the model brings.")
    ] = False
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0: torch's default.")] = 0
    save_every: options.SaveEvery = 60.0
    resume: options.Resume = False

    def check(self) -> None:
        """Refuse options that cannot be combined, before anything is loaded.

        Raises
        ------
        RoutestatError
            Naming the option.
        """
        if bool(self.text) == bool(self.dataset):
            raise RoutestatError("name what to run: --text FILE, or --dataset NAME with --column")
        for path in self.text or ():
            if not path.is_file():
                raise RoutestatError(f"--text {path}: no such file")
        if self.dtype not in DTYPES:
            raise RoutestatError(f"--dtype is {', '.join(DTYPES)}, got {self.dtype!r}")


@dataclass(frozen=True)
class RecordSettings:
    """How documents continue and which columns are recorded; the defaults record a prefill's choices alone."""

    max_new_tokens: Annotated[int, typer.Option(min=0, help="Tokens to generate; 0: prefill only.")] = 0
    num_beams: Annotated[
        int, typer.Option(min=1, help="Beams of the generation; more than 1 is replayed.")
    ] = 1
    prompt_lookup: Annotated[
        int,
        typer.Option(
            min=0, help="Tokens per step that are guessed from the prompt (assisted generation; replayed)."
        ),
    ] = 0
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compile the generation (replayed, without a flip rate).")
    ] = False
    sample: Annotated[
        bool,
        typer.Option("--sample", help="Sample with the model's own settings instead of greedy decoding."),
    ] = False
    seed: options.Seed = 0
    top1: Annotated[bool, typer.Option("--top1", help="Record the expert with the largest weight.")] = False
    weights: Annotated[bool, typer.Option("--weights", help="Record the experts' weights.")] = False
    lookahead: Annotated[
        str, typer.Option(help="Record what the gates of later layers would choose: 1,2,3,4 layers ahead.")
    ] = ""
    lookahead_variant: Annotated[
        str, typer.Option(help="Input of those gates: input, residual or output.")
    ] = "residual"

    def check(self, run: RunSettings) -> None:
        """Refuse options that cannot be combined with each other or with those of the run.

        Raises
        ------
        RoutestatError
            Naming the option.
        """
        if run.window and self.max_new_tokens:
            raise RoutestatError(
                "--window cuts documents for prefill; it cannot be combined with --max-new-tokens"
            )
        if self.is_replayed and not self.max_new_tokens:
            raise RoutestatError(
                "--num-beams, --prompt-lookup and --compiled are ways to generate: add --max-new-tokens"
            )
        if self.sample and not self.max_new_tokens:
            raise RoutestatError("--sample is a way to generate: add --max-new-tokens")
        if self.prompt_lookup and run.batch_size > 1:
            raise RoutestatError("--prompt-lookup runs one text at a time: add --batch-size 1")
        _ = self.distances

    @property
    def distances(self) -> list[int]:
        """Layers ahead of the lookahead; empty without one.

        Raises
        ------
        RoutestatError
            If the option holds anything but whole numbers.
        """
        parts = [part.strip() for part in self.lookahead.split(",") if part.strip()]
        if not all(part.isdigit() for part in parts):
            raise RoutestatError(
                f"--lookahead wants numbers of layers such as 1,2,3,4, got {self.lookahead!r}"
            )
        return [int(part) for part in parts]

    @property
    def is_replayed(self) -> bool:
        """Whether a second pass over the final tokens is recorded instead of the generation."""
        return self.num_beams > 1 or self.prompt_lookup > 0 or self.compiled

    @property
    def generation(self) -> dict[str, Any]:
        """Arguments of ``generate``; empty for prefill only."""
        if not self.max_new_tokens:
            return {}
        arguments: dict[str, Any] = {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": self.sample,
            "disable_compile": not self.compiled,
        }
        if self.num_beams > 1:
            arguments["num_beams"] = self.num_beams
        if self.prompt_lookup:
            arguments["prompt_lookup_num_tokens"] = self.prompt_lookup
        if self.compiled:
            arguments["cache_implementation"] = "static"
        return arguments
