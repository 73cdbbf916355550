"""Raw dummy rows: what the store cannot hold is refused, or dropped with --drop-dummy-rows.

Zeros in several slots are not a choice, −1 in an unsigned type is not an expert, and ids beyond a type are wrong: a
store cannot hold them. Everything else is stored and found there
(`routestat.traces.dummy_rows.suspicious_runs`), so that nothing is searched here unless it is dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.dummy_rows.findings import findings
from routestat.traces.dummy_rows.not_measured import NotMeasured
from routestat.traces.dummy_rows.removal import rows_of
from routestat.traces.dummy_rows.row_features import LayerLevels, features_of_raw_rows
from routestat.traces.dummy_rows.row_ranges import find_rows, measured_layers
from routestat.traces.dummy_rows.run_collector import RunCollector
from routestat.traces.importers.common.checks import empty_layers, settle_n_experts
from routestat.traces.importers.common.missing_markers import RawRows, check_cut_ids, settle_sentinels
from routestat.traces.number_ranges import span

_DROP = "--drop-dummy-rows"


class NothingRemainsError(FormatError):
    """All rows are dummy rows."""


def settle_zeros(
    path: Path,
    raw: RawRows,
    layers: Sequence[int],
    drop: bool,
    notes: list[str],
    place: Callable[[int], str],
) -> RawRows:
    """Refuse choices of only zeros where there are several slots, or take them as missing.

    Raises
    ------
    FormatError
        Naming the first row, and their number.
    """
    experts = raw.experts
    if experts.shape[2] < 2 or not len(experts):
        return raw
    cells = (experts[..., 0] == 0) & (experts[..., 1] == 0)
    if not cells.any():
        return raw
    cells &= ~experts.any(axis=2)
    rows = np.flatnonzero(cells.any(axis=1))
    if not len(rows):
        return raw
    whole = np.flatnonzero(cells.all(axis=1))
    held = whole if len(whole) else rows
    first, documents = int(held[0]), len(np.unique(raw.document[held]))
    where = "every layer" if len(whole) else f"layer {layers[int(np.argmax(cells[first]))]}"
    said = (
        f"{place(first)}: {experts[first, int(np.argmax(cells[first]))].tolist()} in {where} repeats an expert: one of "
        f"{len(held):,} dummy rows of {documents:,} documents, only zeros"
    )
    if not drop:
        raise FormatError(f"{path}: {said}; drop them with {_DROP}")
    notes.append(f"{said}: taken as missing")
    return replace(raw, experts=np.where(cells[..., None], experts.dtype.type(-1), experts))


def settle_rows(
    path: Path,
    raw: RawRows,
    layers: Sequence[int],
    known: int | None,
    wanted: int | None,
    drop: bool,
    notes: list[str],
    place: Callable[[int], str],
    keep_layers: bool = False,
    accept_missing: bool = False,
) -> tuple[RawRows, list[int], int]:
    """Return rows that the store can hold, their layers, and the number of experts; for all readers.

    Parameters
    ----------
    known, wanted : int, optional
        Experts per router, from the file and from the caller.
    drop : bool
        Leave out dummy rows; otherwise what the store cannot hold is refused, and all else kept.
    keep_layers : bool
        Leave out rows only: rows that come in parts must all have the same layers.
    accept_missing : bool
        A layer may be missing in every row.

    Raises
    ------
    FormatError
        As `settle_sentinels`, `settle_zeros` and `drop_placeholders`.
    """
    given = wanted if known is None else known
    before = raw.experts
    raw = settle_sentinels(path, raw, given, drop, notes, place)
    empty = empty_layers(path, raw.experts, layers, drop and not keep_layers, not accept_missing)
    if empty:
        rest = [at for at, layer in enumerate(layers) if layer not in empty]
        notes.append(f"layers {span(empty)} hold nothing but zeros or −1: left out")
        before = before[:, rest]
        raw, layers = raw.of_layers(rest), [layers[at] for at in rest]
    raw = settle_zeros(path, raw, layers, drop, notes, place)
    n_experts = settle_n_experts(path, raw.experts, known, wanted, notes, place)
    check_cut_ids(path, raw.experts, n_experts)
    if not drop:
        return raw, list(layers), n_experts
    return *drop_placeholders(path, raw, before, layers, n_experts, notes, keep_layers), n_experts


def drop_placeholders(
    path: Path,
    raw: RawRows,
    before: NDArray[np.integer],
    layers: Sequence[int],
    n_experts: int,
    notes: list[str],
    keep_layers: bool = False,
) -> tuple[RawRows, list[int]]:
    """Leave out all dummy rows and layers; inside documents rows become missing.

    Parameters
    ----------
    before : int array ``[token, layer, slot]``
        The experts before markers and zeros became missing.

    Raises
    ------
    NothingRemainsError
    """
    _, width, top_k = raw.experts.shape
    reader, levels = RunCollector(width, top_k), LayerLevels(width)
    reader.add(features_of_raw_rows(raw.experts, raw.document, raw.position, raw.decode, raw.token))
    for layer in range(width):
        levels.add(layer, raw.experts[:, layer], -1)
    constant = () if keep_layers else measured_layers(levels, layers, top_k < n_experts)
    found = NotMeasured(find_rows(reader.finished()), constant)
    notes.extend(finding.sentence for finding in findings(found, len(np.unique(raw.document)), layers, True))
    gone, missing = rows_of(found, raw.document, raw.position)
    experts = raw.experts
    if missing.any():
        experts = experts.copy()
        experts[missing] = -1
    gone |= _emptied_edges(raw, before, gone)
    if gone.all():
        raise NothingRemainsError(f"{path}: every row is a dummy row: nothing remains")
    rest = [place for place, layer in enumerate(layers) if layer not in found.layers]
    kept = replace(raw, experts=experts).taken(np.flatnonzero(~gone))
    return kept if len(rest) == width else kept.of_layers(rest), [layers[place] for place in rest]


def _emptied_edges(raw: RawRows, before: NDArray[np.integer], gone: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rows at the starts and ends of documents that became missing in every layer."""
    if before is raw.experts:
        return np.zeros(len(gone), bool)
    empty = gone | ((raw.experts == -1).all(axis=(1, 2)) & ~(before == -1).all(axis=(1, 2)))
    document, n = raw.document, len(raw.document)
    first = np.flatnonzero(np.append(True, document[1:] != document[:-1]))
    own = np.append(np.flatnonzero(~empty), n)
    last = np.append(first[1:], n)
    number = np.repeat(np.arange(len(first)), last - first)
    begin = np.minimum(own[np.searchsorted(own, first)], last)[number]
    end = (np.append(-1, own[:-1])[np.searchsorted(own[:-1], last, side="left")])[number]
    row = np.arange(n)
    return np.asarray(empty & ((row < begin) | (row > end)))
