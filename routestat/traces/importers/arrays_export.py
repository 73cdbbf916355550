"""A trace written as plain arrays in an ``.npz``, which `arrays` reads back."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.progress import Progress
from routestat.traces.batch import to_batch
from routestat.traces.clusters.units import CLUSTER_COLUMN
from routestat.traces.metadata import Router, layers_were_counted
from routestat.traces.store import Trace

# Most memory for all arrays of a trace that is written.
LIMIT_BYTES = 4 << 30


def write_arrays(trace: Trace, path: Path, progress: Progress | None = None) -> None:
    """Write a trace as the arrays that `read_arrays` reads; the file appears whole or not at all.

    Slots are in ascending order of ids, after the heaviest if that was recorded. Weights, lookahead and the documents'
    other columns are left out: Parquet keeps them.

    Raises
    ------
    RoutestatError
        If routers differ, share a layer, or the arrays would take more than `LIMIT_BYTES` of memory.
    """
    routers, n = trace.meta.routers, trace.n_tokens
    if len({(router.n_experts, router.top_k) for router in routers}) > 1:
        raise RoutestatError(
            f"{path}: an .npz has one n_experts and k for all routers; write .parquet instead"
        )
    if len(set(trace.meta.layers)) < len(routers):
        raise RoutestatError(f"{path}: an .npz has one router per layer; write .parquet instead")
    n_experts, top_k = routers[0].n_experts, routers[0].top_k
    dtype = next(t for t in (np.int8, np.int16, np.int32) if n_experts - 1 <= np.iinfo(t).max)
    size = n * (len(routers) * top_k * np.dtype(dtype).itemsize + 17)
    if size > LIMIT_BYTES:
        raise RoutestatError(
            f"{path}: {size / 2**30:.1f} GiB in memory, more than the {LIMIT_BYTES / 2**30:g} GiB that an .npz may "
            "take; write .parquet instead"
        )
    arrays: dict[str, NDArray] = {name: np.empty(n, np.int32) for name in ("document", "position", "token")}
    arrays |= {"experts": np.empty((n, len(routers), top_k), dtype), "phase": np.zeros(n, np.int8)}
    row = 0
    for record in trace.record_batches():
        batch, rows = to_batch(record), slice(row, row + record.num_rows)
        arrays["document"][rows], arrays["position"][rows] = batch.document, batch.position
        arrays["token"][rows] = batch.columns["token"]
        arrays["phase"][rows] = _phase_codes(record.column("phase"))
        for index, router in enumerate(routers):
            top1 = batch.columns.get(f"{router.name}.top1")
            arrays["experts"][rows, index] = _expert_rows(batch.columns[router.name], top1, router)
        row += record.num_rows
        if progress is not None:
            progress(row, n)
    if not arrays["phase"].any():
        del arrays["phase"]
    arrays |= {"n_experts": np.array(n_experts)}
    if not layers_were_counted(trace.meta) or trace.meta.layers != tuple(range(len(routers))):
        arrays["layers"] = np.array(trace.meta.layers)
    arrays |= _domains(trace, arrays["document"])
    if trace.meta.extra.get(CLUSTER_COLUMN):
        # Clusters that were not named are found again.
        arrays["clusters"] = trace.units.cluster_of(arrays["document"])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as handle:
            np.savez(handle, allow_pickle=False, **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _phase_codes(column: Any) -> NDArray[np.int8]:
    decode = np.array([name == "decode" for name in column.dictionary.to_pylist()], np.int8)
    return decode[column.indices.to_numpy(zero_copy_only=False)]


def _expert_rows(column: NDArray, top1: NDArray | None, router: Router) -> NDArray[np.integer]:
    """Return experts ``[row, slot]`` of a router's column, −1 where missing, the heaviest first if known."""
    alphabet = router.alphabet
    if alphabet.is_ranked:
        present = column != alphabet.missing
        rows = np.full((len(column), router.top_k), -1, np.int64)
        rows[present] = alphabet.unrank(column[present])
    else:
        rows = column.astype(np.int64)
        present = ~(column == np.iinfo(column.dtype).max).all(axis=1)
        rows[~present] = -1
    if top1 is None:
        return rows
    heaviest = top1.astype(np.int64)[:, None]
    first = np.argsort(rows != heaviest, axis=1, kind="stable")
    return np.where(present[:, None], np.take_along_axis(rows, first, axis=1), -1)


def _domains(trace: Trace, document: NDArray[np.int32]) -> dict[str, NDArray]:
    """`domain` and `domains`, if the documents have any."""
    said = trace.documents.column("domain").to_pylist() if "domain" in trace.documents.schema.names else []
    if not any(said):
        return {}
    names = sorted({name or "" for name in said})
    numbers = np.array(trace.documents.column("document").to_pylist(), np.int64)
    of_document = np.array([names.index(name or "") for name in said], np.int32)
    order = np.argsort(numbers)
    return {
        "domain": of_document[order][np.searchsorted(numbers[order], document)],
        "domains": np.array(names, np.str_),
    }
