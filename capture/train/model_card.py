"""The record of a training beside its model: what was asked, what came of it, and the card that says so."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from capture.corpus import Document
from capture.train import checkpoint
from capture.train.evaluation import LOAD, Evaluation
from capture.train.loss_curve import CSV, PNG
from capture.train.recipe import Recipe
from routestat.errors import RoutestatError
from routestat.traces.manifest import replace_file

FILE = "training.json"
NAMED = 12


def check(out: Path, options: Mapping[str, Any], resume: bool) -> None:
    """See that a folder is free for a training, or holds the one that is to go on.

    Raises
    ------
    RoutestatError
        If the folder holds something and `resume` is not set, was made with other options, or is finished.
    """
    file = out / FILE
    if not resume or not file.exists():
        if out.is_dir() and any(out.iterdir()):
            there = "holds a training" if file.exists() else "holds files that are no training"
            raise RoutestatError(f"--out {out}: {there}; {_way_out(file.exists())}")
        return
    record = read(out)
    if record["run"] is not None:
        raise RoutestatError(f"--out {out}: this training is finished; name another folder for another")
    changed = [name for name in options if record["options"].get(name) != options[name]]
    if changed:
        raise RoutestatError(
            f"--out {out}: was made with {changed[0]} {record['options'].get(changed[0])!r}, not "
            f"{options[changed[0]]!r}; resume with the same options or name another folder"
        )


def _way_out(training: bool) -> str:
    return "go on with --resume, or name another folder" if training else "name another folder"


def read(out: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises
    ------
    RoutestatError
        If it is damaged.
    """
    try:
        record = json.loads((out / FILE).read_bytes())
        if isinstance(record["options"], dict) and "run" in record:
            return dict(record)
    except (ValueError, TypeError, KeyError):
        pass
    raise RoutestatError(f"{out / FILE}: not the record of a training; name another folder")


def write(out: Path, options: Mapping[str, Any], run: Mapping[str, Any] | None) -> None:
    """``training.json``; `run` is None until the training is finished."""
    out.mkdir(parents=True, exist_ok=True)
    record = {"options": dict(options), "run": None if run is None else dict(run)}
    replace_file(out / FILE, json.dumps(record, indent=1, ensure_ascii=False).encode())


def facts(
    last: Mapping[str, str], exam: Evaluation, model: Any, speed: float, held_out_share: float
) -> dict[str, Any]:
    """What came of a training, for ``training.json`` and the card."""
    load = exam.load
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "vocab": model.config.vocab_size,
        "steps": int(last["step"]),
        "tokens": int(last["tokens"]),
        "seconds": float(last["seconds"]),
        "tokens_per_second": speed,
        "held_out_share": held_out_share,
        "held_out_tokens": exam.tokens,
        "held_out_bytes": exam.n_bytes,
        "held_out_nats_per_token": exam.nats,
        "held_out_bits_per_byte": exam.bits,
        "bigram_bits_per_byte": exam.bigram_bits,
        "dead_experts": exam.dead,
        "least_load": float(load.min()),
        "least_load_layer": int(load.min(axis=1).argmin()),
        "most_load": float(load.max()),
        "most_load_layer": int(load.max(axis=1).argmax()),
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}",
    }


def finish(
    out: Path, recipe: Recipe, options: Mapping[str, Any], run: Mapping[str, Any], texts: Sequence[Document]
) -> None:
    """Write the card and the final record; the checkpoint has done its work."""
    (out / "README.md").write_text(_card(out.resolve().name, recipe, options, run, texts), encoding="utf-8")
    write(out, options, run)
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
{run["seconds"] / 60:.1f} minutes ({run["versions"]}). `{CSV}` and `{PNG}` show the course, `{LOAD}` the \
load of every expert, `training.json` all options and figures.

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
