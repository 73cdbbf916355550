"""Biclusters of every transition, their stability, and the share of information that they explain."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.progress import Tick, in_threads, silent
from routestat.structure.bicluster_checks import NullShare, Stability, null_share, stability
from routestat.structure.biclusters import Blocks, spectral_blocks
from routestat.study.structure_plan import StructurePlan
from routestat.traces.metadata import Router

RESAMPLES, NULL_DRAWS = 10, 5


@dataclass(frozen=True)
class BlockFinding:
    """Biclusters of one transition, their stability, and the share of information that they explain in noise.

    `table` ``[source, target]`` holds the counts of the transition.
    """

    source: Router
    target: Router
    table: NDArray[np.int64]
    blocks: Blocks
    stability: Stability
    null: NullShare


def find_blocks(
    counts: Counts,
    plan: StructurePlan,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> tuple[BlockFinding, ...]:
    """Cluster the states of every transition.

    Parameters
    ----------
    counts : Counts
        With ``Context.layer(1)``.
    plan : StructurePlan
    rng : numpy.random.Generator
        Starts, resamples and null draws; each transition has its own stream.
    tick : callable(what, done, total)
    threads : int, optional
    """
    pairs = list(zip(counts.routers, counts.routers[1:], strict=False))

    def of_pair(source: Router, target: Router, own: np.random.Generator) -> BlockFinding:
        table = counts.table(Context.layer(1), target)
        total = table.sum(axis=0, dtype=np.int64)
        slots = source.top_k * target.top_k if counts.states == "expert" else 1
        blocks = spectral_blocks(total, plan.n_blocks, own, slots=slots)
        stable = stability(table, blocks, own, n_resamples=RESAMPLES)
        null = null_share(total, plan.n_blocks, own, n_draws=NULL_DRAWS, slots=slots)
        return BlockFinding(source, target, total, blocks, stable, null)

    streams = rng.spawn(len(pairs))
    jobs = [partial(of_pair, *pair, own) for pair, own in zip(pairs, streams, strict=True)]
    tick("finding blocks", 0, len(pairs))
    return in_threads(jobs, threads, tick, "finding blocks")


def clearest_blocks(found: Sequence[BlockFinding]) -> int | None:
    """Return the transition whose blocks explain most beyond the share in noise; None if none is defined."""
    beyond = [item.blocks.share_of_mi - item.null.mean_share for item in found]
    known = [place for place, share in enumerate(beyond) if share == share]
    return max(known, key=lambda place: beyond[place]) if known else None
