"""Imported rows ready for the store, checked in the same way for all readers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from routestat.traces.validation import LARGEST, require_text


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
    noted = list(notes)
    described = described or {}
    said["extra"] = {
        **said.get("extra", {}),
        **_cluster_column(path, described, options),
        LAYER_NUMBERS: layer_numbers_from(axis, options.layers),
    }
    if weights is not None:
        weights, _ = pick_layers(path, weights, axis, options.layers, [])
    experts, layers = pick_layers(path, experts, axis, options.layers, noted)
    positions = count_positions(document) if position is None else position
    raw = RawRows(experts, document, positions, token, decode, weights)
    if position is None and (kept := mask_of_copies(experts, document, token, noted)) is not None:
        raw = raw.taken(kept)
        raw = replace(raw, position=count_positions(raw.document))
    place = _place_of(path, raw, places, list(described.get("name", ())))
    raw, layers, n_experts = settle_rows(
        path, raw, layers, n_experts, options.n_experts, options.drop_dummy_rows, noted, place, keep_layers
    )
    # Rows may have been dropped.
    place = _place_of(path, raw, places, list(described.get("name", ())))
    check_subsets(path, raw.experts, n_experts, layers, place)
    _check_range(path, raw.token, -1, "token ids", place)
    _check_range(path, raw.position, 0, "positions", place)
    numbers = np.unique(raw.document).tolist()
    columns: dict[str, list[Any]] = {"document": numbers}
    for key, values in described.items():
        columns[key] = [_storable(path, key, values[number]) for number in numbers]
    return ImportedTrace(
        routers_of(path, layers, n_experts, raw.experts.shape[2]),
        raw.experts,
        raw.document.astype(np.int32),
        raw.position.astype(np.int32),
        None if raw.token is None else raw.token.astype(np.int32),
        columns,
        tuple(noted),
        raw.decode if raw.decode is not None and raw.decode.any() else None,
        weights=raw.weights,
        **said,
    )


def _cluster_column(
    path: Path, described: Mapping[str, Sequence[Any]], options: ImportOptions
) -> dict[str, str]:
    """Return the column of the documents that --cluster names, as an entry of `extra`."""
    if options.cluster is None:
        return {}
    column = named_column(options.cluster)
    if column not in described:
        known = ", ".join(described) or "none"
        raise FormatError(
            f"{path}: --cluster {options.cluster}: documents of this format have no such column; they have {known}"
        )
    return {CLUSTER_COLUMN: column}


def _place_of(path: Path, raw: RawRows, places: Sequence[str], names: Sequence[Any]) -> Callable[[int], str]:
    """Return a function that describes a row of `raw` in messages: its place in the source, document and position."""

    def place(row: int) -> str:
        number = int(raw.document[row])
        before = f"{_without_path(path, places[number])}, " if places else ""
        named = listed([names[number] if names else str(number)])
        return f"{before}document {named}, position {raw.position[row]}"

    return place


def _check_range(
    path: Path, values: NDArray[np.integer] | None, least: int, what: str, place: Callable[[int], str]
) -> None:
    """Refuse the first value that the store's 32 bits do not hold."""
    if values is None or not values.size or (values.min() >= least and values.max() <= LARGEST):
        return
    row = int(np.argmax((values < least) | (values > LARGEST)))
    raise FormatError(f"{path}: {place(row)}: {what} must lie in {least} … {LARGEST}, got {values[row]}")


def _storable(path: Path, column: str, value: Any) -> Any:
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


def _without_path(path: Path, place: str) -> str:
    """Return a place without the path that the message begins with."""
    return place.removeprefix(str(path)).lstrip("/:,. ") or path.name
