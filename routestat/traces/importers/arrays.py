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
phase           [tokens]                   0 prefill, 1 decode (optional: all prefill)
clusters        [tokens] or [documents]    documents with the same number are not independent (optional: found)
==============  =========================  ==========================================================
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.clusters.units import CLUSTER_COLUMN, named_column
from routestat.traces.importers.common.array_axes import oriented, refuse_doubtful_axes
from routestat.traces.importers.common.array_files import UNREADABLE, require_members_once
from routestat.traces.importers.common.assembly import ImportedTrace, routers_of
from routestat.traces.importers.common.checks import (
    check_subsets,
    count_positions,
    layer_numbers_from,
    mask_of_copies,
    pick_layers,
)
from routestat.traces.importers.common.messages import listed, reason
from routestat.traces.importers.common.missing_markers import RawRows, check_type
from routestat.traces.importers.common.misspelt_names import closest_name
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.placeholders import settle_rows
from routestat.traces.metadata import LAYER_NUMBERS
from routestat.traces.validation import shown

KNOWN = (
    "experts",
    "document",
    "position",
    "token",
    "layers",
    "n_experts",
    "domain",
    "domains",
    "phase",
    "clusters",
)
PER_TOKEN = ("document", "position", "token", "domain", "phase")


def read_arrays(path: Path, options: ImportOptions | None = None) -> ImportedTrace:
    """Read and check an ``.npz`` of plain arrays; nothing in it is ever executed.

    Raises
    ------
    FormatError
        Naming the file and the array that is wrong.
    """
    options = options or ImportOptions()
    notes: list[str] = []
    arrays = _load(path, options.cluster, notes)
    experts = _experts(path, arrays, options.axes)
    n, _, top_k = experts.shape
    axis = _layers(path, arrays, experts.shape[1])
    experts, layers = pick_layers(path, experts, axis, options.layers, notes)
    given = _n_experts(path, arrays)
    for number in (given, options.n_experts):
        if number is not None:
            check_type(path, experts.dtype, number)
    raw, order = _rows(path, arrays, experts, notes)
    documents = _documents(path, arrays, raw.document, n)
    column = _add_clusters(path, arrays, options.cluster, documents, raw.document)
    raw = raw.taken(order)
    if "position" not in arrays and n:
        raw, order = _without_copies(raw, order, notes)

    def place(row: int) -> str:
        return f"row {order[row]}"

    if n:
        drop = options.drop_dummy_rows
        raw, layers, n_experts = settle_rows(
            path, raw, layers, given, options.n_experts, drop, notes, place, accept_missing=True
        )
        if drop:
            # Rows were left out, so that their order in the file is unknown.
            place = "row {} of those kept".format
            documents = _kept_documents(documents, raw.document)
    else:
        n_experts = _no_tokens(path, options.n_experts if given is None else given)
    check_subsets(path, raw.experts, n_experts, layers, place)
    return ImportedTrace(
        routers_of(path, layers, n_experts, top_k),
        raw.experts,
        raw.document.astype(np.int32),
        raw.position.astype(np.int32),
        None if raw.token is None else raw.token.astype(np.int32),
        documents,
        tuple(notes),
        raw.decode,
        extra={
            LAYER_NUMBERS: layer_numbers_from(axis, options.layers),
            **({} if column is None else {CLUSTER_COLUMN: column}),
        },
    )


def _rows(
    path: Path, arrays: dict[str, NDArray[Any]], experts: NDArray[np.integer], notes: list[str]
) -> tuple[RawRows, NDArray[np.intp]]:
    """Return the rows in the order of the file, and their order by document and position."""
    n = len(experts)
    document = _per_token(path, arrays, "document", n)
    if document is None:
        document = np.zeros(n, np.int64)
        notes.append("no document array: all tokens count as one document, so there will be no intervals")
    position = _per_token(path, arrays, "position", n)
    if position is None:
        position = count_positions(document)
    order = np.lexsort((position, document))
    if (order[1:] < order[:-1]).any():
        notes.append("rows were put in order of document and position")
    token = _per_token(path, arrays, "token", n)
    phase = _per_token(path, arrays, "phase", n)
    decode = None if phase is None or not phase.any() else phase == 1
    return RawRows(experts, document, position, token, decode), order


