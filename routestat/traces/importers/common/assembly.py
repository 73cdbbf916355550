"""Imported rows ready for the store, checked in the same way for all readers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError, TraceError
from routestat.traces.clusters.units import CLUSTER_COLUMN, named_column
from routestat.traces.importers.common.checks import (
    check_subsets,
    count_positions,
    layer_numbers_from,
    mask_of_copies,
    pick_layers,
)
from routestat.traces.importers.common.messages import listed
from routestat.traces.importers.common.missing_markers import RawRows
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.placeholders import settle_rows
from routestat.traces.metadata import LAYER_NUMBERS, Router, routers_like
from routestat.traces.validation import require_text


@dataclass(frozen=True)
class ImportedTrace:
    """Rows ready for the store: documents contiguous, positions rising.

    `decode` marks the rows that were generated (None: all prefill); `notes` reports what had to be assumed;
    `weights` are the experts' gate weights, slot by slot.
    """

    routers: tuple[Router, ...]
    experts: NDArray[np.integer]
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    token: NDArray[np.int32] | None
    documents: dict[str, list[Any]]
    notes: tuple[str, ...]
    decode: NDArray[np.bool_] | None = None
    engine: str = ""
    slot_order: str = "unknown"
    extra: Mapping[str, Any] = field(default_factory=dict)
    weights: NDArray[np.floating] | None = None


def check_imported(
    path: Path,
    experts: NDArray[np.integer],
    document: NDArray[np.integer],
    position: NDArray[np.integer] | None,
    options: ImportOptions,
    *,
    axis: Sequence[int] | None = None,
    n_experts: int | None = None,
    token: NDArray[np.integer] | None = None,
    decode: NDArray[np.bool_] | None = None,
    described: Mapping[str, Sequence[Any]] | None = None,
    notes: Sequence[str] = (),
    weights: NDArray[np.floating] | None = None,
    places: Sequence[str] = (),
    keep_layers: bool = False,
    **said: Any,
) -> ImportedTrace:
    """Check rows ``[token, layer, slot]`` and note what was assumed.

    Parameters
    ----------
    document : int array ``[token]``
        0, 1, … in order.
    position : int array ``[token]``, optional
        Counted within the document if not given.
    axis : sequence of int, optional
        The layer numbers of the second axis, where the file says them.
    n_experts : int, optional
        Where the file says it.
    described : mapping, optional
        Columns of the documents.
    weights : float array, optional
        Gate weights, of the shape of `experts`.
    places : sequence of str, optional
        Place of each document in the source: file, line or field, for messages.
    keep_layers : bool
        Leave out no layer: rows that come in parts must all have the same.
    said : mapping
        `engine`, `slot_order`, `extra` of `ImportedTrace`.

    Raises
    ------
    FormatError
        Naming the file, the layer and the first impossible row.
    """
    spoken = list(notes)
    column = None if options.cluster is None else named_column(options.cluster)
    if column is not None and column not in (described or {}):
        known = ", ".join(described or {}) or "none"
        raise FormatError(
            f"{path}: --cluster {options.cluster}: documents of this format have no such column; they have {known}"
        )
    if column is not None:
        said["extra"] = {**said.get("extra", {}), CLUSTER_COLUMN: column}
    if weights is not None:
        weights, _ = pick_layers(path, weights, axis, options.layers, [])
    said["extra"] = {**said.get("extra", {}), LAYER_NUMBERS: layer_numbers_from(axis, options.layers)}
    experts, layers = pick_layers(path, experts, axis, options.layers, spoken)
    if position is None and (kept := mask_of_copies(experts, document, token, spoken)) is not None:
        experts, document = experts[kept], document[kept]
        token = None if token is None else token[kept]
        decode = None if decode is None else decode[kept]
        weights = None if weights is None else weights[kept]
    positions = count_positions(document) if position is None else position
    names = list((described or {}).get("name", ()))

    def place(row: int) -> str:
        number = int(document[row])
        before = f"{_shortly(path, places[number])}, " if places else ""
        named = listed([names[number] if names else str(number)])
        return f"{before}document {named}, position {positions[row]}"

    raw, layers, n_experts = settle_rows(
        path,
        RawRows(experts, document, positions, token, decode, weights),
        layers,
        n_experts,
        options.n_experts,
        options.drop_dummy_rows,
        spoken,
        place,
        keep_layers,
    )
    experts, document, positions = raw.experts, raw.document, raw.position
    token, decode, weights = raw.token, raw.decode, raw.weights
    check_subsets(path, experts, n_experts, layers, place)
    largest = np.iinfo(np.int32).max
    if token is not None and (token.min() < -1 or token.max() > largest):
        row = int(np.argmax((token < -1) | (token > largest)))
        raise FormatError(f"{path}: {place(row)}: token ids must lie in −1 … {largest}, got {token[row]}")
    if positions.size and (positions.min() < 0 or positions.max() > largest):
        row = int(np.argmax((positions < 0) | (positions > largest)))
        raise FormatError(f"{path}: {place(row)}: positions must lie in 0 … {largest}")
    numbers = np.unique(document).tolist()
    columns: dict[str, list[Any]] = {"document": numbers}
    for key, values in (described or {}).items():
        columns[key] = [_written(path, key, values[number]) for number in numbers]
    return ImportedTrace(
        routers_of(path, layers, n_experts, experts.shape[2]),
        experts,
        document.astype(np.int32),
        positions.astype(np.int32),
        None if token is None else token.astype(np.int32),
        columns,
        tuple(spoken),
        decode if decode is not None and decode.any() else None,
        weights=weights,
        **said,
    )


def _written(path: Path, column: str, value: Any) -> Any:
    """Return a value of the documents if it can be stored: JSON can hold text that is not Unicode."""
    if isinstance(value, str):
        try:
            require_text(value, column)
        except TraceError as error:
            raise FormatError(f"{path}: {error}") from None
    return value


def routers_of(path: Path, layers: Sequence[int], n_experts: int, top_k: int) -> tuple[Router, ...]:
    """Make one router for each layer.

    Raises
    ------
    FormatError
        If such a router is impossible; names the file.
    """
    try:
        return routers_like(list(layers), n_experts, top_k)
    except TraceError as error:
        raise FormatError(f"{path}: {error}") from None


def _shortly(path: Path, place: str) -> str:
    """Return a place without the path that the message begins with."""
    return place.removeprefix(str(path)).lstrip("/:,. ") or path.name
