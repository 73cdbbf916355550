"""Whether there is a hot set: experts that are used so often in all documents that pinning them is worth it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.serving.cache_estimates import share_of_units
from routestat.serving.replay_sums import ReplaySums
from routestat.serving.steps import Steps


@dataclass(frozen=True)
class HotSet:
    """Whether some experts of a layer are used so often in all documents that pinning them is worth it.

    Attributes
    ----------
    layer : int
    capacity : int
        Experts that are pinned.
    static, lru : Estimate
        Hit rates: of the experts that other documents use most, pinned, and of LRU.
    uniform : float
        Of as many experts pinned at random: capacity / experts.
    """

    layer: int
    capacity: int
    static: Estimate
    lru: Estimate
    uniform: float


def hot_sets(
    steps: Steps,
    static: Mapping[int, ReplaySums],
    lru_hits: NDArray[np.integer],
    measured: ReplaySums,
    why: str = "",
) -> tuple[HotSet, ...]:
    """Compare pinned experts with LRU and with chance, by layer.

    Parameters
    ----------
    steps : Steps
    static : mapping of capacity to ReplaySums
        Replays of the policy ``static`` with one cache per layer.
    lru_hits : int array ``[capacity, unit, layer]``
        From a capacity of 0 on.
    measured : ReplaySums
        Of any replay.
    why : str
        Why there are no pins; their hit rates are then NaN, and the replays of any policy.
    """
    accesses = measured.column("accesses").sum(axis=1)
    found = []
    for capacity, sums in sorted(static.items()):
        hits = sums.column("hits").sum(axis=1)
        for place, router in enumerate(steps.routers):
            if capacity > router.n_experts:
                continue
            found.append(
                HotSet(
                    router.layer,
                    capacity,
                    share_of_units(hits[:, place], accesses[:, place], why),
                    share_of_units(lru_hits[capacity, :, place], accesses[:, place]),
                    capacity / router.n_experts,
                )
            )
    return tuple(found)
