"""The CSV of llama.cpp's ``moe-trace``: ``layer,expert``, one line per choice.

A stretch of one layer is one ubatch of that layer; where the layer number falls back a new ubatch begins. The tool runs
one prompt, in ubatches of equal size of which only the last may be smaller, then one token at a time. Where the files
of several prompts were joined a new prompt is visible

- at a line ``layer,expert`` inside,
- at an ubatch of several tokens after one of a single token, or after one that is smaller than itself or the largest
  before. (Sequences that are decoded side by side make ubatches of equal size, which are not cut.)

There the file is cut into documents. Speculative decoding and the turns of a chat look the same, so the cut is noted.
Prompts of one ubatch each, without a decoded token, are not separated unless the later one is larger.
"""

import codecs
import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import reason
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.number_ranges import span

ONE_DOCUMENT = (
    "the file does not mark documents: all tokens count as one document, so there will be no intervals"
)
HEADER = re.compile(rb"(?m)^[ \t]*layer[ \t]*,[ \t]*expert[ \t]*\r?$\n?")
ByLayer = dict[int, NDArray[np.integer]]


def chosen_layers(path: Path, layers: list[int], options: ImportOptions) -> list[int]:
    """Return the wanted layers, or all if none are named.

    Raises
    ------
    FormatError
        If one is not among `layers`.
    """
    absent = sorted(set(options.layers or ()) - set(layers))
    if absent:
        raise FormatError(f"{path}: --layers {span(absent)} not in it; it holds {span(layers)}")
    return list(options.layers or layers)


