"""What every importer hands over: rows ready for the store, checked the same way whatever they came from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError, TraceError
from routestat.traces.clusters.units import CLUSTER_COLUMN, LABEL, named_column
from routestat.traces.importers.common.array_axes import refuse_doubtful_axes
from routestat.traces.importers.common.checks import (
    check_subsets,
    count_positions,
    layer_numbers_from,
    mask_of_copies,
    pick_layers,
)
from routestat.traces.importers.common.messages import listed
from routestat.traces.importers.common.missing_markers import RawRows
from routestat.traces.importers.common.placeholders import settle_rows
from routestat.traces.metadata import LAYER_NUMBERS, Router, routers_like
from routestat.traces.validation import require_text


@dataclass(frozen=True)
class ImportOptions:
    """What the caller says of a file that does not say it itself; None: not said.

    Attributes
    ----------
    layers : tuple of int
        The model's layer numbers.
    stride : int
        Row length of an argsort, in experts.
    cluster : str
        Field or column that says which documents belong together.
    columns : str
        Columns of a table by role, such as ``document=req,position=step,layer=layer,experts=topk``.
    axes : str
        Order of the axes of an array: ``tokens,layers,k`` or ``layers,tokens,k``.
    sequence_parallel : int
        Ranks that hold a part of every sequence each.
    shape, dtype : str
        Of packed bytes, such as ``1000,24,2`` and ``uint8``.
    logits : bool
        Arrays hold router logits ``[tokens, layers, n_experts]``; the `top_k` largest are the choice.
    skip_failed : bool
        Records without routing are left out and counted.
    """

    layers: tuple[int, ...] | None = None
    n_experts: int | None = None
    top_k: int | None = None
    end_of_document: int | None = None
    sequence_length: int | None = None
    iteration: int | None = None
    stride: int | None = None
    drop_dummy_rows: bool = False
    cluster: str | None = None
    columns: str | None = None
    axes: str | None = None
    sequence_parallel: int | None = None
    shape: str | None = None
    dtype: str | None = None
    logits: bool = False
    skip_failed: bool = False


@dataclass(frozen=True)
class ImportedTrace:
    """Rows ready for the store: documents together, positions rising.

    `decode` marks the rows that were generated (None: all prefill); `notes` says in words what had to be assumed;
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


@dataclass(frozen=True)
class SourceDocument:
    """One document as a reader found it, before anything is checked.

    Parameters
    ----------
    where : str
        File, line and field, for messages.
    experts : int array ``[row, layer, slot]``
        −1 is missing.
    name : str
    first : int
        Position of the first row.
    n_prompt : int, optional
        Tokens of the prompt; rows at and after it were generated.
    tokens : int array, optional
        Token ids of the whole document, prompt and answer.
    n_tokens : int, optional
        How many there are, where the ids are unknown.
    cluster : str or int, optional
        Documents with the same one are not independent: answers to one request, turns of one conversation.
    domain : str, optional
    weights : float array ``[row, layer, slot]``, optional
        Gate weights of `experts`.
    axes_known : bool
        Whether something in the file says that the first axis is the tokens; else the shapes are looked at.
    """

    where: str
    experts: NDArray[np.integer]
    name: str
    first: int = 0
    n_prompt: int | None = None
    tokens: NDArray[np.integer] | None = None
    n_tokens: int | None = None
    cluster: str | int | None = None
    domain: str | None = None
    weights: NDArray[np.floating] | None = None
    axes_known: bool = True


#: Fields by which sources say that several of their records belong together.
CLUSTER_FIELDS = ("conversation_id", "session_id", "group_id", "group_index", "prompt_id")


def cluster_of(where: str, record: Mapping[str, Any], options: ImportOptions) -> str | int | None:
    """What a record says it belongs together with: the wanted field, or one that is known to mean that.

    Raises
    ------
    FormatError
        If the wanted field is not there, or holds neither text nor a whole number.
    """
    names = CLUSTER_FIELDS if options.cluster is None else (options.cluster,)
    name = next((one for one in names if record.get(one) is not None), None)
    if name is None:
        if options.cluster is not None:
            raise FormatError(
                f"{where}: no {options.cluster} (--cluster); it has {', '.join(map(str, record))}"
            )
        return None
    value = record[name]
    value = value.item() if isinstance(value, np.generic | np.ndarray) and value.size == 1 else value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FormatError(f"{where}.{name}: a cluster is text or a whole number, got {type(value).__name__}")
    return f"{name} {value}" if options.cluster is None else value


