"""Plain arrays: an ``.npz`` with ``experts [tokens, layers, k]`` and whatever else is known of the tokens.

==============  =========================  ==========================================================
array           shape                      meaning
==============  =========================  ==========================================================
experts         [tokens, layers, k]        expert ids; a row of −1 is missing
document        [tokens]                   which document (optional: all one)
position        [tokens]                   place in the document (optional: counted)
token           [tokens]                   token id, −1 unknown (optional)
layers          [layers]                   the model's layer numbers (optional: 0, 1, …)
n_experts       scalar                     experts per router (optional: the largest id + 1)
domain          [tokens]                   index into domains, the same within a document (optional)
domains         [domains]                  their names (optional)
==============  =========================  ==========================================================
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.metadata import Router, routers_like

KNOWN = ("experts", "document", "position", "token", "layers", "n_experts", "domain", "domains")


@dataclass(frozen=True)
class Imported:
    """Rows ready for the store: documents together, positions rising.

    `notes` says in words what had to be assumed.
    """

    routers: tuple[Router, ...]
    experts: NDArray[np.integer]
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    token: NDArray[np.int32] | None
    documents: dict[str, list[Any]]
    notes: tuple[str, ...]


def read_arrays(path: Path) -> Imported:
    """Read and check an ``.npz`` of plain arrays; nothing in it is ever executed.

    Raises
    ------
    FormatError
        Naming the file and the array that is wrong.
    """
    arrays = _load(path)
    experts = arrays["experts"]
    if experts.ndim != 3 or experts.dtype.kind not in "iu" or 0 in experts.shape[1:]:
        raise FormatError(f"{path}: experts must be integers [tokens, layers, k], got {_describe(experts)}")
    n, n_layers, top_k = experts.shape
    notes: list[str] = []
    layers = _layers(path, arrays, n_layers, notes)
    n_experts = _n_experts(path, arrays, experts, notes)
    if top_k > n_experts:
        raise FormatError(f"{path}: experts has k={top_k} of n_experts={n_experts}")
    _check_subsets(path, experts, n_experts, layers)
    document = _per_token(path, arrays, "document", n)
    if document is None:
        document = np.zeros(n, np.int64)
        notes.append("no document array: all tokens count as one document, so there will be no intervals")
    position = _per_token(path, arrays, "position", n)
    if position is None:
        position = _count_positions(document)
    order = np.lexsort((position, document))
    if (order[1:] < order[:-1]).any():
        notes.append("rows were put in order of document and position")
    token = _per_token(path, arrays, "token", n)
    documents = _documents(path, arrays, document, n)
    return Imported(
        routers_like(layers, n_experts, top_k),
        experts[order],
        document[order].astype(np.int32),
        position[order].astype(np.int32),
        None if token is None else token[order].astype(np.int32),
        documents,
        tuple(notes),
    )


def _load(path: Path) -> dict[str, NDArray]:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise FormatError(f"{path}: a single array; save it with np.savez(..., experts=array)")
        with archive:
            if "experts" not in archive.files:
                raise FormatError(
                    f"{path}: no array named experts; it has {', '.join(archive.files) or 'none'}"
                )
            return {name: archive[name] for name in KNOWN if name in archive.files}
    except FormatError:
        raise
    except (ValueError, OSError, EOFError, BadZipFile, KeyError) as error:
        raise FormatError(f"{path}: not a readable .npz of plain arrays ({error})") from None


def _layers(path: Path, arrays: dict[str, NDArray], n_layers: int, notes: list[str]) -> list[int]:
    if "layers" not in arrays:
        notes.append(f"no layers array: layers are numbered 0 to {n_layers - 1}")
        return list(range(n_layers))
    layers = arrays["layers"]
    if layers.shape != (n_layers,) or layers.dtype.kind not in "iu":
        raise FormatError(f"{path}: layers must be {n_layers} integers, got {_describe(layers)}")
    if layers.min() < 0 or (np.diff(layers.astype(np.int64)) <= 0).any():
        raise FormatError(f"{path}: layers must rise from 0 or more, got {layers.tolist()}")
    return [int(layer) for layer in layers]


def _n_experts(path: Path, arrays: dict[str, NDArray], experts: NDArray, notes: list[str]) -> int:
    if "n_experts" in arrays:
        given = arrays["n_experts"]
        if given.size != 1 or given.dtype.kind not in "iu" or int(given.ravel()[0]) < 1:
            raise FormatError(f"{path}: n_experts must be one positive integer, got {_describe(given)}")
        return int(given.ravel()[0])
    if not experts.size:
        raise FormatError(f"{path}: no tokens and no n_experts: nothing to go by")
    found = int(experts.max()) + 1
    notes.append(f"no n_experts: taken as {found}, the largest id + 1; a dead last expert would be missed")
    return max(found, 1)


def _check_subsets(path: Path, experts: NDArray, n_experts: int, layers: list[int]) -> None:
    """Every row must be k different ids, or all −1; the first that is not is named by its place in the file."""
    for index, layer in enumerate(layers):
        rows = np.sort(experts[:, index], axis=1)
        present = ~(rows == -1).all(axis=1)
        outside = ((rows < 0) | (rows >= n_experts)).any(axis=1) & present
        repeats = (rows[:, 1:] == rows[:, :-1]).any(axis=1) & present
        if (outside | repeats).any():
            row = int(np.argmax(outside | repeats))
            wrong = f"is outside 0 … {n_experts - 1}" if outside[row] else "repeats an expert"
            if repeats.all() and rows.shape[1] > 1:
                wrong += ", as every row of this layer does: was it recorded at all?"
            raise FormatError(
                f"{path}: experts of layer {layer}, row {row}: {experts[row, index].tolist()} {wrong}"
            )


def _per_token(path: Path, arrays: dict[str, NDArray], name: str, n: int) -> NDArray | None:
    if name not in arrays:
        return None
    values = arrays[name]
    if values.shape != (n,) or values.dtype.kind not in "iu":
        raise FormatError(f"{path}: {name} must be {n} integers, one per token, got {_describe(values)}")
    least = -1 if name == "token" else 0
    if n and (int(values.min()) < least or int(values.max()) > np.iinfo(np.int32).max):
        raise FormatError(
            f"{path}: {name} must lie in {least} … 2147483647, got {values.min()} … {values.max()}"
        )
    return values.astype(np.int64)


def _count_positions(document: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of every row among the rows of its document, in the order they came."""
    order = np.argsort(document, kind="stable")
    starts = np.flatnonzero(np.diff(document[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(document)))
    position = np.empty(len(document), np.int64)
    position[order] = np.arange(len(document)) - np.repeat(starts, lengths)
    return position


def _documents(path: Path, arrays: dict[str, NDArray], document: NDArray, n: int) -> dict[str, list[Any]]:
    numbers, first = np.unique(document, return_index=True)
    rows: dict[str, list[Any]] = {"document": numbers.tolist()}
    domain = _per_token(path, arrays, "domain", n)
    if domain is None:
        return rows
    if (domain != domain[first][np.searchsorted(numbers, document)]).any():
        raise FormatError(f"{path}: domain changes within a document")
    names = arrays.get("domains")
    if names is None:
        rows["domain"] = [str(index) for index in domain[first].tolist()]
    elif names.ndim != 1 or (len(domain) and int(domain.max()) >= len(names)):
        raise FormatError(f"{path}: domain has index {domain.max()}, domains has {_describe(names)}")
    else:
        rows["domain"] = [str(names[index]) for index in domain[first].tolist()]
    return rows


def _describe(array: NDArray) -> str:
    return f"{array.dtype} {list(array.shape)}"