def read_csv(
    path: Path, options: ImportOptions, notes: list[str]
) -> tuple[ByLayer, NDArray[np.bool_], NDArray[np.int64]]:
    """Experts ``[token, slot]`` by layer, which tokens were decoded, and the document of each.

    Raises
    ------
    FormatError
        Naming the line that does not fit.
    """
    layer, expert, lines, heads = _columns(path)
    if options.top_k is None:
        raise FormatError(f"{path}: one line per choice; give the number per token with --top-k")
    begins = np.zeros(len(layer), bool)
    begins[heads[(heads > 0) & (heads < len(layer))]] = True
    starts = np.flatnonzero((np.diff(layer, prepend=layer[0] - 1) != 0) | begins)
    lengths = np.diff(np.append(starts, len(layer)))
    odd = np.flatnonzero(lengths % options.top_k)
    if len(odd):
        row = int(starts[odd[0]])
        raise FormatError(
            f"{path}: line {lines[row]}: {lengths[odd[0]]} lines of layer {layer[row]} are no multiple of --top-k "
            f"{options.top_k}; was it cut off?"
        )
    # Layers run upwards within an ubatch.
    falls = (np.diff(layer[starts], prepend=layer[starts[0]]) < 0) | begins[starts]
    ubatch = np.cumsum(falls)
    layers = chosen_layers(path, sorted(set(layer.tolist())), options)
    tokens = np.full((int(ubatch[-1]) + 1, len(layers)), 0)
    for column, number in enumerate(layers):
        runs = layer[starts] == number
        np.add.at(tokens[:, column], ubatch[runs], lengths[runs] // options.top_k)
    _refuse_unequal(path, tokens, layers, lines[starts[np.flatnonzero(np.diff(ubatch, prepend=-1))]])
    sizes = tokens[:, 0]
    headed = np.zeros(len(sizes), bool)
    headed[ubatch[begins[starts]]] = True
    new = headed | new_prompts(sizes, headed)
    document = np.cumsum(new)
    _note_cuts(int(new.sum()), int(headed.sum()), notes)
    decoded = (sizes == 1) & ~new
    decoded[0] = False
    by_layer = {number: expert[layer == number].reshape(-1, options.top_k) for number in layers}
    return by_layer, np.repeat(decoded, sizes), np.repeat(document, sizes)


def new_prompts(sizes: NDArray[np.integer], headed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which ubatches begin a new prompt, by their tokens ``[ubatch]`` and repeated headers.

    Examples
    --------
    >>> new_prompts(np.array([4, 2, 1, 1, 4, 4, 3, 5]), np.zeros(8, bool)).astype(int).tolist()
    [0, 0, 0, 0, 1, 0, 0, 1]
    """
    new = np.zeros(len(sizes), bool)
    largest = int(sizes[0])
    for place in range(1, len(sizes)):
        here, before = int(sizes[place]), int(sizes[place - 1])
        if headed[place]:
            largest = here
        elif here > 1 and before != here and before < max(largest, here):
            new[place] = True
            largest = max(largest, here)
        largest = max(largest, here)
    return new


def _note_cuts(n_cuts: int, n_headed: int, notes: list[str]) -> None:
    if not n_cuts:
        return
    notes[:] = [note for note in notes if note != ONE_DOCUMENT]
    how = f", {n_headed} of them by a second header" if n_headed else ""
    notes.append(
        f"several prompts one after the other: cut into {n_cuts + 1} documents where a new one begins{how} (several "
        "tokens at once again). Turns of a chat and speculative decoding look the same: if it is one text, the "
        "documents are not independent"
    )


def _refuse_unequal(
    path: Path, tokens: NDArray[np.integer], layers: list[int], lines: NDArray[np.int64]
) -> None:
    unequal = np.flatnonzero((tokens != tokens[:, :1]).any(axis=1))
    if len(unequal):
        at = int(unequal[0])
        column = int(np.argmax(tokens[at] != tokens[at, 0]))
        raise FormatError(
            f"{path}: layers of unequal length: in ubatch {at} (line {lines[at]}) layer {layers[column]} has "
            f"{tokens[at, column]} tokens, layer {layers[0]} has {tokens[at, 0]}; the last layer is evaluated only "
            "where logits are requested: leave it out with --layers"
        )


def _columns(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Read layers, experts and line numbers of all rows, and the rows that follow a header."""
    raw = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    head = raw[:200].split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    if head.replace(" ", "") != "layer,expert" and not re.fullmatch(r"\d+\s*,\s*\d+", head):
        raise FormatError(f"{path}: the first line must be layer,expert, got {head[:60]!r}")
    columns, lines, heads, line, row, start = [], [], [], 1, 0, 0
    for found in (*HEADER.finditer(raw), None):
        part = raw[start : len(raw) if found is None else found.start()]
        if part.strip():
            columns.append(_numbers(path, part, line))
            lines.append(line + _filled(part, len(columns[-1][0])))
            row += len(columns[-1][0])
            line += part.count(b"\n")
        if found is not None:
            heads.append(row)
            line, start = line + 1, found.end()
    if not columns:
        raise FormatError(f"{path}: no lines after the first")
    layer, expert = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return layer, expert, np.concatenate(lines), np.array(heads, np.int64)


def _filled(part: bytes, n: int) -> NDArray[np.int64]:
    """Return which lines hold the `n` rows; empty ones are skipped."""
    if part.count(b"\n") <= n:
        return np.arange(n)
    return np.array([number for number, text in enumerate(part.split(b"\n")) if text.strip()], np.int64)


def _numbers(path: Path, part: bytes, line: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    kinds = {"layer": pa.int64(), "expert": pa.int64()}
    try:
        table = pa.csv.read_csv(
            io.BytesIO(part),
            read_options=pa.csv.ReadOptions(column_names=list(kinds)),
            convert_options=pa.csv.ConvertOptions(column_types=kinds, null_values=[]),
        )
    except pa.ArrowException as error:
        raise FormatError(
            f"{path}: line {_bad_line(part, line)}: not layer,expert ({reason(error)})"
        ) from None
    return table.column("layer").to_numpy(), table.column("expert").to_numpy()


def _bad_line(part: bytes, line: int) -> int:
    """Return the number of the first line that is not two whole numbers."""
    fits = re.compile(rb"\s*-?\d+\s*,\s*-?\d+\s*")
    texts = enumerate(part.split(b"\n"), line)
    return next((number for number, text in texts if text.strip() and not fits.fullmatch(text)), line)
