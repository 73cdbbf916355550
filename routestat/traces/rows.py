"""Plain arrays as rows of the store."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from routestat.errors import TraceError
from routestat.traces.alphabet import Alphabet
from routestat.traces.manifest import (
    FIXED_COLUMNS,
    schema_of,
)
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.validation import (
    PHASES,
    first_line,
    require_range,
    shown,
    to_array,
    whole_column,
)


def to_table(
    meta: TraceMeta,
    document: ArrayLike,
    position: ArrayLike | None,
    *,
    states: Any = None,
    experts: ArrayLike | None = None,
    token: ArrayLike | None = None,
    phase: Any = "prefill",
    columns: Mapping[str, ArrayLike] | None = None,
) -> pa.Table:
    """Rows as an Arrow table in the schema of the store (see `TraceWriter.write` for the arguments)."""
    document = whole_column(document, "document")
    n = len(document)
    if position is None:
        starts = np.flatnonzero(np.diff(document, prepend=document[:1] - 1) != 0)
        position = np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))
    routed = _states_of(meta, states, experts, n)
    columns = dict(columns or {})
    schema = schema_of(meta, tuple(columns))
    owners = {router.name: router for router in meta.routers}
    arrays = [
        pa.array(document),
        pa.array(whole_column(position, "position", n=n)),
        pa.array(np.full(n, -1, np.int32) if token is None else whole_column(token, "token", low=-1, n=n)),
        pa.DictionaryArray.from_arrays(_phase_codes(phase, n), pa.array(PHASES)),
    ]
    for field in list(schema)[FIXED_COLUMNS:]:
        given = routed[field.name] if field.name in routed else columns[field.name]
        arrays.append(_to_arrow(given, field, owners[field.name.split(".", 1)[0]], n))
    return pa.Table.from_arrays(arrays, schema=schema)


def _phase_codes(phase: Any, n: int) -> pa.Array:
    if isinstance(phase, str):
        given = np.full(n, phase)
        words = {phase}
    else:
        try:
            given = np.asarray(phase)
        except ValueError as error:
            raise TraceError(f"phase is no list of words ({first_line(error)})") from None
        if given.shape != (n,):
            raise TraceError(f"phase must be one word or {n} of them, got shape {given.shape}")
        words = set(np.unique(given).tolist() if given.dtype.kind == "U" else map(str, given.tolist()))
    unknown = sorted(words - set(PHASES)) if n or isinstance(phase, str) else []
    if unknown:
        raise TraceError(f"phase must be one of {', '.join(PHASES)}, got {shown(unknown[0])}")
    return pa.array((given == PHASES[1]).astype(np.int8), pa.int8())


def _to_arrow(values: Any, field: pa.Field, router: Router, n: int) -> pa.Array:
    """Make a column of the store; values that its narrow type cannot hold are refused."""
    name, kind = field.name, field.type
    is_list = pa.types.is_fixed_size_list(kind)
    inner = kind.value_type if is_list else kind
    shape = (n, kind.list_size) if is_list else (n,)
    if pa.types.is_floating(inner):
        array = to_array(values, name, shape, "iuf")
        with np.errstate(over="ignore"):
            array = array.astype(np.float16)
        bad = ~np.isfinite(array).all(axis=1)
        if bad.any():
            raise TraceError(f"row {int(np.argmax(bad))}: {name}: weights are finite, at most 65504")
    else:
        array = to_array(values, name, shape)
        missing = int(np.iinfo(inner.to_pandas_dtype()).max)
        ranked = not is_list and not name.endswith(".top1")
        limit = router.alphabet.size if ranked else router.n_experts
        word = "states" if ranked else "experts"
        require_range(array, missing, f"{name}: {word} are 0 … {limit - 1} (or {missing} for missing)")
        array = array.astype(inner.to_pandas_dtype())
    if is_list:
        flat = pa.array(np.ascontiguousarray(array).reshape(-1), inner)
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return pa.array(np.ascontiguousarray(array), kind)


def _states_of(meta: TraceMeta, states: Any, experts: ArrayLike | None, n: int) -> dict[str, Any]:
    """Every router's column from states (mapping, or ``[row, router]``) or experts ``[row, router, slot]``."""
    if (states is None) == (experts is None):
        raise TraceError("give either states or experts")
    if isinstance(states, Mapping):
        absent = [router.name for router in meta.routers if router.name not in states]
        if absent:
            raise TraceError(f"states lack router {absent[0]}")
        return {router.name: states[router.name] for router in meta.routers}
    word = "states" if experts is None else "experts"
    try:
        given = np.asarray(states if experts is None else experts)
    except ValueError as error:
        raise TraceError(f"{word} are no array ({first_line(error)})") from None
    if given.ndim != (2 if experts is None else 3) or given.shape[1] != len(meta.routers) or len(given) != n:
        shape = "[row, router]" if experts is None else "[row, router, slot]"
        raise TraceError(
            f"{word} must be {shape} with {n} rows and {len(meta.routers)} routers, got shape {given.shape}"
        )
    if experts is None:
        return {router.name: given[:, i] for i, router in enumerate(meta.routers)}
    return {router.name: rank_rows(given[:, i], router) for i, router in enumerate(meta.routers)}


def _expert_rows(rows: NDArray[np.integer], alphabet: Alphabet) -> NDArray[np.unsignedinteger]:
    return np.ascontiguousarray(rows, alphabet.expert_dtype)


def rank_rows(rows: NDArray[np.integer], router: Router) -> NDArray[np.unsignedinteger]:
    """One router's column from its expert rows ``[row, slot]``; a row of −1 is missing.

    Raises
    ------
    TraceError
        Naming the router and the first row that is no subset.
    """
    alphabet = router.alphabet
    to_array(rows, router.name, (len(rows), router.top_k))
    # Only −1 is missing; another negative id is an error that would otherwise be silent.
    present = np.zeros(len(rows), bool)
    for slot in range(router.top_k):
        present |= rows[:, slot] != -1
    try:
        if present.all():
            return (
                alphabet.rank(rows)
                if alphabet.is_ranked
                else _expert_rows(alphabet.sorted_rows(rows), alphabet)
            )
        if alphabet.is_ranked:
            column = np.full(len(rows), alphabet.missing, alphabet.dtype)
            column[present] = alphabet.rank(rows[present])
        else:
            column = np.full(rows.shape, np.iinfo(alphabet.expert_dtype).max, alphabet.expert_dtype)
            column[present] = alphabet.sorted_rows(rows[present])
    except ValueError as error:
        ordered = np.sort(rows, axis=1)
        bad = (ordered < 0) | (ordered >= router.n_experts)
        bad[:, 1:] |= ordered[:, 1:] == ordered[:, :-1]
        row = int(np.argmax(bad.any(axis=1) & present))
        raise TraceError(f"layer {router.layer}, row {row}: {error}") from None
    return column


def labels_of_documents(
    document: NDArray[np.int32], clusters: ArrayLike, numbers: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return the cluster of each document, from the clusters of its rows."""
    given = whole_column(clusters, "clusters", n=len(document))
    _, first = np.unique(document, return_index=True)
    label = given[first]
    changed = given != label[np.searchsorted(numbers, document)]
    if changed.any():
        row = int(np.argmax(changed))
        raise TraceError(f"row {row}: clusters must not change within a document, they do in {document[row]}")
    return np.asarray(label)
