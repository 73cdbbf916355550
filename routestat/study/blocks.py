"""Blocks of every transition: how many, whether they are real, what they explain and how stable they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.progress import Tick, in_threads, silent
from routestat.structure.biclusters import Blocks
from routestat.structure.block_search import FoundBlocks, find_biclusters
from routestat.study.structure_plan import StructurePlan
from routestat.traces.metadata import Router


@dataclass(frozen=True)
class BlockFinding:
    """Blocks of one transition.

    `table` ``[source, target]`` holds the counts of the transition.
    """

    source: Router
    target: Router
    table: NDArray[np.int64]
    found: FoundBlocks

    @property
    def blocks(self) -> Blocks:
        """Which states are together."""
        return self.found.blocks


def find_blocks(
    counts: Counts,
    plan: StructurePlan,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> tuple[BlockFinding, ...]:
    """Find the blocks of every transition.

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
        slots = source.top_k * target.top_k if counts.states == "expert" else 1
        found = find_biclusters(
            table,
            own,
            method=plan.blocks_method,
            matrix=plan.blocks_matrix,
            most=plan.n_blocks,
            slots=slots,
        )
        return BlockFinding(source, target, table.sum(axis=0, dtype=np.int64), found)

    streams = rng.spawn(len(pairs))
    jobs = [partial(of_pair, *pair, own) for pair, own in zip(pairs, streams, strict=True)]
    tick("finding blocks", 0, len(pairs))
    return in_threads(jobs, threads, tick, "finding blocks")


def clearest_blocks(found: Sequence[BlockFinding]) -> int | None:
    """Return the transition whose blocks save most of left-out documents; None if there are no blocks anywhere."""
    saved = {place: item.found.number.gain.value for place, item in enumerate(found) if item.found.are_real}
    return max(saved, key=lambda place: saved[place]) if saved else None
