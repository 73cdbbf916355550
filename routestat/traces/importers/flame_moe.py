"""FLAME-MoE-Traces: routing of pretraining checkpoints, in Parquet.

A model's folder holds ``samples/*.parquet`` (``token_id`` int32, one row a token, shared by all checkpoints) and
``actives/iter_N/layer_NN.parquet`` (``scores`` list<float16>[k], heaviest first; ``indices`` list<int16>[k]). Row i
of a layer is row i of the samples, in the order of the files' names. The scores are not kept, but if they descend,
the slots are ordered by weight.

The files do not mark the ends of documents. With ``--end-of-document ID`` a document ends with that token; with
``--sequence-length N`` every N tokens are one (what the model saw at once); else all tokens are one document, and
uncertainty cannot be estimated. All rows are prefill: this is training.

Memory: tokens × layers × k bytes, for 52 million tokens, 8 layers and k = 6 about 2.5 GB.

Source: the dataset's card, huggingface.co/datasets/CMU-FLAME/FLAME-MoE-Traces; arXiv 2505.20225.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.assembly import ImportedTrace, check_imported
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.messages import reason
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.source_files import note_unread_files
from routestat.traces.number_ranges import span

LAYER = re.compile(r"layer_(\d+)\.parquet")
ITERATION = re.compile(r"iter_(\d+)")
BATCH_ROWS = 1 << 18


def read_flame_moe(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read one checkpoint of a model's folder.

    Raises
    ------
    FormatError
        Naming the file and the column; or if one of several checkpoints must be chosen.
    """
    if options.end_of_document is not None and options.sequence_length is not None:
        raise FormatError(f"{path}: give --end-of-document or --sequence-length, not both")
    number, folder = _checkpoint(path, options.iteration)
    files = {int(m[1]): file for file in sorted(folder.iterdir()) if (m := LAYER.fullmatch(file.name))}
    if not files:
        raise FormatError(f"{folder}: no layer_NN.parquet in it")
    absent = sorted(set(options.layers or ()) - set(files))
    if absent:
        raise FormatError(f"{folder}: --layers {span(absent)} not in it; it holds {span(list(files))}")
    # Only the wanted layers are read: each is hundreds of megabytes.
    layers = sorted(options.layers or files)
    token = _tokens(path / "samples")
    experts, by_weight = _experts([files[layer] for layer in layers], len(token))
    notes = [
        *note_unread_files(folder, files.values()),
        *note_unread_files(path / "samples", _samples(path / "samples")),
    ]
    return check_imported(
        path,
        experts,
        _documents(path, token, options, notes),
        None,
        options,
        axis=layers,
        token=token,
        notes=notes,
        engine="flame-moe",
        slot_order="weight" if by_weight else "unknown",
        extra={"iteration": number},
    )


def _checkpoint(path: Path, wanted: int | None) -> tuple[int, Path]:
    found = {}
    if (path / "actives").is_dir():
        found = {
            int(m[1]): file for file in (path / "actives").iterdir() if (m := ITERATION.fullmatch(file.name))
        }
    if not found:
        raise FormatError(f"{path}: no actives/iter_N in it; name the folder of one model")
    there = ", ".join(map(str, sorted(found)))
    if wanted is None and len(found) > 1:
        raise FormatError(f"{path}: several checkpoints, choose one with --iteration: {there}")
    number = wanted if wanted is not None else next(iter(found))
    if number not in found:
        raise FormatError(f"{path}: no iter_{number}; it has {there}")
    return number, found[number]