def join_documents(
    path: Path, found: Sequence[SourceDocument], options: ImportOptions, **said: Any
) -> ImportedTrace:
    """Documents of one shape put together and checked; `said` goes on to `check_imported`.

    Raises
    ------
    FormatError
        If there is none, two differ in layers or k, or it is doubtful which axis is which.
    """
    if not found:
        raise FormatError(f"{path}: no routed experts in it")
    if options.axes is None:
        refuse_doubtful_axes(str(path), [one.experts for one in found if not one.axes_known])
    shape = found[0].experts.shape[1:]
    for one in found:
        if one.experts.shape[1:] != shape:
            raise FormatError(
                f"{one.where}: [layers, k] is {list(one.experts.shape[1:])}, in {found[0].where} it is {list(shape)}"
            )
    lengths = [len(one.experts) for one in found]
    position = np.concatenate([np.arange(n) + one.first for n, one in zip(lengths, found, strict=True)])
    prompts = [one.n_prompt for one in found]
    bounds = np.array([np.iinfo(np.int64).max if n is None else n for n in prompts])
    notes = list(said.pop("notes", ()))
    # Of bare arrays nothing says that their rows are one run of a text.
    counted = all(not one.axes_known and not one.first and one.n_prompt is None for one in found)
    if None in prompts:
        unsaid = sum(n is None for n in prompts)
        notes.append(
            f"{unsaid} documents do not say where the prompt ends: their rows are all marked prefill"
        )
    notes += _unlike(found)
    token = None
    if any(one.tokens is not None for one in found):
        token = np.concatenate([_tokens_of_rows(one) for one in found])
    weights = [one.weights for one in found if one.weights is not None]
    return check_imported(
        path,
        np.concatenate([one.experts for one in found]),
        np.repeat(np.arange(len(found)), lengths),
        None if counted else position,
        options,
        token=token,
        decode=position >= np.repeat(bounds, lengths),
        described=_described(found, options),
        notes=notes,
        weights=np.concatenate(weights) if len(weights) == len(found) else None,
        places=[one.where for one in found],
        **said,
    )


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
    """Check rows ``[token, layer, slot]`` and say what was assumed.

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
        Where each document stands in the source: file, line or field, for messages.
    keep_layers : bool
        Leave out no layer: of rows that come in parts all have to have the same.
    said : mapping
        `engine`, `slot_order`, `extra` of `ImportedTrace`.

    Raises
    ------
    FormatError
        Naming the file, the layer and the row that cannot be.
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
    """A value of the documents, if it can be written: JSON can hold text that is no Unicode."""
    if isinstance(value, str):
        try:
            require_text(value, column)
        except TraceError as error:
            raise FormatError(f"{path}: {error}") from None
    return value


def routers_of(path: Path, layers: Sequence[int], n_experts: int, top_k: int) -> tuple[Router, ...]:
    """One router for each layer.

    Raises
    ------
    FormatError
        If there can be no such router; names the file.
    """
    try:
        return routers_like(list(layers), n_experts, top_k)
    except TraceError as error:
        raise FormatError(f"{path}: {error}") from None


def _unlike(found: Sequence[SourceDocument]) -> list[str]:
    """Notes on documents that lack what others have: one may be cut off, or miss a field."""
    notes = []
    empty = sum(not len(one.experts) for one in found)
    if empty:
        notes.append(f"{empty} of {len(found)} documents have no rows and are left out")
    unnamed = sum(one.tokens is None for one in found)
    if 0 < unnamed < len(found):
        notes.append(f"{unnamed} of {len(found)} documents have no token ids, the others do")
    ends = Counter(n for one in found if (n := _unrouted(one)) is not None)
    if len(ends) > 1:
        said = ", ".join(f"{n} in {times} documents" for n, times in sorted(ends.items())[:4])
        notes.append(f"tokens at the end without a row differ: {said}; was something cut off?")
    return notes


def _shortly(path: Path, place: str) -> str:
    """A place without the path that the message begins with."""
    return place.removeprefix(str(path)).lstrip("/:,. ") or path.name


def _described(found: Sequence[SourceDocument], options: ImportOptions) -> dict[str, list[Any]]:
    """Columns of the documents."""
    columns: dict[str, list[Any]] = {
        "name": [one.name for one in found],
        "unrouted_tokens": [_unrouted(one) for one in found],
    }
    if any(one.domain is not None for one in found):
        columns["domain"] = [one.domain for one in found]
    clusters = [one.cluster for one in found]
    if any(one is not None for one in clusters):
        # Of different kinds where files differ; a column has one type.
        column = LABEL if options.cluster is None else named_column(options.cluster)
        columns[column] = [None if one is None else str(one) for one in clusters]
    return columns


def _tokens_of_rows(one: SourceDocument) -> NDArray[np.int64]:
    """The token id of every row; −1 where the file does not say."""
    ids = np.full(len(one.experts), -1, np.int64)
    if one.tokens is not None:
        known = np.asarray(one.tokens, np.int64)[one.first : one.first + len(ids)]
        ids[: len(known)] = known
    return ids


def _unrouted(one: SourceDocument) -> int | None:
    """Tokens at the end that never went through the model: engines do not forward what they sampled last."""
    total = len(one.tokens) if one.tokens is not None else one.n_tokens
    return None if total is None else total - one.first - len(one.experts)
