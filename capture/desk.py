"""The command: what the user asked for → a model, a corpus, a store, and a summary."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import transformers
import typer

from capture.asked import Asked
from capture.corpus import Encoder, limited, read_texts
from capture.lookahead import Lookahead
from capture.model import load
from capture.output import RUN_FILE, Output, refuse_taken
from capture.runs import Runner
from capture.shares import lines_of_shares
from capture.work import Work
from routestat.desk import check_out, run

app = typer.Typer(add_completion=False)


@app.command()
def capture(
    model: Annotated[str, typer.Argument(help="A folder or a name on the hub.")],
    out: Annotated[Path, typer.Option(help="Folder of the trace.")],
    text: Annotated[
        list[Path] | None,
        typer.Option(help="Text files, one document each; .jsonl, one per line."),
    ] = None,
    dataset: Annotated[str, typer.Option(help="A data set on the hub or on disk, streamed.")] = "",
    column: Annotated[str, typer.Option(help="Its column, or the field of .jsonl lines.")] = "text",
    split: Annotated[str, typer.Option(help="Its split, where it has several.")] = "",
    dataset_config: Annotated[str, typer.Option(help="Its configuration, where it has several.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Only the first so many documents; 0: all.")] = 0,
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
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    chat_template: Annotated[
        bool, typer.Option("--chat-template", help="Put texts into the model's chat template.")
    ] = False,
    max_length: Annotated[int, typer.Option(min=0, help="Keep the first tokens of a document; 0: all.")] = 0,
    window: Annotated[
        int,
        typer.Option(min=0, help="Run documents in windows of so many tokens, each behind a start token."),
    ] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts run at once.")] = 8,
    top1: Annotated[bool, typer.Option("--top1", help="Record the heaviest expert.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="Record the experts' weights.")] = False,
    lookahead: Annotated[str, typer.Option(help="What later gates would choose: 1,2,3,4 layers on.")] = "",
    lookahead_variant: Annotated[str, typer.Option(help="input, residual or output.")] = "residual",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device_map: Annotated[
        str, typer.Option(help="Where the weights go [default: auto where there is a card].")
    ] = "",
    load_in_4bit: Annotated[bool, typer.Option("--load-in-4bit", help="Quantise with bitsandbytes.")] = False,
    experts: Annotated[str, typer.Option(help="Experts' kernel: eager, batched_mm, grouped_mm …")] = "",
    revision: Annotated[str, typer.Option(help="Revision of the model on the hub.")] = "",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the model's own code.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0: as torch chooses.")] = 0,
    save_every: Annotated[float, typer.Option(min=0, help="Seconds between saves.")] = 60.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
) -> None:
    """Run a model over texts and record which experts were executed for every token.

    Example: python -m capture data/tiny-mixtral --text README.md --window 255 --out traces/readme
    """
    asked = Asked(**{name: value for name, value in locals().items() if name != "asked"})
    asked.check()
    if threads:
        torch.set_num_threads(threads)
    transformers.set_seed(seed)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    refuse_taken(check_out(out), resume)
    texts = list(limited(read_texts(text, column), limit)) if text else None
    loaded = load(
        model,
        dtype=dtype,
        device_map=device_map,
        load_in_4bit=load_in_4bit,
        experts=experts,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    for module in loaded.quantised_routers:
        print(
            f"note: {module} was quantised with the experts; its choices are not the original's",
            file=sys.stderr,
        )
    encoder = Encoder(loaded.tokenizer, chat_template, max_length, window, loaded.context, max_new_tokens)
    for document in texts or ():
        # All of them before any work: the longest may come last.
        encoder.encode(document)
    ahead = None
    if lookahead:
        ahead = Lookahead(loaded.model, loaded.sites, asked.distances, lookahead_variant)
        ahead.prove()
    output = Output(out, asked.meta(loaded), asked.options(texts), resume=resume, top1=top1, weights=weights)
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
    total = len(texts) if texts is not None else limit
    documents = iter(texts) if texts is not None else asked.streamed()
    try:
        Work(runner, output, encoder, batch_size, save_every, max(total - len(output.done), 0) or None).do(
            documents
        )
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
    for line in lines_of_shares(out):
        print(line)


def spread_texts(arguments: Sequence[str]) -> list[str]:
    """``--text A B C`` as the command line's parser wants it: ``--text A --text B --text C``."""
    spread: list[str] = []
    after_text = False
    for argument in arguments:
        if argument.startswith("-"):
            after_text = argument == "--text"
        elif after_text and spread[-1] != "--text":
            spread.append("--text")
        spread.append(argument)
    return spread


def main() -> None:
    """Entry of ``python -m capture``."""
    # A scheduler's warning is Ctrl-C: what was recorded is saved before the kill that follows it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(app, "capture", spread_texts(sys.argv[1:])))
