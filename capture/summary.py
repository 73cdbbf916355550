"""Expert shares of a finished capture, computed from the trace on disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.traces.metadata import Router
from routestat.traces.store import Trace

SAMPLES = 10
SHOWN_EXPERTS = 8


def expert_share_lines(out: Path) -> Iterator[str]:
    """Yield lines with the share of tokens for which each expert was executed: per router, then per document."""
    trace = Trace.open(out, verify=False)
    routers = trace.meta.routers
    names = trace.documents.column("name").to_pylist()
    numbers = trace.documents.column("document").to_pylist()[:SAMPLES]
    few = [routers[i] for i in sorted({0, len(routers) // 2, len(routers) - 1})]
    overall = {router.name: np.zeros(router.n_experts, np.int64) for router in routers}
    sample = {number: {r.name: np.zeros(r.n_experts, np.int64) for r in few} for number in numbers}
    for batch in trace.batches([router.name for router in routers]):
        for router in routers:
            overall[router.name] += _counts(batch.columns[router.name], router)
        for number in set(np.unique(batch.document).tolist()) & set(numbers):
            of_sample = batch.document == number
            for router in few:
                sample[number][router.name] += _counts(batch.columns[router.name][of_sample], router)
    yield f"expert shares, {trace.n_tokens:,} tokens (share of tokens an expert was executed for):"
    for router in routers:
        yield f"  {router.name}  {_shares(overall[router.name], router)}"
    yield f"per sample, {' '.join(router.name for router in few)}:"
    for number, name in zip(numbers, names, strict=False):
        for place, router in enumerate(few):
            label = (name or f"document {number}")[-28:] if place == 0 else ""
            yield f"  {label:<28} {router.name}  {_shares(sample[number][router.name], router)}"
    if trace.documents.num_rows > SAMPLES:
        yield f"  … and {trace.documents.num_rows - SAMPLES:,} more in {out}"


def _counts(column: NDArray[np.unsignedinteger], router: Router) -> NDArray[np.int64]:
    """Count how often each expert was executed, from a column of states or of sorted rows."""
    alphabet = router.alphabet
    if not alphabet.is_ranked:
        present = column[column[:, 0] != np.iinfo(column.dtype).max]
        return np.bincount(present.reshape(-1), minlength=router.n_experts)
    states, counts = np.unique(column[column != alphabet.missing], return_counts=True)
    weights = np.repeat(counts, router.top_k)
    return np.bincount(alphabet.unrank(states).reshape(-1), weights, router.n_experts).astype(np.int64)


def _shares(counts: NDArray[np.int64], router: Router) -> str:
    share = counts * router.top_k / max(int(counts.sum()), 1)
    if router.n_experts <= SHOWN_EXPERTS:
        return " ".join(f"{value:.2f}" for value in share)
    heaviest = np.argsort(-share, kind="stable")[:SHOWN_EXPERTS]
    most = " ".join(f"{expert}:{share[expert]:.2f}" for expert in heaviest)
    return f"{most}  (even {router.top_k / router.n_experts:.2f}, {int((counts == 0).sum())} unused)"
