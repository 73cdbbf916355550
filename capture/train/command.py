"""The command ``python -m capture.train``: local text → a small trained Mixtral, its loss curve and a model card."""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import transformers
import typer

from capture import options
from capture.command_line import run_command
from capture.corpus import Document, fingerprint, read_texts
from capture.train import training_record
from capture.train.batching import windows
from capture.train.checkpoint import TrainingProgress, disk_errors
from capture.train.data import TrainingData, prepare_data
from capture.train.evaluation import Evaluation, evaluate, write_load
from capture.train.loop import StepResult, TrainingTask, train
from capture.train.loss_curve import LossCurve
from capture.train.model_card import finish, training_results
from capture.train.progress_display import TrainingDisplay
from capture.train.recipe import END_ID, Recipe
from routestat.cli.output_folders import check_out
from routestat.cli.runner import new_app
from routestat.errors import RoutestatError

# Rows of the held-out loss during the training, and tokens of the evaluation after it.
HELD_OUT_ROWS, EVALUATION_TOKENS = 16, 1 << 17

app = new_app()


@app.command()
def train_model(
    text: Annotated[list[Path], typer.Option(help=f"{options.TEXT_HELP} At least two documents.")],
    out: options.Out,
    minutes: Annotated[float, typer.Option(min=0, help="Duration of the training.")] = 0,
    steps: Annotated[
        int, typer.Option(min=0, help="Or number of steps: the result is then reproducible bit for bit.")
    ] = 0,
    seed: options.Seed = 0,
    layers: Annotated[int, typer.Option(min=1, help="Layers, each with a router.")] = 32,
    experts: Annotated[int, typer.Option(min=1, help="Experts per layer.")] = 8,
    top_k: Annotated[int, typer.Option(min=1, help="Experts per token.")] = 2,
    hidden: Annotated[int, typer.Option(min=2, help="Width of the residual stream.")] = 96,
    intermediate: Annotated[int, typer.Option(min=1, help="Width of an expert.")] = 80,
    vocab: Annotated[int, typer.Option(help="Tokens of the byte-level BPE trained on the text.")] = 1024,
    context: Annotated[int, typer.Option(min=2, help="Tokens per row.")] = 256,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens per step over all processes.")] = 4096,
    processes: Annotated[
        int,
        typer.Option(min=0, help="Processes that share the rows of a step evenly; 0: up to one per core."),
    ] = 0,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of each process; more than 1 is slower on busy cores.")
    ] = 1,
    column: options.Column = "text",
    save_every: options.SaveEvery = 60.0,
    resume: options.Resume = False,
) -> None:
    """Train a small Mixtral from local text on a processor, with its loss curve and a model card.

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
    if resume and not processes and (out / training_record.FILE).exists():
        processes = training_record.read(out)["options"].get("processes", 0)
    processes = _processes(processes, recipe.rows)
    chosen = {**vars(recipe), "minutes": minutes, "steps": steps, "processes": processes, "threads": threads}
    chosen["texts"] = fingerprint(documents)
    _train_and_evaluate(documents, recipe, chosen, out, save_every=save_every, resume=resume)


def _train_and_evaluate(
    documents: Sequence[Document],
    recipe: Recipe,
    chosen: dict[str, Any],
    out: Path,
    *,
    save_every: float,
    resume: bool,
) -> None:
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(chosen["threads"])
    training_record.check_folder(check_out(out), chosen, resume)
    data = prepare_data(documents, recipe, out)
    task = _task(recipe, data, chosen, out, save_every)
    # Written only now, so that a refused training leaves no file behind.
    training_record.write(out, chosen, None)
    data.tokenizer.save_pretrained(out)
    try:
        model, last, speed = _train(task)
    except KeyboardInterrupt:
        print(f"note: the last checkpoint is kept in {out}; continue with --resume", file=sys.stderr)
        raise
    model.config.pad_token_id = model.generation_config.pad_token_id = END_ID
    with disk_errors(out):
        model.to(torch.bfloat16).save_pretrained(out)
    held_out = windows(data.held_out, recipe.context, EVALUATION_TOKENS)
    print(f"evaluating the saved model on {len(held_out):,} held-out windows", file=sys.stderr)
    evaluation = evaluate(out, data.tokenizer, data.stream, held_out)
    write_load(out, evaluation.load)
    results = training_results(last, evaluation, model, speed, data.held_out_share)
    finish(out, recipe, chosen, results, documents)
    _print_summary(out, results, evaluation)


def _processes(wanted: int, rows: int) -> int:
    """Return the number of processes, which share the rows of a step evenly."""
    if wanted:
        if rows % wanted:
            raise RoutestatError(
                f"--processes {wanted} do not divide the {rows} rows of a step (--batch-tokens / --context)"
            )
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(n for n in range(1, min(cores, rows) + 1) if rows % n == 0)


def _task(
    recipe: Recipe, data: TrainingData, chosen: dict[str, Any], out: Path, save_every: float
) -> TrainingTask:
    whole = [row for row in windows(data.held_out, recipe.context, 1 << 40) if len(row) == recipe.context]
    if not whole:
        raise RoutestatError(
            f"the held-out documents are shorter than --context {recipe.context}: give longer ones, or lower it"
        )
    rows = np.linspace(0, len(whole) - 1, min(HELD_OUT_ROWS, len(whole))).astype(int)
    return TrainingTask(
        recipe,
        vocab=len(data.tokenizer),
        stream=data.stream,
        held_out=np.stack([whole[i] for i in rows]),
        out=out,
        steps=chosen["steps"],
        seconds=60 * chosen["minutes"],
        processes=chosen["processes"],
        threads=chosen["threads"],
        save_every=save_every,
    )


def _train(task: TrainingTask) -> tuple[Any, dict[str, str], float]:
    """Return the model, the last row of the loss curve, and tokens per second."""
    done = TrainingProgress.of(task.out)
    with LossCurve(task.out, done.step) as curve, TrainingDisplay(done) as display:

        def on_step(result: StepResult) -> None:
            curve.add(result)
            display.advance(result, task.recipe.batch_tokens)

        model = train(task, on_step)
    return model, curve.rows[-1], display.speed


def _print_summary(out: Path, results: dict[str, Any], evaluation: Evaluation) -> None:
    print(
        f"{out}: {results['tokens']:,} tokens in {results['steps']:,} steps, {results['seconds'] / 60:.1f} minutes "
        f"({results['tokens_per_second']:,.0f} a second)"
    )
    print(
        f"held out: {evaluation.bits:.3f} bits per byte, a bigram of tokens {evaluation.bigram_bits:.3f} "
        f"({evaluation.nats:.3f} nats per token, {evaluation.tokens:,} tokens)"
    )
    print(
        f"load: {evaluation.dead} of {evaluation.load.size} experts dead; the least used serves "
        f"{results['least_load']:.3f} of its layer's tokens, the most used {results['most_load']:.3f} "
        f"(even {evaluation.load.sum() / evaluation.load.size:.3f})"
    )


def main() -> None:
    """Run the command on the arguments of the process."""
    run_command(app, "capture.train")
