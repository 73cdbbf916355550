"""Experts to pin, and what that is worth beside an LRU cache of the same size, on held-out documents."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.counts import Counts
from routestat.counting.document_sample import rows_of, take_sample
from routestat.inference.base.estimate import ratio, without_interval
from routestat.progress import Tick, silent
from routestat.serving.lru_curve import lru_curve
from routestat.serving.pins import pinned_hits, pinned_lists, uses_of_experts
from routestat.serving.steps import make_steps
from routestat.study.placement_findings import PinFinding
from routestat.traces.store import Trace


def find_pins(
    trace: Trace,
    counts: Counts,
    loads: Sequence[NDArray[np.int64]],
    held_out: NDArray[np.int64],
    capacity: int,
    tick: Tick = silent,
) -> PinFinding:
    """Choose the experts to pin, and replay the held-out documents with them and with LRU.

    Parameters
    ----------
    trace : Trace
    counts : Counts
        Of the trace: its routers and groups.
    loads : sequence of int array ``[expert]``
        For each router how often each expert was chosen in the other documents.
    held_out : int array
        Groups of documents; as many of these documents are replayed as fit in memory.
    capacity : int
        Experts per layer.
    tick : callable(what, done, total)
    """
    pinned = pinned_lists(loads, capacity)
    layers = sorted({router.layer for router in counts.routers})
    sample = take_sample(trace, layers, counts.groups, progress=partial(tick, "reading held-out documents"))
    sample = rows_of(sample, np.isin(sample.group, held_out))
    if not len(sample):
        why = without_interval(math.nan, 0, "no documents were held out: they are one independent unit")
        return PinFinding(capacity, pinned, why, why, why, _uniform(loads, capacity))
    steps = make_steps(sample, counts.routers)
    uses = np.split(uses_of_experts(steps), steps.offsets[1:-1], axis=1)
    chosen = sum(own.sum(axis=1) for own in uses)
    static = pinned_hits(uses, pinned)
    # One document after the other: an event is the choice of one token, and needs as many experts.
    lru = lru_curve(steps).hits(capacity).sum(axis=(1, 2))
    return PinFinding(
        capacity,
        pinned,
        ratio(static, chosen),
        ratio(lru, chosen),
        ratio(static - lru, chosen),
        _uniform(uses, capacity),
        sample.note if len(sample) < int(counts.tokens[held_out].sum()) else "",
    )


def _uniform(loads: Sequence[NDArray[np.int64]], capacity: int) -> float:
    """Return the share of the choices that as many experts pinned at random would serve."""
    total = float(sum(int(load.sum()) for load in loads))
    kept = sum(float(load.sum()) * min(1.0, capacity / load.shape[-1]) for load in loads)
    return kept / total if total else math.nan
