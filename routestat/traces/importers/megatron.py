"""Megatron-LM's router traces (``--moe-routing-trace-path``): ``router_trace_rank{r}.jsonl``, one file per rank.

A line is one router in one forward pass of one rank: ``{"step", "stage", "block", "layer", "rank", "num_tokens",
"topk", "top_indices": [[…] per token]}``. The j-th lines of the layers of a (step, rank) are one micro-batch.

**The unit.** The trace does not mark the start or end of a text. What one rank routed in one step is one document
("step 3 rank 0"), its micro-batches one after the other. A micro-batch's rows are the flattened ``[sequence,
batch]``: neighbouring rows are neighbours in a text only if the batch is 1. With ``--sequence-length N`` every
sequence is one document of N tokens, taken out of that order. Either way a document is a random piece of
the training data, and two documents may be of one text.

**Sequence parallelism.** Every rank of a group holds a part of every sequence, and the router sees
``[sequence / N, batch]`` flattened. The lines do not show it. With ``--sequence-parallel N`` ranks r … r + N − 1
are joined in their order, micro-batch by micro-batch; a ``--sequence-length`` that a rank's rows cannot hold, but those
of several neighbours can in one way only, has the same effect. Else ranks with equal numbers of tokens are noted.

**Ranks.** Tensor- and expert-parallel ranks record the same tokens, activation recomputation runs a pass again:
passes equal to one before in all layers of the same step are dropped. Ranks with disjoint layers are pipeline
stages and are joined in order. Megatron numbers layers within a stage, though: stages of equal depth look like
data-parallel ranks and cannot be distinguished; give such ranks different layers first, or convert one stage.
Blocks other than ``decoder`` (multi-token prediction) are left out. Rows whose ``semantic_token_ids`` is null are
padding: missing.

Source: NVIDIA/Megatron-LM, ``megatron/core/transformer/moe/router_trace.py`` and ``router_trace_compare.py``.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_files import integers
from routestat.traces.importers.common.assembly import ImportedTrace, check_imported
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.json_files import json_records, whole_number
from routestat.traces.importers.common.messages import listed
from routestat.traces.importers.common.misspelt_names import MisspeltNames
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.source_files import note_unread_files
from routestat.traces.importers.megatron_ranks import (
    Passes,
    Routed,
    as_long,
    join_stages,
    joined_ranks,
    ranks_together,
)
from routestat.traces.number_ranges import span

PATTERN = "router_trace_rank*.jsonl"
READ = (
    "step",
    "stage",
    "block",
    "layer",
    "rank",
    "num_tokens",
    "topk",
    "top_indices",
    "semantic_token_ids",
)


#: The places of the lines of a (step, rank, layer).
Places = dict[tuple[int, int, int], list[str]]


def read_megatron(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read one rank's trace, or a folder with one per rank.

    Raises
    ------
    FormatError
        Naming the file, the line and the field; or the step and rank whose layers do not fit together.
    """
    files = sorted(path.glob(PATTERN)) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise FormatError(f"{path}: no {PATTERN} here" if path.is_dir() else f"{path}: no such file")
    misspelt = MisspeltNames(READ)
    traced, places, others = _lines(files, misspelt)
    if not traced:
        raise FormatError(f"{path}: no lines of block decoder")
    notes = [*misspelt.notes(), *note_unread_files(path, files)]
    ranks = {rank for _, rank in traced}
    absent = set(range(min(max(ranks), 4 * len(ranks) + 64))) - ranks
    if path.is_dir() and absent:
        notes.append(f"ranks {span(sorted(absent))} are not in it; were files left out?")
    if others:
        notes.append(f"left out {others} lines of other blocks than decoder")
    layers, stacked, repeats = _stacked(path, traced, places, notes)
    if repeats:
        notes.append(f"dropped {repeats} passes recorded twice in a step (parallel ranks or recomputation)")
    together = ranks_together(path, stacked, options, notes)
    stacked = joined_ranks(path, stacked, together)
    rows, described = _documents(path, stacked, options.sequence_length, together)
    if options.sequence_length is None:
        notes.append(
            "a document is what one rank routed in one step, rows flattened [sequence, batch]: neighbouring rows "
            "are neighbours in a text only if the batch is 1; --sequence-length separates the sequences"
        )
    if len({rank for _, rank, _ in stacked}) > 1:
        notes.append(
            "ranks with the same layers are taken as data-parallel: pipeline stages of equal depth look the same"
        )
        if together == 1 and as_long(stacked):
            notes.append(
                "all ranks routed as many tokens in every pass: under sequence parallelism each would hold a part of "
                "every sequence, and documents would be cut; then join the parts: --sequence-parallel N"
            )
    return check_imported(
        path,
        narrow(np.concatenate(rows)),
        np.repeat(np.arange(len(rows)), [len(one) for one in rows]),
        None,
        options,
        axis=layers,
        described=described,
        notes=notes,
        engine="megatron-lm",
        extra={"unit": "step and rank" if options.sequence_length is None else "sequence of a micro-batch"},
    )


