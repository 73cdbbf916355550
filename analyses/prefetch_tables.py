"""Tables of a comparison of prefetching."""

from collections.abc import Sequence

import numpy as np

from analyses.output import interval, table
from analyses.prefetch_findings import CAUSAL_EVICTION, Point, Prefetch, prefetched, without_cache
from analyses.prefetch_replays import (
    AHEAD,
    NO_CACHE,
    Replays,
    alone,
    best_causal,
    by_unit,
    change,
    prefetching,
    ratio_of_units,
    recall_and_precision,
)
from routestat.inference.base.estimate import Estimate, ratio
from routestat.serving.settings import CacheSetting
from routestat.study.simulation_plan import PERFECT

#: Words of a column.
NEEDED = "precision that is needed"


def words_of(setting: CacheSetting) -> str:
    """Name a setting as the tables do."""
    policy = {"belady": "perfect eviction", "predictor": "eviction by predictor"}.get(
        setting.policy, setting.policy
    )
    if not setting.lookahead:
        return policy
    ahead = f"{setting.lookahead} ahead, {setting.candidates} each"
    name = "perfect prefetch" if setting.predictor == PERFECT else f"prefetch by `{setting.predictor}`"
    return f"{name}, {ahead}" if setting.policy == "lru" else f"{policy} and {name}, {ahead}"


def signed_percent(estimate: Estimate) -> str:
    """Write a relative difference in percent with its sign and its interval."""
    value, low, high = (f"{100 * x:+.1f}" for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} %" if np.isnan(estimate.low) else f"{value} ({low} … {high}) %"


def recall_table(replays: Replays, found: Sequence[Sequence[Prefetch]]) -> str:
    """Write recall and precision over all choices, and on experts that are not in the cache, as a table.

    Parameters
    ----------
    replays
        Of one trace.
    found
        The same predictions at every capacity.
    """
    rows = []
    for over_capacities in zip(*found, strict=True):
        setting = over_capacities[0].setting
        recall, precision = recall_and_precision(replays.sums(without_cache(setting)), setting.lookahead)
        shares = [ratio(*recall), ratio(*precision)]
        shares += [share for one in over_capacities for share in (one.recall, one.precision)]
        words = [f"`{setting.predictor}`", str(setting.lookahead), str(setting.candidates)]
        rows.append([*words, *(interval(share, 3) for share in shares)])
    header = ["predictor", "layers ahead", "experts each", "recall, all", "precision, all"]
    header += [
        f"{what}, not in a cache of {at[0].setting.capacity:g}"
        for at in found
        for what in ("recall", "precision")
    ]
    return table(header, rows)


def costs_table(replays: Replays, capacity: float) -> str:
    """Write loads and stall of every setting at one capacity as a table."""
    base, tokens = replays.sums(alone(capacity)), replays.steps.tokens.sum(axis=1)
    settings = [
        NO_CACHE,
        alone(capacity),
        *dict.fromkeys([best_causal(replays, capacity), alone(capacity, "belady")]),
        *prefetched(replays, capacity),
        *(prefetching(replays, capacity, PERFECT, ahead) for ahead in AHEAD),
        prefetching(replays, capacity, PERFECT, policy="belady"),
    ]
    rows = []
    for setting in dict.fromkeys(settings):
        sums = replays.sums(setting)
        loads = by_unit(sums.loads)
        wasted = interval(ratio(by_unit(sums.wasted), loads), 3) if setting.lookahead else "–"
        moved = interval(ratio_of_units(loads, tokens), 1)
        stall = interval(ratio_of_units(by_unit(sums.column("stall")), tokens), 1, 1e3)
        differs = "–" if setting == alone(capacity) else signed_percent(change(sums, base))
        rows.append([words_of(setting), moved, wasted, stall, differs])
    header = [
        "cache",
        "loads per token",
        "wasted share of loads",
        "stall per token (ms)",
        "stall against LRU",
    ]
    return table(header, rows)


def capacities_table(points: Sequence[Point]) -> str:
    """Write what settings change at several capacities as a table."""
    names = list(points[0].changes)
    header = ["capacity", "LRU, stall per token (ms)", *names, NEEDED]
    return table(
        header,
        [[f"{one.capacity:g}", interval(one.stall, 1, 1e3), *_changes(one, names)] for one in points],
    )


def computes_table(points: Sequence[Point]) -> str:
    """Write what prefetching changes at several times to compute, beside perfect eviction, as a table."""
    names = [name for name in points[0].changes if name != CAUSAL_EVICTION]
    rows = [[f"{1e3 * one.compute:g}", f"{one.ratio:.3g}", *_changes(one, names)] for one in points]
    return table(["compute (ms)", "compute / transfer", *names, NEEDED], rows)


def _changes(point: Point, names: Sequence[str]) -> list[str]:
    needed = "none" if np.isnan(point.threshold) else f"{point.threshold:.2f}"
    return [*(signed_percent(point.changes[name]) for name in names), needed]
