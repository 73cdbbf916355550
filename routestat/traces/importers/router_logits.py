"""Router logits saved as arrays (``output_router_logits`` of transformers): the k largest of each row are chosen.

A file is ``.npy``, ``.npz``, ``.safetensors`` or ``.pt`` and holds, as ``router_logits`` or by itself,

- a list of ``[tokens, E]``, one per layer (None marks a dense layer);
- an array ``[layers, tokens, E]`` or ``[tokens, layers, E]``, distinguished by sizes or by ``--axes``;
- arrays ``[tokens, E]`` or ``[sequences, tokens, E]`` under names with the layer's number, ``layer_3``,
  ``router_logits_3``, ``model.layers.3.mlp.gate``;
- a list of such lists, one per forward pass of ``generate``: the first is the prompt, the others are decode.

`attention_mask` and `input_ids` ``[sequences, tokens]`` beside them cut the flattened batch into its sequences and
leave the padding out; without them all rows of a file are one document. A folder holds a file per layer, where all
names say ``layer`` and a number, or else a file per document.

**The choice.** Rows are compared in the precision they are stored in. Of equal logits the lower id is taken. A softmax
is monotonic, so probabilities give the same choice as logits, and it does not matter whether the weights
were normalised before or after the choice. A correction bias or a limit to groups does matter: there the k largest
logits are not what the model executed, which the file does not show.

Source: huggingface/transformers, ``MoeModelOutputWithPast.router_logits`` (a tuple with one ``[sequences · tokens, E]``
per layer).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_files import numpy_file
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.documents import SourceDocument, join_documents
from routestat.traces.importers.common.logit_arrays import Logits, found_logits
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.safetensors_files import safetensors_file
from routestat.traces.importers.common.source_files import files_of
from routestat.traces.importers.common.torch_files import torch_file

SUFFIXES = (".npy", ".npz", ".safetensors", ".pt", ".pth")
BLOCK = 1 << 14
NOT_EXECUTED = (
    "the choice is computed from the logits: with a correction bias or a limit to groups the model executes others (in "
    "DeepSeek-V2, V3 and Ernie 4.5 the two agreed on only .07 to .64 of tokens); record the executed ids there"
)


@dataclass
class _Seen:
    """Numbers of all rows, of rows tied at the k-th place, and of rows with all logits equal."""

    rows: int = 0
    tied: int = 0
    flat: int = 0


def read_router_logits(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read router logits and take the `top_k` largest of every row.

    Raises
    ------
    FormatError
        If k was not given; or naming the file, the array, the layer and the row that is wrong.
    """
    if options.top_k is None:
        raise FormatError(f"{path}: router logits do not give the number of chosen experts: give --top-k")
    notes: list[str] = []
    first, seen, found = None, _Seen(), list[SourceDocument]()
    for where, value in _files(path):
        logits = found_logits(where, value, options.axes, options.layers, notes)
        model = logits.layers, logits.n_experts
        first = (where, model) if first is None else first
        if model != first[1]:
            raise FormatError(
                f"{where}: layers {model[0]}, {model[1]} experts; in {first[0]} layers {first[1][0]}, "
                f"{first[1][1]} experts"
            )
        found += _documents(logits, options.top_k, seen)
    top_k, (layers, n_experts) = options.top_k, model
    notes.append(
        f"the {top_k} largest of {n_experts} logits are chosen, heaviest first (a softmax keeps their order); "
        f"{seen.tied} of {seen.rows} rows tie at the last place, where the lower id was taken"
    )
    notes.append(NOT_EXECUTED)
    if seen.flat:
        notes.append(
            f"in {seen.flat} of {seen.rows} rows all logits are equal, so that they give no choice; padding?"
        )
    return join_documents(
        path,
        found,
        options,
        axis=layers,
        n_experts=n_experts,
        notes=list(dict.fromkeys(notes)),
        engine="",
        slot_order="weight",
        extra={"choice": f"the {top_k} largest router logits", "ties": "lower id"},
    )


