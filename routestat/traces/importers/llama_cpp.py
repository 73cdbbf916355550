"""llama.cpp: dumps of the tensors ``ffn_moe_topk-<layer>``, and the CSV of its ``moe-trace`` example.

**Dumps.** A folder with one file per layer, ``ffn_moe_topk-<layer>`` and one of

- ``.npy``: int32 ``[tokens, k]``;
- ``.bin``, ``.i32``, ``.raw`` or nothing: the same as raw little-endian int32, row after row; k by ``--top-k``.

All layers have the same tokens, in the order of evaluation. llama.cpp evaluates the last layer only for tokens
whose logits are requested, so its file is usually shorter: leave it out with ``--layers``.

**The argsort trap.** ``ffn_moe_topk`` is no tensor of its own but a view of an argsort: rows of k lie n_expert
apart. A copy of tokens × k integers from its start has whole argsort rows instead, every expert once: then
n_expert / k consecutive rows hold all the experts. That is detected and refused. Dump ``nb[1] / 4`` integers per
row instead and give ``--stride`` (that number, n_expert) and ``--top-k``: the first k of every row are chosen.

**CSV.** ``layer,expert``, one line per choice (``MOE_TRACE_OUT``); k by ``--top-k``. A stretch of one layer is one
ubatch of that layer; where the layer number falls back a new ubatch begins; one of a single token, after the
first, is decode. The tool runs one prompt; where files were joined, see `llama_cpp_csv`.

A GGUF from ``llama-imatrix`` holds sums and counts per expert, not what a token chose, and is refused.

Sources: ggml-org/llama.cpp, ``build_moe_ffn`` and pull request 28544 (the CSV).
"""

import re
from math import ceil, comb, lgamma, log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_files import integers, numpy_file
from routestat.traces.importers.common.assembly import ImportedTrace, check_imported
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.source_files import note_unread_files
from routestat.traces.importers.llama_cpp_csv import ONE_DOCUMENT, chosen_layers, read_csv

DUMP = re.compile(r"ffn_moe_topk-(\d+)(\.npy|\.bin|\.i32|\.raw|)")


