"""Files as trees of dictionaries, lists, arrays and values, so that one mutation serves every format."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

UNWRITABLE = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    OverflowError,
    SafetensorError,
    pa.ArrowException,
)
TEXT = (".csv", ".tsv")
RAW = (".bin", ".i32", ".raw")


class CannotWriteError(Exception):
    """A mutated tree that the format itself cannot hold."""


def read_tree(path: Path) -> Any:
    """The tree of a file; None for a kind of file that is bytes alone."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".npy":
        return {"": np.load(path)}
    if path.suffix == ".npz":
        with np.load(path) as held:
            return {name: held[name] for name in held.files}
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".pt":
        return _plain(torch.load(path, weights_only=True))
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    if path.suffix in TEXT:
        comma = "\t" if path.suffix == ".tsv" else ","
        return [line.split(comma) for line in path.read_text().splitlines()]
    if path.suffix in RAW:
        content = path.read_bytes()
        return {"": np.frombuffer(content, "<i4" if len(content) % 4 == 0 else "u1").copy()}
    return None


def write_tree(path: Path, tree: Any) -> None:
    """The tree in the file's own format.

    Raises
    ------
    CannotWriteError
        If the format cannot hold it.
    """
    try:
        _write(path, tree)
    except UNWRITABLE as error:
        raise CannotWriteError(str(error)) from None


def _write(path: Path, tree: Any) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(tree))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(one) + "\n" for one in tree))
    elif path.suffix == ".npy":
        np.save(path, tree[""])
    elif path.suffix == ".npz":
        _write_archive(path, tree)
    elif path.suffix == ".safetensors":
        save_file({name: np.ascontiguousarray(array) for name, array in tree.items()}, path)
    elif path.suffix == ".pt":
        torch.save(_tensors(tree), path)
    elif path.suffix == ".parquet":
        metadata = pq.read_schema(path).metadata
        pq.write_table(pa.table(tree).replace_schema_metadata(metadata), path)
    elif path.suffix in TEXT:
        comma = "\t" if path.suffix == ".tsv" else ","
        path.write_text("".join(comma.join(map(str, row)) + "\n" for row in tree))
    else:
        path.write_bytes(np.asarray(tree[""]).tobytes())


def _write_archive(path: Path, tree: dict[str, Any]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in tree.items():
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(array))
            archive.writestr(f"{name}.npy", buffer.getvalue())


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy().copy()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "iufb" and value.dtype.isnative:
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    return [_tensors(item) for item in value] if isinstance(value, list) else value
