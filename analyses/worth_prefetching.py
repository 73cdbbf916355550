"""Measure whether experts are worth prefetching: what predictions, perfect ones among them, save of the stall.

Claim
    1. Recall over all choices says too much: of the experts that are not in the cache a predictor finds fewer.
    2. Prefetching shortens the stall where precision on experts that are not in the cache is above 75 %, and only
       there, as seen in one engine.
    3. Perfect eviction is worth more than perfect prefetching.
Data
    The traces of the tiny Mixtral (as many whole documents as have 24,000 tokens), of the same model with recorded
    lookahead (all tokens), and of DeepSeek-V2-Lite (as many whole documents as have 15,000 tokens).
Method
    Replays of one sequence after the other with a cache in every layer. Predictors are fitted to other documents than
    the ones that are predicted. Bytes and seconds are estimated for a stated machine, on which the time that a layer
    computes is varied; differences from LRU are paired by documents. Predictions with planted errors show the
    precision from which on prefetching shortens the stall.
What would refute it
    1. A recall on experts that are not in the cache that is no lower. 2. A shorter stall below 75 %, or a longer one
    above. 3. A capacity at which perfect prefetching saves more of the stall than perfect eviction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import routestat as rs
from analyses.output import TRACES, Line, filled, interval, lines_svg, table, write
from analyses.prefetch_replays import (
    AHEAD,
    COMPUTE,
    NO_CACHE,
    RIGHT,
    Replays,
    alone,
    best_causal,
    break_even,
    by_unit,
    change,
    difference,
    make_replays,
    planted_errors,
    prefetching,
    recall_and_precision,
)
from routestat.inference.base.estimate import Estimate, ratio
from routestat.serving.cache_estimates import share_of_units
from routestat.serving.settings import CacheSetting
from routestat.study.simulation_plan import PERFECT

GATE = "gate"
#: The precision from which on one engine gained by prefetching.
THRESHOLD = 0.75


@dataclass(frozen=True)
class Case:
    """A trace and how it is replayed.

    Attributes
    ----------
    trace, title : str
    predictors : tuple of str
        The best that uses no hidden state first.
    expert : tuple of (int, int)
        Widths of the model and of one of its experts, whose three matrices are in bf16.
    capacities : tuple of float
        Experts per layer; the middle one is shown in detail.
    computes : tuple of float
        Milliseconds that a layer computes.
    most_tokens : int
    """

    trace: str
    title: str
    predictors: tuple[str, ...]
    expert: tuple[int, int]
    capacities: tuple[float, ...]
    computes: tuple[float, ...]
    most_tokens: int

    @property
    def expert_bytes(self) -> float:
        """Of one expert of one layer."""
        return 3.0 * self.expert[0] * self.expert[1] * 2

    @property
    def middle(self) -> float:
        """The capacity that is shown in detail."""
        return self.capacities[len(self.capacities) // 2]


COMPUTES = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
# Beyond 1 ms, for the tiny Mixtral: a layer that computes as long as a quarter, a half and all of a transfer.
LONG = (*COMPUTES[::5], 3.5, 7.0, 14.1)
TABLE, GATED = "ridge-all-token-id", ("ridge-all-token-id", GATE)
MIXTRAL, DEEPSEEK = (4096, 14336), (2048, 1408)
CASES = (
    Case(
        "deepseek-v2-lite-esft",
        "DeepSeek-V2-Lite",
        ("ridge-all",),
        DEEPSEEK,
        (8, 16, 32),
        COMPUTES,
        15_000,
    ),
    Case(
        "tiny-mixtral-lookahead",
        "tiny Mixtral with recorded lookahead",
        GATED,
        MIXTRAL,
        (3, 4, 6),
        LONG,
        100_000,
    ),
    Case("tiny-mixtral", "tiny Mixtral", (TABLE,), MIXTRAL, (3, 4, 6), LONG, 24_000),
)


def prefetched(replays: Replays, capacity: float) -> list[CacheSetting]:
    """Return all settings that prefetch by predictions that are not perfect."""
    return [
        prefetching(replays, capacity, name, ahead, number)
        for name in replays.predictors
        for ahead in AHEAD
        for number in (replays.top_k, 2 * replays.top_k)
    ]


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


def recall_table(replays: Replays, capacities: Sequence[float]) -> str:
    """Write recall and precision over all choices, and on experts that are not in the cache, as a table."""
    rows = []
    for setting in prefetched(replays, 0):
        every = CacheSetting(
            "none", predictor=setting.predictor, lookahead=setting.lookahead, candidates=setting.candidates
        )
        recall, precision = recall_and_precision(replays.sums(every), setting.lookahead)
        row = [interval(ratio(*recall), 3), interval(ratio(*precision), 3)]
        for capacity in capacities:
            one = prefetching(replays, capacity, setting.predictor, setting.lookahead, setting.candidates)
            recall, precision = recall_and_precision(replays.sums(one), setting.lookahead)
            row += [interval(ratio(*recall), 3), interval(ratio(*precision), 3)]
        rows.append([f"`{setting.predictor}`", str(setting.lookahead), str(setting.candidates), *row])
    header = ["predictor", "layers ahead", "experts each", "recall, all", "precision, all"]
    header += [
        f"{what}, not in a cache of {capacity:g}"
        for capacity in capacities
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
        moved = interval(share_of_units(loads, tokens), 1)
        stall = interval(share_of_units(by_unit(sums.column("stall")), tokens), 1, 1e3)
        differs = "–" if setting == alone(capacity) else signed_percent(change(sums, base))
        rows.append([words_of(setting), moved, wasted, stall, differs])
    header = ["cache", "loads per token", "wasted share of loads", "stall per token (ms)", "stall against LRU"]
    return table(header, rows)


def shown(replays: Replays, capacity: float) -> dict[str, CacheSetting]:
    """Return the settings that are compared over capacities and times to compute, by words."""
    found = {"best causal eviction": best_causal(replays, capacity)}
    for name in replays.predictors:
        found |= {f"`{name}`, {ahead} ahead": prefetching(replays, capacity, name, ahead) for ahead in AHEAD}
    return found | {
        "perfect prefetch, 1 ahead": prefetching(replays, capacity, PERFECT),
        "perfect prefetch, 2 ahead": prefetching(replays, capacity, PERFECT, 2),
        "perfect eviction": alone(capacity, "belady"),
    }


def threshold(replays: Replays, capacity: float, compute: float, planted: Sequence) -> float:
    """Return the precision on experts that are not in the cache from which on prefetching shortens the stall."""
    base = replays.sums(alone(capacity), compute)
    found = replays.with_errors(capacity, compute, planted)
    precision = [ratio(*recall_and_precision(one, 1)[1]).value for one in found]
    return break_even(precision, [change(one, base).value for one in found])


def threshold_words(value: float) -> str:
    """Write a precision, or that none is enough."""
    return "none" if np.isnan(value) else f"{value:.2f}"


@dataclass(frozen=True)
class Point:
    """What settings change at one capacity and one time to compute.

    Attributes
    ----------
    capacity, compute : float
        Experts per layer and seconds.
    ratio : float
        Of the time that a layer computes to that of one transfer.
    policy : str
        The best causal one.
    stall : Estimate
        Of LRU, in seconds per token.
    changes : dict
        Of the stall against LRU, by words.
    precision : dict
        On experts that are not in the cache, of what is prefetched, by words.
    threshold : float
    """

    capacity: float
    compute: float
    ratio: float
    policy: str
    stall: Estimate
    changes: dict[str, Estimate]
    precision: dict[str, Estimate]
    threshold: float


def point(replays: Replays, capacity: float, compute: float, planted: Sequence) -> Point:
    """Compare settings at one capacity and one time to compute."""
    base, settings = replays.sums(alone(capacity), compute), shown(replays, capacity)
    found = {words: replays.sums(setting, compute) for words, setting in settings.items()}
    ahead = {words: one.lookahead for words, one in settings.items() if one.lookahead}
    return Point(
        capacity,
        compute,
        compute / replays.transfer,
        settings["best causal eviction"].policy,
        share_of_units(by_unit(base.column("stall")), replays.steps.tokens.sum(axis=1)),
        {words: change(sums, base) for words, sums in found.items()},
        {words: ratio(*recall_and_precision(found[words], n)[1]) for words, n in ahead.items()},
        threshold(replays, capacity, compute, planted),
    )


def points_table(points: Sequence[Point]) -> str:
    """Write what settings change, at several capacities or times to compute, as a table."""
    names = list(points[0].changes)
    rows = [
        [
            f"{one.capacity:g}",
            f"{1e3 * one.compute:g}",
            f"{one.ratio:.3g}",
            interval(one.stall, 1, 1e3),
            *(signed_percent(one.changes[name]) for name in names),
            threshold_words(one.threshold),
        ]
        for one in points
    ]
    header = ["capacity", "compute (ms)", "compute / transfer", "LRU, stall per token (ms)", *names]
    return table([*header, "precision from which on prefetching pays"], rows)