def _files(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what the files hold, each with its place: a folder with one file per layer is one mapping."""
    files = files_of(path, SUFFIXES)
    said = [re.search(r"layers?[._-]?(\d+)", file.stem) for file in files]
    numbers = [int(one[1]) for one in said if one is not None]
    if not path.is_dir() or len(files) < 2 or len(numbers) < len(files):
        for file in files:
            yield str(file), _opened(file)
        return
    if len(set(numbers)) < len(numbers):
        raise FormatError(f"{path}: two files of one layer: {', '.join(file.name for file in files)}")
    yield str(path), {f"layer_{n}": _only(file) for n, file in zip(numbers, files, strict=True)}


def _opened(file: Path) -> Any:
    if file.suffix in (".pt", ".pth"):
        return torch_file(file)
    if file.suffix == ".safetensors":
        return safetensors_file(file)
    if file.suffix not in SUFFIXES:
        raise FormatError(f"{file}: router logits are read from {', '.join(SUFFIXES)}")
    arrays = numpy_file(file)
    return arrays[""] if set(arrays) == {""} else arrays


def _only(file: Path) -> Any:
    """Return the only array of a file."""
    held = _opened(file)
    if isinstance(held, dict):
        if len(held) != 1:
            raise FormatError(
                f"{file}: {len(held)} arrays in the file of one layer: {', '.join(map(str, held))}"
            )
        (held,) = held.values()
    return held


def largest(
    where: str,
    logits: NDArray[np.floating],
    top_k: int,
    layer: int,
    rows: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.integer], int, int]:
    """Return the `top_k` largest of rows ``[token, expert]`` in descending order; of equal ones the lower id.

    Parameters
    ----------
    rows : int array, optional
        Which rows; the others are padding and are not looked at.

    Returns
    -------
    experts : int array ``[row, slot]``
    tied : int
        Rows whose k-th and next value are equal.
    flat : int
        Rows whose values are all equal.

    Raises
    ------
    FormatError
        Naming the layer and the first row that is not finite.
    """
    rows = np.arange(len(logits)) if rows is None else rows
    chosen = np.empty((len(rows), top_k), np.int32)
    tied = flat = 0
    for start in range(0, len(rows), BLOCK):
        left = logits[rows[start : start + BLOCK]]
        finite = np.isfinite(left)
        if not finite.all():
            at = int(np.argmin(finite.all(axis=1)))
            wrong = left[at][~finite[at]][0]
            raise FormatError(
                f"{where}: layer {layer}, row {rows[start + at]}: a logit is {wrong}, which gives no routing"
            )
        flat += int((left.min(axis=1) == left.max(axis=1)).sum()) if left.shape[1] > 1 else 0
        here, last = np.arange(len(left)), left[:, 0]
        for slot in range(top_k):
            # The first of equal values, which has the lower id; it is then excluded.
            best = left.argmax(axis=1)
            last = left[here, best]
            chosen[start : start + BLOCK, slot] = best
            left[here, best] = -np.inf
        tied += int((left.max(axis=1) == last).sum())
    return narrow(chosen), tied, flat


def _documents(logits: Logits, top_k: int, seen: _Seen) -> list[SourceDocument]:
    """Return the sequences of one file, without their padding."""
    if top_k > logits.n_experts:
        raise FormatError(f"{logits.where}: --top-k {top_k} of {logits.n_experts} logits a row")
    places = _sequences(logits)
    rows = np.concatenate(places)
    by_layer = []
    for index, array in enumerate(logits.arrays):
        layer = index if logits.layers is None else logits.layers[index]
        experts, tied, flat = largest(logits.where, array, top_k, layer, rows)
        by_layer.append(experts)
        seen.rows, seen.tied, seen.flat = seen.rows + len(rows), seen.tied + tied, seen.flat + flat
    experts = np.stack(by_layer, axis=1)
    name, ids = Path(logits.where).stem, logits.beside.get("input_ids")
    if logits.batch is None:
        return [SourceDocument(logits.where, experts, name, 0, logits.n_prompt, ids)]
    ends = np.cumsum([len(one) for one in places])
    return [
        SourceDocument(
            f"{logits.where}, sequence {number}",
            experts[end - len(place) : end],
            f"{name} {number}",
            tokens=None if ids is None else ids.reshape(-1)[place],
        )
        for number, (place, end) in enumerate(zip(places, ends.tolist(), strict=True))
    ]


def _sequences(logits: Logits) -> list[NDArray[np.integer]]:
    """Return the rows of every sequence, from its first token to its last."""
    if logits.batch is None:
        return [np.arange(len(logits.arrays[0]))]
    n_sequences, n_tokens = logits.batch
    mask, places = logits.beside.get("attention_mask"), list[NDArray[np.integer]]()
    for number in range(n_sequences):
        kept = np.arange(n_tokens) if mask is None else np.flatnonzero(mask[number])
        if not len(kept) or kept[-1] - kept[0] + 1 != len(kept):
            wrong = "has gaps" if len(kept) else "is zero everywhere"
            raise FormatError(f"{logits.where}, sequence {number}: attention_mask {wrong}")
        places.append(number * n_tokens + kept)
    return places
