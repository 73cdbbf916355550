"""The command: local text → a small trained Mixtral, its loss curve and its card."""

import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import transformers
import typer

from capture.command import serve
from capture.corpus import fingerprint, read_texts
from capture.train import evaluation as exam
from capture.train import model_card as record
from capture.train.batching import windows
from capture.train.checkpoint import TrainingProgress, written
from capture.train.data import TrainingData, prepare
from capture.train.loop import StepResult, TrainingTask, train
from capture.train.loss_curve import LossCurve
from capture.train.progress import TrainingDisplay
from capture.train.recipe import END_ID, Recipe
from routestat.cli.output_folders import check_out
from routestat.errors import RoutestatError

HELD_OUT_ROWS, EVALUATION_TOKENS = 16, 1 << 17

app = typer.Typer(add_completion=False)


@app.command()
def train_model(
    text: Annotated[
        list[Path], typer.Option(help="Text files, one document each; .jsonl, one per line. Two at least.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the model; new, or with --resume.")],
    minutes: Annotated[float, typer.Option(min=0, help="Train so long.")] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Or so many steps: the same again, bit for bit.")] = 0,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the first weights and the order of the text.")
    ] = 0,
    layers: Annotated[int, typer.Option(min=1, help="Each with a router.")] = 32,
    experts: Annotated[int, typer.Option(min=1, help="Of every layer.")] = 8,
    top_k: Annotated[int, typer.Option(min=1, help="Experts that a token gets.")] = 2,
    hidden: Annotated[int, typer.Option(min=2, help="Width of the residual stream.")] = 96,
    intermediate: Annotated[int, typer.Option(min=1, help="Width of an expert.")] = 80,
    vocab: Annotated[int, typer.Option(help="Tokens of the byte-level BPE trained on the text.")] = 1024,
    context: Annotated[int, typer.Option(min=2, help="Tokens of a row.")] = 256,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a step, over all processes.")] = 4096,
    processes: Annotated[int, typer.Option(min=0, help="0: one per core, as the rows divide.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of each process; more is slower on a busy core.")] = 1,
    column: Annotated[str, typer.Option(help="The field of .jsonl lines.")] = "text",
    save_every: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 60.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Train a small Mixtral from local text on a processor, with its loss curve and a card.

    Example: python -m capture.train --text texts/*.txt --minutes 30 --out models/mine
    """
    if bool(minutes) == bool(steps) or not math.isfinite(minutes):
        raise RoutestatError("say how long: --minutes 30, or --steps 500 (not both)")
    recipe = Recipe(layers, experts, top_k, hidden, intermediate, vocab, context, batch_tokens, seed)
    recipe.check()
    for path in text:
        if not path.is_file():
            raise RoutestatError(f"--text {path}: no such file")
    documents = list(read_texts(text, column))
    if resume and not processes and (out / record.FILE).exists():
        processes = record.read(out)["options"].get("processes", 0)
    processes = _processes(processes, recipe.rows)
    options = {**vars(recipe), "minutes": minutes, "steps": steps, "processes": processes, "threads": threads}
    options["texts"] = fingerprint(documents)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    record.check(check_out(out), options, resume)
    lessons = prepare(documents, recipe, out)
    task = _task(recipe, lessons, options, out, save_every)
    # Only now: what was refused leaves nothing behind.
    record.write(out, options, None)
    lessons.tokenizer.save_pretrained(out)
    try:
        model, last, speed = _train(task)
    except KeyboardInterrupt:
        print(f"note: what was learnt is kept in {out}; go on with --resume", file=sys.stderr)
        raise
    model.config.pad_token_id = model.generation_config.pad_token_id = END_ID
    with written(out):
        model.to(torch.bfloat16).save_pretrained(out)
    asked = windows(lessons.held_out, context, EVALUATION_TOKENS)
    print(f"examining the saved model in {len(asked):,} held-out windows", file=sys.stderr)
    examined = exam.evaluate(out, lessons.tokenizer, lessons.stream, asked)
    exam.write_load(out, examined.load)
    facts = record.facts(last, examined, model, speed, lessons.held_out_share)
    record.finish(out, recipe, options, facts, documents)
    _print_summary(out, facts, examined)


def _processes(asked: int, rows: int) -> int:
    """How many processes share the rows of a step evenly."""
    if asked:
        if rows % asked:
            raise RoutestatError(
                f"--processes {asked} do not divide the {rows} rows of a step (--batch-tokens / --context)"
            )
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(n for n in range(1, min(cores, rows) + 1) if rows % n == 0)


def _task(
    recipe: Recipe, lessons: TrainingData, options: dict[str, Any], out: Path, save_every: float
) -> TrainingTask:
    whole = [row for row in windows(lessons.held_out, recipe.context, 1 << 40) if len(row) == recipe.context]
    if not whole:
        raise RoutestatError(
            f"the held-out documents are shorter than --context {recipe.context}: give longer ones, or lower it"
        )
    chosen = np.linspace(0, len(whole) - 1, min(HELD_OUT_ROWS, len(whole))).astype(int)
    return TrainingTask(
        recipe,
        vocab=len(lessons.tokenizer),
        stream=lessons.stream,
        held_out=np.stack([whole[i] for i in chosen]),
        out=out,
        steps=options["steps"],
        seconds=60 * options["minutes"],
        processes=options["processes"],
        threads=options["threads"],
        save_every=save_every,
    )


def _train(task: TrainingTask) -> tuple[Any, dict[str, str], float]:
    """The model, the last row of the curve, and tokens a second."""
    done = TrainingProgress.of(task.out)
    with LossCurve(task.out, done.step) as curve, TrainingDisplay(done) as pace:

        def hear(said: StepResult) -> None:
            curve.add(said)
            pace.advance(said, task.recipe.batch_tokens)

        model = train(task, hear)
    return model, curve.rows[-1], pace.speed


def _print_summary(out: Path, facts: dict[str, Any], examined: exam.Evaluation) -> None:
    print(
        f"{out}: {facts['tokens']:,} tokens in {facts['steps']:,} steps, {facts['seconds'] / 60:.1f} minutes "
        f"({facts['tokens_per_second']:,.0f} a second)"
    )
    print(
        f"held out: {examined.bits:.3f} bits per byte, a bigram of tokens {examined.bigram_bits:.3f} "
        f"({examined.nats:.3f} nats per token, {examined.tokens:,} tokens)"
    )
    print(
        f"load: {examined.dead} of {examined.load.size} experts dead; the least used serves "
        f"{facts['least_load']:.3f} of its layer's tokens, the most used {facts['most_load']:.3f} "
        f"(even {examined.load.sum() / examined.load.size:.3f})"
    )


def main() -> None:
    """Entry of ``python -m capture.train``."""
    serve(app, "capture.train")