def _without_copies(
    raw: RawRows, order: NDArray[np.intp], notes: list[str]
) -> tuple[RawRows, NDArray[np.intp]]:
    """Leave out copies of overlapping windows; positions are counted again."""
    kept = mask_of_copies(raw.experts, raw.document, raw.token, notes)
    if kept is None:
        return raw, order
    raw = raw.taken(kept)
    return replace(raw, position=count_positions(raw.document)), order[kept]


def _add_clusters(
    path: Path,
    arrays: dict[str, NDArray[Any]],
    named: str | None,
    documents: dict[str, list[Any]],
    document: NDArray[np.integer],
) -> str | None:
    """Add the column of clusters to the documents and return its name; None without clusters."""
    name = "clusters" if named is None and "clusters" in arrays else named
    if name is None:
        return None
    column = named_column(name)
    if column not in documents:
        documents[column] = _clusters(path, arrays, name, document)
    return column


def _kept_documents(documents: dict[str, list[Any]], document: NDArray[np.integer]) -> dict[str, list[Any]]:
    """Return the documents that still have rows."""
    kept = np.isin(documents["document"], document)
    return {
        key: [one for one, keep in zip(column, kept, strict=True) if keep]
        for key, column in documents.items()
    }


def _load(path: Path, cluster: str | None, notes: list[str]) -> dict[str, NDArray]:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    try:
        # Opened here, as NumPy does not close files that it cannot read.
        with path.open("rb") as handle:
            archive = np.load(handle, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise FormatError(f"{path}: a single array; save it with np.savez(..., experts=array)")
            require_members_once(path, archive.zip)
            if "experts" not in archive.files:
                raise FormatError(f"{path}: no array named experts; it has {listed(archive.files)}")
            names = KNOWN if cluster is None else (*KNOWN, cluster)
            arrays = {name: archive[name] for name in names if name in archive.files}
            notes += [_unread(name, names) for name in archive.files if name not in names]
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise FormatError(f"{path}: {name} is no array")
        return arrays
    except FormatError:
        raise
    except UNREADABLE as error:
        raise FormatError(f"{path}: not a readable .npz of plain arrays ({reason(error)})") from None


def _unread(name: str, known: tuple[str, ...]) -> str:
    like = closest_name(name, known)
    return f"array {shown(name)} is not read" + ("" if like is None else f"; did you mean {like}?")


def _experts(path: Path, arrays: dict[str, NDArray], axes: str | None) -> NDArray[np.integer]:
    """Return the experts ``[token, layer, slot]``; refuses ambiguous axes."""
    experts = arrays["experts"]
    if experts.ndim != 3 or experts.dtype.kind not in "iu":
        raise FormatError(f"{path}: experts must be integers [tokens, layers, k], got {_describe(experts)}")
    if axes is None:
        lengths = {
            axis: {name: len(arrays[name]) for name in names if name in arrays and arrays[name].ndim == 1}
            for axis, names in (("tokens", PER_TOKEN), ("layers", ("layers",)))
        }
        refuse_doubtful_axes(str(path), [experts], lengths)
    experts = oriented(experts, axes)
    if 0 in experts.shape[1:]:
        raise FormatError(f"{path}: experts must be integers [tokens, layers, k], got {_describe(experts)}")
    return experts


def _layers(path: Path, arrays: dict[str, NDArray], n_layers: int) -> list[int] | None:
    if "layers" not in arrays:
        return None
    layers = arrays["layers"]
    if layers.shape != (n_layers,) or layers.dtype.kind not in "iu":
        raise FormatError(f"{path}: layers must be {n_layers} integers, got {_describe(layers)}")
    if layers.min() < 0 or (np.diff(layers.astype(np.int64)) <= 0).any():
        raise FormatError(f"{path}: layers must rise from 0 or more, got {layers.tolist()}")
    return [int(layer) for layer in layers]


def _n_experts(path: Path, arrays: dict[str, NDArray]) -> int | None:
    """Return the experts per router, if the file gives them."""
    if "n_experts" not in arrays:
        return None
    given = arrays["n_experts"]
    if given.size != 1 or given.dtype.kind not in "iu" or int(given.ravel()[0]) < 1:
        raise FormatError(f"{path}: n_experts must be one positive integer, got {_describe(given)}")
    return int(given.ravel()[0])


def _no_tokens(path: Path, n_experts: int | None) -> int:
    if n_experts is None:
        raise FormatError(f"{path}: no tokens and no n_experts")
    return n_experts


def _per_token(path: Path, arrays: dict[str, NDArray], name: str, n: int) -> NDArray | None:
    if name not in arrays:
        return None
    values = arrays[name]
    if values.shape != (n,) or values.dtype.kind not in "iu":
        raise FormatError(f"{path}: {name} must be {n} integers, one per token, got {_describe(values)}")
    least, most = (-1 if name == "token" else 0), (1 if name == "phase" else np.iinfo(np.int32).max)
    if n and (int(values.min()) < least or int(values.max()) > most):
        row = int(np.argmax((values < least) | (values > most)))
        raise FormatError(f"{path}: {name} must lie in {least} … {most}, got {values[row]} in row {row}")
    return values.astype(np.int64)


def _documents(path: Path, arrays: dict[str, NDArray], document: NDArray, n: int) -> dict[str, list[Any]]:
    numbers, first = np.unique(document, return_index=True)
    rows: dict[str, list[Any]] = {"document": numbers.tolist()}
    domain = _per_token(path, arrays, "domain", n)
    if domain is None:
        return rows
    changed = domain != domain[first][np.searchsorted(numbers, document)]
    if changed.any():
        row = int(np.argmax(changed))
        raise FormatError(f"{path}: domain changes within a document: row {row} of document {document[row]}")
    names = arrays.get("domains")
    if names is None:
        rows["domain"] = [str(index) for index in domain[first].tolist()]
    elif names.ndim != 1 or (len(domain) and int(domain.max()) >= len(names)):
        raise FormatError(
            f"{path}: domain has index {domain.max()} in row {int(domain.argmax())}, domains has {_describe(names)}"
        )
    else:
        rows["domain"] = [str(names[index]) for index in domain[first].tolist()]
    return rows


def _clusters(path: Path, arrays: dict[str, NDArray], name: str, document: NDArray) -> list[int | str]:
    """Return the cluster of every document, from an array with one value per token or per document."""
    if name not in arrays:
        raise FormatError(f"{path}: --cluster {name}: no such array, and the documents have no such column")
    numbers, first = np.unique(document, return_index=True)
    values = arrays[name]
    if values.ndim != 1 or values.dtype.kind not in "iuU" or len(values) not in (len(document), len(numbers)):
        raise FormatError(
            f"{path}: {name} must be {len(document)} whole numbers or words, one a token, or {len(numbers)}, one a "
            f"document, got {_describe(values)}"
        )
    if values.dtype.kind != "U" and len(values) and int(values.min()) < 0:
        raise FormatError(
            f"{path}: {name} has no value (below 0) at {int(np.argmin(values))}; fill the holes"
        )
    if len(values) == len(document):
        label = values[first]
        changed = values != label[np.searchsorted(numbers, document)]
        if changed.any():
            row = int(np.argmax(changed))
            raise FormatError(
                f"{path}: {name} changes within a document in row {row}; a document is in one cluster"
            )
        values = label
    return list(values.tolist())


def _describe(array: NDArray) -> str:
    return f"{array.dtype} {list(array.shape)}"
