"""The command: what the user asked for → a model, a corpus, a store, and a summary."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from capture import options
from capture.forward import Runner
from capture.inputs import prepare_inputs
from capture.lookahead import Lookahead
from capture.loop import CaptureLoop
from capture.settings import Asked
from capture.store import RUN_FILE, CaptureStore, refuse_taken
from capture.summary import expert_share_lines
from routestat.cli.output_folders import check_out
from routestat.cli.runner import run
from routestat.traces.clusters.summary import summarise_units
from routestat.traces.store import Trace

app = typer.Typer(add_completion=False)


@app.command()
def capture(
    model: options.Model,
    out: Annotated[Path, typer.Option(help="Folder of the trace.")],
    text: options.Texts = None,
    dataset: options.Dataset = "",
    column: options.Column = "text",
    split: options.Split = "",
    dataset_config: options.DatasetConfig = "",
    limit: options.Limit = 0,
    max_new_tokens: Annotated[int, typer.Option(min=0, help="Tokens to generate; 0: prefill only.")] = 0,
    num_beams: Annotated[
        int, typer.Option(min=1, help="Beams of the generation; more than 1 is replayed.")
    ] = 1,
    prompt_lookup: Annotated[
        int, typer.Option(min=0, help="Guess so many tokens from the prompt (assisted generation; replayed).")
    ] = 0,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compile the generation (replayed, without a flip rate).")
    ] = False,
    sample: Annotated[
        bool, typer.Option("--sample", help="Sample as the model's own settings say, not greedily.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the sampling.")] = 0,
    chat_template: options.ChatTemplate = False,
    max_length: options.MaxLength = 0,
    window: options.Window = 0,
    batch_size: options.BatchSize = 8,
    top1: Annotated[bool, typer.Option("--top1", help="Record the heaviest expert.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="Record the experts' weights.")] = False,
    lookahead: Annotated[str, typer.Option(help="What later gates would choose: 1,2,3,4 layers on.")] = "",
    lookahead_variant: Annotated[str, typer.Option(help="input, residual or output.")] = "residual",
    dtype: options.Dtype = "auto",
    device_map: options.DeviceMap = "",
    load_in_4bit: options.In4Bit = False,
    experts: options.Experts = "",
    revision: options.Revision = "",
    trust_remote_code: options.TrustRemoteCode = False,
    threads: options.Threads = 0,
    save_every: options.SaveEvery = 60.0,
    resume: options.Resume = False,
) -> None:
    """Run a model over texts and record which experts were executed for every token.

    Example: python -m capture data/tiny-mixtral --text README.md --window 255 --out traces/readme
    """
    asked = Asked(**{name: value for name, value in locals().items() if name != "asked"})
    asked.check()
    refuse_taken(check_out(out), resume)
    prepared = prepare_inputs(asked)
    loaded = prepared.loaded
    ahead = None
    if lookahead:
        ahead = Lookahead(loaded.model, loaded.sites, asked.distances, lookahead_variant)
        ahead.prove()
    output = CaptureStore(
        out, asked.meta(loaded), asked.options(prepared.texts), resume=resume, top1=top1, weights=weights
    )
    runner = Runner(
        loaded.model,
        loaded.sites,
        loaded.pad,
        loaded.end_tokens,
        weights=top1 or weights,
        lookahead=ahead,
        generation=asked.generation,
        replayed=asked.replayed,
    )
    left = prepared.left(len(output.done))
    try:
        CaptureLoop(
            runner, output, prepared.encoder, batch_size, save_every, left, seed if sample else None
        ).run(prepared.documents())
    except KeyboardInterrupt:
        print(f"note: {len(output.done):,} documents are kept in {out}; go on with --resume", file=sys.stderr)
        raise
    _print_summary(out)


def _print_summary(out: Path) -> None:
    said = json.loads((out / RUN_FILE).read_bytes())["run"]
    seconds, tokens = said["seconds"], said["tokens"]
    energy = "" if said["joules"] is None else f"{said['joules']:,.0f} J, "
    print(f"{out}: {tokens:,} tokens in {seconds:,.1f} s ({tokens / max(seconds, 1e-9):,.0f} a second)")
    print(f"energy: {energy}{said['energy_source']}")
    if said["compared"]:
        print(
            f"replay: {said['flips']:,} of {said['compared']:,} selections differ from the generation's "
            f"({said['flips'] / said['compared']:.2%})"
        )
    for line in expert_share_lines(out):
        print(line)
    for sentence in summarise_units(Trace.open(out, verify=False)).sentences():
        print(f"note: {sentence}")


def spread_texts(arguments: Sequence[str]) -> list[str]:
    """``--text A B C`` as the command line's parser wants it: ``--text A --text B --text C``; ``--do`` alike."""
    spread: list[str] = []
    several = ""
    for argument in arguments:
        if argument.startswith("-"):
            several = argument if argument in ("--text", "--do") else ""
        elif several and spread[-1] != several:
            spread.append(several)
        spread.append(argument)
    return spread


def serve(command: typer.Typer, name: str) -> None:
    """Run a command of capture on what was typed, and leave with its exit code."""
    # A scheduler's warning is Ctrl-C: what was recorded is saved before the kill that follows it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(command, name, spread_texts(sys.argv[1:])))


def main() -> None:
    """Entry of ``python -m capture``."""
    serve(app, "capture")