def _lines(files: list[Path], misspelt: MisspeltNames) -> tuple[dict[tuple[int, int], Passes], Places, int]:
    """Return the lines by (step, rank) and layer, their places, and the number of lines of other blocks."""
    places: Places = defaultdict(list)
    traced: dict[tuple[int, int], Passes] = defaultdict(lambda: defaultdict(list))
    others, stages, top_k = 0, set(), None
    for file in files:
        for where, record in json_records(file):
            misspelt.look(record)
            if record.get("block", "decoder") != "decoder":
                others += 1
                continue
            stages.add(str(record.get("stage", "")))
            rows = _rows(where, record)
            top_k = top_k or rows.shape[1]
            if rows.shape[1] != top_k or len(stages) > 1:
                what = f"topk is {rows.shape[1]}, before it was {top_k}"
                raise FormatError(
                    f"{where}: {what if rows.shape[1] != top_k else f'stages mix: {listed(sorted(stages))}'}"
                )
            key = whole_number(where, record, "step"), whole_number(where, record, "rank")
            layer = whole_number(where, record, "layer")
            traced[key][layer].append(rows)
            places[(*key, layer)].append(where)
    return traced, places, others


def _rows(where: str, record: dict[str, Any]) -> NDArray[np.integer]:
    n, top_k = whole_number(where, record, "num_tokens"), whole_number(where, record, "topk", 1)
    rows = integers(f"{where}: top_indices", record.get("top_indices"), 2)
    if rows.shape != (n, top_k) and (n or rows.size):
        raise FormatError(
            f"{where}: top_indices is {list(rows.shape)} where num_tokens, topk say [{n}, {top_k}]"
        )
    rows = narrow(rows.reshape(n, top_k))
    labels = record.get("semantic_token_ids")
    if labels is None:
        return rows
    if not isinstance(labels, list) or len(labels) != n:
        raise FormatError(f"{where}: semantic_token_ids must be a list of {n}")
    padding = np.array([label is None for label in labels], bool)
    return np.where(padding[:, None], rows.dtype.type(-1), rows)


def _stacked(
    path: Path, traced: dict[tuple[int, int], Passes], places: Places, notes: list[str]
) -> tuple[list[int], list[Routed], int]:
    """Return the micro-batches ``[token, layer, slot]`` of every (step, rank) with all layers, without repeats."""
    joined: list[tuple[int, int, Passes]] = []
    for step in sorted({step for step, _ in traced}):
        joined += join_stages(path, step, {rank: p for (s, rank), p in traced.items() if s == step}, notes)
    layers = sorted(joined[0][2])
    stacked, repeats = [], 0
    seen: set[tuple[int, bytes]] = set()
    for step, rank, passes in joined:
        where = f"{path}: step {step}, rank {rank}"
        if sorted(passes) != layers:
            raise FormatError(
                f"{where}: layers {span(list(passes))}, elsewhere {span(layers)}; was it cut off?"
            )
        kept = []
        for number in range(max(map(len, passes.values()))):
            sizes = {
                layer: len(passes[layer][number]) if number < len(passes[layer]) else None for layer in layers
            }
            odd = [layer for layer in layers if sizes[layer] != sizes[layers[0]]]
            if odd:
                line = places[step, rank, odd[0]][number : number + 1]
                raise FormatError(
                    f"{line[0] if line else path}: step {step}, rank {rank}, pass {number}: layers of unequal length: "
                    f"layer {layers[0]} has {sizes[layers[0]]} rows, layer {odd[0]} has {sizes[odd[0]]}"
                )
            one = np.stack([passes[layer][number] for layer in layers], axis=1)
            key = step, one.tobytes()
            repeats += key in seen
            if key not in seen and len(one):
                kept.append(one)
            seen.add(key)
        if kept:
            stacked.append((step, rank, kept))
    return layers, stacked, repeats


def _documents(
    path: Path, stacked: list[Routed], length: int | None, together: int
) -> tuple[list[NDArray[np.integer]], dict[str, list[Any]]]:
    rows: list[NDArray[np.integer]] = []
    described: dict[str, list[Any]] = {"name": [], "step": [], "rank": []}
    for step, rank, batches in stacked:
        ranks = f"rank {rank}" if together == 1 else f"ranks {rank} to {rank + together - 1}"
        pieces = [(f"step {step} {ranks}", np.concatenate(batches))]
        if length is not None:
            pieces = []
            for number, one in enumerate(batches):
                if len(one) % length:
                    raise FormatError(
                        f"{path}: step {step}, {ranks}, pass {number}: {len(one)} rows are no multiple of "
                        f"--sequence-length {length}"
                    )
                # The router sees [sequence, batch] flattened: row t is position t // batch of sequence t % batch.
                # Parts of ranks with equal numbers of positions follow one another, so this holds for them too.
                width = len(one) // length
                pieces += [
                    (f"step {step} {ranks} pass {number} sequence {b}", one[b::width]) for b in range(width)
                ]
        for name, piece in pieces:
            rows.append(piece)
            described["name"].append(name)
            described["step"].append(step)
            described["rank"].append(rank)
    return rows, described
