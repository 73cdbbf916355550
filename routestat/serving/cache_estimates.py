"""What a replay found, as estimates with intervals over independent units of documents."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate, ratio, without_interval
from routestat.serving.replay_sums import COLUMNS, ReplaySums
from routestat.serving.settings import CacheSetting, Hardware
from routestat.serving.steps import Steps
from routestat.traces.validation import PHASES

#: Both phases together.
ALL = "all"
#: Why there are no bytes, and no seconds.
NO_BYTES = "the size of an expert is not known: give --expert-bytes or --model-config"
NO_SECONDS = "the machine is not known: give --bandwidth, and --expert-bytes or --model-config"
_NOT_PREFETCHED = "nothing is prefetched"
_ALL_CACHED = "nothing had to be prefetched: the cache held it"
#: Why accesses have no ratio to the capacity.
NO_CACHE = "there is no cache"
#: Why there is no interval where units do not differ.
NO_WIDTH = "the same value in every unit, from which no interval can be estimated"


@dataclass(frozen=True)
class SimulatedCache:
    """One simulation in one phase.

    Attributes
    ----------
    setting : CacheSetting
    phase : str
        "prefill", "decode", or "all" for both.
    tokens, events : int
    logical_accesses, accesses : int
        Measured: choices of experts by tokens, and experts that events need (the unions).
    hits, prefetched_hits, misses, prefetched_loads : int
        Simulated: accesses that were in the cache, that were prefetched, neither; and experts that were prefetched.
    hit_rate : Estimate
        Hits per access.
    served_rate : Estimate
        Hits and prefetched hits per access.
    miss_share : Estimate
        Experts moved per logical access.
    precision, recall : Estimate
        Of the prefetched experts, those that were needed; of the accesses that are not in the cache, the prefetched
        ones. NaN with a reason where nothing is prefetched.
    union_to_capacity : Estimate
        Accesses per event, over the capacity of a layer.
    loads_per_token : Estimate
    stall_per_token : Estimate
        Estimated: seconds; NaN with a reason where the machine is not known.
    bytes, bytes_demanded, bytes_wasted : float
        Estimated: moved in all, moved while an event waited, moved and not needed; NaN where unknown.
    stall_seconds : float
        Estimated; NaN where unknown.
    reason : str
        Why the simulation could not be made, or empty; then all figures but the measured ones are NaN or 0.
    cautions : tuple of str
        Words on what misleads, such as a pool smaller than what one token needs.
    """

    setting: CacheSetting
    phase: str
    tokens: int
    events: int
    logical_accesses: int
    accesses: int
    hits: int
    prefetched_hits: int
    misses: int
    prefetched_loads: int
    hit_rate: Estimate
    served_rate: Estimate
    miss_share: Estimate
    precision: Estimate
    recall: Estimate
    union_to_capacity: Estimate
    loads_per_token: Estimate
    stall_per_token: Estimate
    bytes: float
    bytes_demanded: float
    bytes_wasted: float
    stall_seconds: float
    reason: str = ""
    cautions: tuple[str, ...] = ()

    @property
    def loads(self) -> int:
        """Experts moved, on demand or ahead."""
        return self.misses + self.prefetched_loads


def simulated_cache(
    sums: ReplaySums,
    steps: Steps,
    setting: CacheSetting,
    hardware: Hardware,
    phase: str = ALL,
    *,
    reason: str = "",
    cautions: tuple[str, ...] = (),
) -> SimulatedCache:
    """Estimate what a setting costs, with intervals over units.

    Parameters
    ----------
    sums : ReplaySums
        Of `routestat.serving.replay.replay`.
    steps : Steps
    setting : CacheSetting
    hardware : Hardware
    phase : str
        One of `PHASES`, or "all".
    reason : str
        Why the setting could not be replayed: the sums are then those of another one, and only what is measured is
        taken from them.
    cautions : tuple of str
    """
    column = dict(zip(COLUMNS, np.moveaxis(_of_phase(sums, phase).sum(axis=1), -1, 0), strict=True))
    if reason:
        simulated = ("hits", "prefetched_hits", "misses", "prefetched", "stall")
        column |= {name: np.full(steps.n_units, math.nan) for name in simulated}
    tokens = steps.tokens.sum(axis=1) if phase == ALL else steps.tokens[:, PHASES.index(phase)]
    loads = column["misses"] + column["prefetched"]
    wasted = column["prefetched"] - column["prefetched_hits"]
    lacking = column["misses"] + column["prefetched_hits"]
    size = hardware.expert_bytes if hardware.expert_bytes is not None else math.nan
    timed = hardware.transfer_seconds is not None
    ahead = _NOT_PREFETCHED if not setting.lookahead else "" if column["prefetched"].any() else _ALL_CACHED
    without = ahead if not setting.lookahead else "" if lacking.any() else _ALL_CACHED
    whole = {name: _whole(values) for name, values in column.items()}

    def share(top: NDArray[Any], bottom: NDArray[Any], why: str = "", bounded: bool = True) -> Estimate:
        return share_of_units(top, bottom, reason or why, bounded)

    return SimulatedCache(
        setting=setting,
        phase=phase,
        tokens=int(tokens.sum()),
        events=whole["events"],
        logical_accesses=whole["logical"],
        accesses=whole["accesses"],
        hits=whole["hits"],
        prefetched_hits=whole["prefetched_hits"],
        misses=whole["misses"],
        prefetched_loads=whole["prefetched"],
        hit_rate=share(column["hits"], column["accesses"]),
        served_rate=share(column["hits"] + column["prefetched_hits"], column["accesses"]),
        miss_share=share(loads, column["logical"], bounded=False),
        precision=share(column["prefetched_hits"], column["prefetched"], ahead),
        recall=share(column["prefetched_hits"], lacking, without),
        union_to_capacity=share_of_units(
            column["accesses"],
            column["events"] * setting.capacity,
            "" if setting.capacity else NO_CACHE,
            bounded=False,
        ),
        loads_per_token=share(loads, tokens, bounded=False),
        stall_per_token=share(column["stall"], tokens, "" if timed else NO_SECONDS, bounded=False),
        bytes=size * float(loads.sum()),
        bytes_demanded=size * float(column["misses"].sum()),
        bytes_wasted=size * float(wasted.sum()),
        stall_seconds=float(column["stall"].sum()) if timed else math.nan,
        reason=reason,
        cautions=cautions,
    )


def share_of_units(
    top: NDArray[np.number], bottom: NDArray[np.number], why: str = "", bounded: bool = True
) -> Estimate:
    """Estimate the ratio of two sums over units; without an interval where all units have the same ratio.

    Parameters
    ----------
    top, bottom : array ``[unit]``
    why : str
        Why there is no such ratio; then NaN for this reason.
    bounded : bool
        Whether it is a share of what there is: its interval then ends at 1.
    """
    used = np.asarray(bottom) > 0
    if why:
        return without_interval(math.nan, int(used.sum()), why)
    found = ratio(top, bottom)
    # The error of units that all agree is 0 up to rounding, which is not certainty.
    if found.standard_error <= 1e-12 * abs(found.value):
        return without_interval(found.value, found.n_groups, NO_WIDTH)
    # Limits beyond what is possible come from the symmetry of the interval.
    low, high = max(0.0, found.low), min(1.0, found.high) if bounded else found.high
    return found if math.isnan(found.low) else replace(found, low=low, high=high)


def _of_phase(sums: ReplaySums, phase: str) -> NDArray[np.float64]:
    """Return the sums of a phase ``[unit, layer, column]``."""
    return sums.sums.sum(axis=1) if phase == ALL else sums.sums[:, PHASES.index(phase)]


def _whole(values: NDArray[np.float64]) -> int:
    total = float(values.sum())
    return 0 if math.isnan(total) else round(total)