def _samples(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise FormatError(f"{folder}: no .parquet with token_id in it")
    return files


def _tokens(folder: Path) -> NDArray[np.integer]:
    parts = []
    for file in _samples(folder):
        with _decoding(file):
            column = _opened(file, "token_id", pa.types.is_integer).read(["token_id"]).column(0)
        if column.null_count:
            row = column.is_null().to_numpy().argmax()
            raise FormatError(f"{file}: token_id is null in {column.null_count} rows, the first is row {row}")
        parts.append(column.to_numpy())
    return np.concatenate(parts)


@contextmanager
def _decoding(file: Path) -> Iterator[None]:
    """Turn errors of Arrow into one line with the file's name."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: not a readable Parquet file ({reason(error)})") from None


def _opened(file: Path, name: str, fits: Any) -> pq.ParquetFile:
    opened = pq.ParquetFile(file, page_checksum_verification=True)
    schema = opened.schema_arrow
    if name not in schema.names or not fits(schema.field(name).type):
        held = ", ".join(f"{field.name} {field.type}" for field in schema)
        raise FormatError(f"{file}: no column {name} of the right type; it has {held}")
    return opened


def _is_lists(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)
    return lists and pa.types.is_integer(kind.value_type)


def _experts(files: list[Path], n_tokens: int) -> tuple[NDArray[np.integer], bool]:
    """Read the experts ``[token, layer, slot]`` of the layers' files, and whether all scores descend."""
    experts: NDArray[np.integer] | None = None
    falling = True
    for index, file in enumerate(files):
        row = 0
        with _decoding(file):
            opened = _opened(file, "indices", _is_lists)
            if opened.metadata.num_rows != n_tokens:
                raise FormatError(
                    f"{file}: {opened.metadata.num_rows} rows where the samples have {n_tokens} tokens"
                )
            for record in opened.iter_batches(batch_size=BATCH_ROWS, columns=["indices"]):
                rows = _rows(file, record.column(0), row)
                if experts is None:
                    # There are 64 experts: with one byte each the largest model's trace takes less than six gigabytes.
                    experts = np.empty((n_tokens, len(files), rows.shape[1]), np.int8)
                if rows.shape[1] != experts.shape[2]:
                    raise FormatError(
                        f"{file}: k is {rows.shape[1]}, in {files[0].name} it is {experts.shape[2]}"
                    )
                experts = experts.astype(np.promote_types(experts.dtype, narrow(rows).dtype), copy=False)
                experts[row : row + len(rows), index] = rows
                row += len(rows)
            falling = falling and _falls(opened)
    if experts is None:
        raise FormatError(f"{files[0]}: no rows")
    return experts, falling


def _rows(file: Path, column: pa.Array, first: int) -> NDArray[np.integer]:
    values = column.flatten()
    if column.null_count or values.null_count:
        null = [row is None or None in row for row in column.to_pylist()]
        raise FormatError(f"{file}: row {first + null.index(True)}: indices is null")
    lengths = column.value_lengths().to_numpy(zero_copy_only=False) if len(column) else np.zeros(0)
    if len(column) and (lengths != lengths[0]).any():
        row = int(np.argmax(lengths != lengths[0]))
        raise FormatError(f"{file}: row {first + row}: {lengths[row]} indices, before it were {lengths[0]}")
    return values.to_numpy(zero_copy_only=False).reshape(len(column), -1)


def _falls(opened: pq.ParquetFile) -> bool:
    """Return whether the scores descend from slot to slot in the first rows."""
    schema = opened.schema_arrow
    kind = schema.field("scores").type if "scores" in schema.names else pa.null()
    lists = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not pa.types.is_floating(kind.value_type) or not opened.metadata.num_rows:
        return False
    record = next(opened.iter_batches(batch_size=4096, columns=["scores"]))
    scores = record.column(0).flatten().to_numpy(zero_copy_only=False)
    if not scores.size or scores.size % len(record):
        return False
    rows = scores.reshape(len(record), -1)
    return bool((rows[:, 1:] <= rows[:, :-1]).all())


def _documents(
    path: Path, token: NDArray[np.integer], options: ImportOptions, notes: list[str]
) -> NDArray[np.int64]:
    n = len(token)
    if options.sequence_length is not None:
        return np.arange(n) // options.sequence_length
    if options.end_of_document is None:
        notes.append(
            "no --end-of-document and no --sequence-length: all tokens count as one document, so there will be no "
            "intervals"
        )
        return np.zeros(n, np.int64)
    ends = token == options.end_of_document
    if not ends.any():
        raise FormatError(f"{path}: token {options.end_of_document} (--end-of-document) never occurs")
    document = np.zeros(n, np.int64)
    document[1:] = np.cumsum(ends[:-1])
    notes.append("documents end by token; where training cut sequences inside one is not known")
    return document
