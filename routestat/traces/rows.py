"""Plain arrays → rows of the store."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from routestat.errors import TraceError
from routestat.traces.manifest import PHASES, schema_of
from routestat.traces.metadata import Router, TraceMeta


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
    document = np.ascontiguousarray(document, dtype=np.int32)
    n = len(document)
    if position is None:
        starts = np.flatnonzero(np.diff(document, prepend=document[:1] - 1) != 0)
        position = np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))
    routed = _states_of(meta, states, experts, n)
    columns = dict(columns or {})
    schema = schema_of(meta, tuple(columns))
    phases = _phase_codes(phase, n)
    arrays: dict[str, Any] = {
        "document": document,
        "position": np.ascontiguousarray(position, dtype=np.int32),
        "token": np.full(n, -1, np.int32) if token is None else np.ascontiguousarray(token, dtype=np.int32),
        **routed,
        **columns,
    }
    built = []
    for field in schema:
        if field.name == "phase":
            built.append(pa.DictionaryArray.from_arrays(phases, pa.array(PHASES)))
            continue
        values = np.asarray(arrays[field.name])
        if len(values) != n:
            raise TraceError(f"column {field.name} has {len(values)} rows where document has {n}")
        built.append(_to_arrow(values, field.type))
    return pa.Table.from_arrays(built, schema=schema)


def _phase_codes(phase: Any, n: int) -> pa.Array:
    given = np.asarray([phase]) if isinstance(phase, str) else np.asarray(phase)
    unknown = set(np.unique(given).tolist()) - set(PHASES)
    if unknown:
        raise TraceError(f"phase must be one of {', '.join(PHASES)}, got {sorted(map(str, unknown))[0]}")
    codes = (given == PHASES[1]).astype(np.int8)
    return pa.array(np.broadcast_to(codes, n) if len(codes) == 1 else codes, pa.int8())


def _to_arrow(values: NDArray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return pa.array(np.ascontiguousarray(values), kind)


def _states_of(meta: TraceMeta, states: Any, experts: ArrayLike | None, n: int) -> dict[str, NDArray]:
    """Every router's column from states (mapping, or ``[row, router]``) or experts ``[row, router, slot]``."""
    if (states is None) == (experts is None):
        raise TraceError("give either states or experts")
    if isinstance(states, Mapping):
        return {router.name: np.asarray(states[router.name]) for router in meta.routers}
    given = np.asarray(states if experts is None else experts)
    if given.ndim != (2 if experts is None else 3) or given.shape[1] != len(meta.routers) or len(given) != n:
        shape = "[row, router]" if experts is None else "[row, router, slot]"
        raise TraceError(
            f"{'states' if experts is None else 'experts'} must be {shape} with {n} rows and "
            f"{len(meta.routers)} routers, got shape {given.shape}"
        )
    if experts is None:
        return {router.name: given[:, i] for i, router in enumerate(meta.routers)}
    return {router.name: rank_rows(given[:, i], router) for i, router in enumerate(meta.routers)}


def rank_rows(rows: NDArray, router: Router) -> NDArray:
    """One router's column from its expert rows ``[row, slot]``; a row of −1 is missing.

    Raises
    ------
    TraceError
        Naming the router and the first row that is no subset.
    """
    alphabet = router.alphabet
    present = ~(rows < 0).all(axis=1)
    try:
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
