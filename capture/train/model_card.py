"""The results of a training, and the model card that states them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from capture.corpus import Document
from capture.train import checkpoint, training_record
from capture.train.evaluation import LOAD, Evaluation
from capture.train.loss_curve import CSV, PNG
from capture.train.recipe import Recipe

# Documents that the card names.
NAMED = 12


def training_results(
    last: Mapping[str, str], evaluation: Evaluation, model: Any, speed: float, held_out_share: float
) -> dict[str, Any]:
    """Return the results of a training, for ``training.json`` and the card.

    Parameters
    ----------
    last : mapping
        Last row of the loss curve.
    evaluation : Evaluation
        Of the saved model on held-out text.
    model : transformers model
    speed : float
        Tokens per second.
    held_out_share : float
        Share of the tokens that were held out.
    """
    load = evaluation.load
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "vocab": model.config.vocab_size,
        "steps": int(last["step"]),
        "tokens": int(last["tokens"]),
        "seconds": float(last["seconds"]),
        "tokens_per_second": speed,
        "held_out_share": held_out_share,
        "held_out_tokens": evaluation.tokens,
        "held_out_bytes": evaluation.n_bytes,
        "held_out_nats_per_token": evaluation.nats,
        "held_out_bits_per_byte": evaluation.bits,
        "bigram_bits_per_byte": evaluation.bigram_bits,
        "dead_experts": evaluation.dead,
        "least_load": float(load.min()),
        "least_load_layer": int(load.min(axis=1).argmin()),
        "most_load": float(load.max()),
        "most_load_layer": int(load.max(axis=1).argmax()),
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}",
    }


def finish(
    out: Path, recipe: Recipe, options: Mapping[str, Any], run: Mapping[str, Any], texts: Sequence[Document]
) -> None:
    """Write the model card and the final record, and remove the checkpoint."""
    (out / "README.md").write_text(_card(out.resolve().name, recipe, options, run, texts), encoding="utf-8")
    training_record.write(out, options, run)
    (out / checkpoint.FILE).unlink(missing_ok=True)


def _card(
    name: str, recipe: Recipe, options: Mapping[str, Any], run: Mapping[str, Any], texts: Sequence[Document]
) -> str:
    size = sum(len(document.text.encode()) for document in texts)
    listed = ", ".join(f"`{Path(document.name).name}`" for document in texts[:NAMED])
    more = f" and {len(texts) - NAMED:,} more" if len(texts) > NAMED else ""
    length = f"{options['steps']:,} steps" if options["steps"] else f"{options['minutes']:g} minutes"
    dead = "No expert is dead" if not run["dead_experts"] else f"**{run['dead_experts']} experts are dead**"
    return f"""# {name}: a small Mixtral trained from scratch

`MixtralForCausalLM` with {recipe.layers} layers, {recipe.experts} experts, top {recipe.top_k}, hidden size \
{recipe.hidden}, intermediate size {recipe.intermediate}, context {recipe.context} and a byte-level BPE of \
{run["vocab"]:,} tokens: {run["parameters"] / 1e6:.2f} million parameters, bf16. It loads with
`AutoModelForCausalLM.from_pretrained` like any Mixtral. Quote nothing here as a property of a large model.

Made by `python -m capture.train` for {length}, seed {recipe.seed}, {options["processes"]} processes of \
{options["threads"]} threads: {run["tokens"]:,} tokens in {run["steps"]:,} steps of {recipe.batch_tokens:,}, \
{run["seconds"] / 60:.1f} minutes ({run["versions"]}). `{CSV}` and `{PNG}` show the loss, `{LOAD}` the \
load of every expert, `training.json` all options and results.

| on {run["held_out_tokens"]:,} held-out tokens ({run["held_out_bytes"]:,} bytes) | |
| --- | --- |
| bits per byte | {run["held_out_bits_per_byte"]:.3f} |
| bigram of tokens, bits per byte | {run["bigram_bits_per_byte"]:.3f} |
| nats per token | {run["held_out_nats_per_token"]:.3f} |

{dead}: the least used serves {run["least_load"]:.3f} of the tokens of its layer ({run["least_load_layer"]}), the \
most used {run["most_load"]:.3f} (layer {run["most_load_layer"]}); {recipe.top_k / recipe.experts:.3f} is even.

## Text

{len(texts):,} documents, {size:,} bytes: {listed}{more}. {run["held_out_share"]:.1%} \
of the tokens were held out, by whole documents. The licence
of the weights follows from that of the text.

## Use

```sh
python -m capture {name} --text FILE --dtype float32 --window {recipe.context - 1} --out traces/{name}
```
"""