def read_llama_cpp(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read a folder of dumps, one dump, or a moe-trace CSV.

    Raises
    ------
    FormatError
        Naming the file and the error; for the argsort trap with the remedy.
    """
    notes, decode, document, n_experts = [ONE_DOCUMENT], None, None, None
    if path.is_dir() or DUMP.fullmatch(path.name):
        files = {
            int(m[1]): f
            for f in (sorted(path.iterdir()) if path.is_dir() else [path])
            if (m := DUMP.fullmatch(f.name))
        }
        if not files:
            raise FormatError(f"{path}: no ffn_moe_topk-<layer> files in this folder")
        layers = chosen_layers(path, sorted(files), options)
        by_layer = {layer: _dump(files[layer], options) for layer in layers}
        n_experts = options.stride
        notes += note_unread_files(path, files.values())
        notes.append("a dump does not separate prompt and answer: all rows are marked prefill")
    else:
        _refuse_gguf(path)
        by_layer, decode, document = read_csv(path, options, notes)
        layers = list(by_layer)
    _refuse_unequal(path, by_layer)
    for layer, rows in by_layer.items():
        _refuse_argsort(f"{path}: layer {layer}", rows, options.n_experts)
    experts = np.stack([narrow(rows) for rows in by_layer.values()], axis=1)
    return check_imported(
        path,
        experts,
        np.zeros(len(experts), np.int64) if document is None else document,
        None,
        options,
        axis=layers,
        n_experts=n_experts,
        decode=decode,
        notes=notes,
        engine="llama.cpp",
    )


def _refuse_gguf(path: Path) -> None:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    with path.open("rb") as handle:
        if handle.read(4) == b"GGUF":
            raise FormatError(
                f"{path}: a GGUF: weights, or an importance matrix with sums and counts per expert; what a token chose "
                "is not in it. Dump ffn_moe_topk, or use moe-trace"
            )


def _dump(file: Path, options: ImportOptions) -> NDArray[np.integer]:
    """Experts ``[token, slot]`` of one layer's file."""
    if file.suffix == ".npy":
        array = numpy_file(file)[""]
        flat = integers(str(file), array, array.ndim if array.ndim in (1, 2) else 2)
    else:
        raw = file.read_bytes()
        if len(raw) % 4:
            raise FormatError(f"{file}: {len(raw)} bytes are no whole number of int32; was it cut off?")
        flat = np.frombuffer(raw, "<i4")
    width = flat.shape[1] if flat.ndim == 2 else options.stride or options.top_k
    if width is None:
        raise FormatError(f"{file}: raw integers; give the number per row with --top-k")
    if not width or flat.size % width:
        raise FormatError(
            f"{file}: {flat.size} integers are no multiple of the row of {width}; was it cut off?"
        )
    rows = flat.reshape(-1, width)
    permuted = width > 1 and len(rows) and (np.sort(rows, axis=1) == np.arange(width)).all()
    if options.stride is not None:
        return _cut(file, rows, options, bool(permuted))
    if permuted and options.top_k != width:
        raise FormatError(
            f"{file}: every row holds all of 0 … {width - 1}: whole argsort rows; read them with --stride {width} "
            "and the model's --top-k"
        )
    if options.top_k not in (None, width):
        raise FormatError(f"{file}: rows of {width} where --top-k says {options.top_k}")
    return rows


def _cut(
    file: Path, rows: NDArray[np.integer], options: ImportOptions, permuted: bool
) -> NDArray[np.integer]:
    width = rows.shape[1]
    if width != options.stride:
        raise FormatError(f"{file}: rows of {width} where --stride says {options.stride}")
    if options.top_k is None or options.top_k >= width:
        raise FormatError(f"{file}: --stride needs --top-k, smaller than it")
    if not permuted:
        raise FormatError(
            f"{file}: rows of {width} are not an argsort: not every row holds all of 0 … {width - 1}"
        )
    return rows[:, : options.top_k]


def _refuse_unequal(path: Path, by_layer: dict[int, NDArray[np.integer]]) -> None:
    first = next(iter(by_layer))
    for layer, rows in by_layer.items():
        if rows.shape != by_layer[first].shape:
            raise FormatError(
                f"{path}: layers of unequal length: layer {layer} is {list(rows.shape)}, layer {first} "
                f"{list(by_layer[first].shape)}; the last layer is evaluated only where logits are requested: leave it "
                "out with --layers"
            )


def _refuse_argsort(where: str, rows: NDArray[np.integer], n_experts: int | None) -> None:
    """Refuse rows that came from a flat copy of a strided view: blocks of n_expert ids with every expert once."""
    size = n_experts or (int(rows.max()) + 1 if rows.size else 0)
    top_k = rows.shape[1]
    if size <= top_k:
        return
    flat = rows.reshape(-1)
    blocks = flat[: len(flat) // size * size].reshape(-1, size)
    whole = (np.sort(blocks, axis=1) == np.arange(size)).all(axis=1)
    # With few experts this happens by chance: as many blocks as make that one in a billion.
    n_rows = size // top_k
    chance = lgamma(size + 1) - n_rows * lgamma(top_k + 1) - lgamma(size - n_rows * top_k + 1)
    chance -= n_rows * log(comb(size, top_k))
    needed = ceil(log(1e-9) / chance) if chance < 0 else len(flat) + 1
    if len(whole) >= needed and whole[:needed].all():
        raise FormatError(
            f"{where}: a flat copy of the argsort view: {size / top_k:g} consecutive rows hold all {size} experts "
            f"({int(whole.sum())} of {len(whole)} blocks). Rows of ffn_moe_topk lie {size} apart: dump {size} integers "
            f"a row and read them with --stride {size} --top-k {top_k}"
        )
