"""Documents as readers find them, joined into one trace."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.clusters.units import LABEL, named_column
from routestat.traces.importers.common.array_axes import refuse_doubtful_axes
from routestat.traces.importers.common.assembly import ImportedTrace, check_imported
from routestat.traces.importers.common.options import ImportOptions


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
        Their number, where the ids are unknown.
    cluster : str or int, optional
        Documents of one cluster are not independent: answers to one request, turns of one conversation.
    domain : str, optional
    weights : float array ``[row, layer, slot]``, optional
        Gate weights of `experts`.
    axes_known : bool
        Whether something in the file shows that the first axis is the tokens; else the shapes are checked.
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


#: Fields by which sources mark records of one cluster.
CLUSTER_FIELDS = ("conversation_id", "session_id", "group_id", "group_index", "prompt_id")


def cluster_of(where: str, record: Mapping[str, Any], options: ImportOptions) -> str | int | None:
    """Return the cluster of a record: the field named by --cluster, or one that is known to have that meaning.

    Raises
    ------
    FormatError
        If the wanted field is absent, or holds neither text nor a whole number.
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
    """Join documents of one shape and check them; `said` is passed to `check_imported`.

    Raises
    ------
    FormatError
        If there is none, two differ in layers or k, or the order of the axes is ambiguous.
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
    # Nothing shows that the rows of a bare array are one run of a text.
    counted = all(not one.axes_known and not one.first and one.n_prompt is None for one in found)
    if None in prompts:
        unsaid = sum(n is None for n in prompts)
        notes.append(
            f"{unsaid} documents do not give the end of the prompt: their rows are all marked prefill"
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


def _unlike(found: Sequence[SourceDocument]) -> list[str]:
    """Return notes on documents that lack what others have: one may be cut off, or lack a field."""
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
        # Kinds differ between files, but a column has one type.
        column = LABEL if options.cluster is None else named_column(options.cluster)
        columns[column] = [None if one is None else str(one) for one in clusters]
    return columns


def _tokens_of_rows(one: SourceDocument) -> NDArray[np.int64]:
    """Return the token id of every row; −1 where the file does not give it."""
    ids = np.full(len(one.experts), -1, np.int64)
    if one.tokens is not None:
        known = np.asarray(one.tokens, np.int64)[one.first : one.first + len(ids)]
        ids[: len(known)] = known
    return ids


def _unrouted(one: SourceDocument) -> int | None:
    """Count the last tokens without a row: engines do not forward the tokens they sampled last."""
    total = len(one.tokens) if one.tokens is not None else one.n_tokens
    return None if total is None else total - one.first - len(one.experts)
