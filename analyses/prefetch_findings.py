"""What a comparison of prefetching finds on one trace, and what it says on the claims, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyses.prefetch_replays import (
    AHEAD,
    COMPUTE,
    Replays,
    alone,
    best_causal,
    break_even,
    by_unit,
    change,
    difference,
    prefetching,
    ratio_of_units,
    recall_and_precision,
)
from routestat.forecast.kept_predictions import KeptPredictions
from routestat.inference.base.estimate import Estimate, ratio
from routestat.serving.settings import CacheSetting
from routestat.study.simulation_plan import PERFECT

#: The precision from which on one engine gained by prefetching.
THRESHOLD = 0.75
#: Words of what is compared over capacities and times to compute.
CAUSAL_EVICTION, PERFECT_EVICTION = "best causal eviction", "perfect eviction"


@dataclass(frozen=True, eq=False)
class Prefetch:
    """One setting that prefetches by predictions which are not perfect, at one capacity.

    Attributes
    ----------
    setting : CacheSetting
    recall, precision : Estimate
        On experts that are not in the cache.
    recall_lost, precision_lost : Estimate
        Over all choices, less that on experts that are not in the cache.
    stall : Estimate
        Change against LRU.
    """

    setting: CacheSetting
    recall: Estimate
    precision: Estimate
    recall_lost: Estimate
    precision_lost: Estimate
    stall: Estimate


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
    threshold : float
        Precision on experts that are not in the cache from which on prefetching shortens the stall; NaN if none is
        enough.
    """

    capacity: float
    compute: float
    ratio: float
    policy: str
    stall: Estimate
    changes: dict[str, Estimate]
    threshold: float

    @property
    def perfect_prefetch(self) -> float:
        """The most that perfect prefetching changes."""
        return min(one.value for words, one in self.changes.items() if words.startswith("perfect prefetch"))

    @property
    def eviction_saves_more(self) -> bool:
        """Whether perfect eviction saves more of the stall than perfect prefetching."""
        return self.changes[PERFECT_EVICTION].value < self.perfect_prefetch


def prefetched(replays: Replays, capacity: float) -> list[CacheSetting]:
    """Return all settings that prefetch by predictions that are not perfect."""
    return [
        prefetching(replays, capacity, name, ahead, number)
        for name in replays.predictors
        for ahead in AHEAD
        for number in (replays.top_k, 2 * replays.top_k)
    ]


def without_cache(setting: CacheSetting) -> CacheSetting:
    """Return the same prefetching without a cache, by which all choices count."""
    return CacheSetting(
        "none", predictor=setting.predictor, lookahead=setting.lookahead, candidates=setting.candidates
    )


def prefetches(replays: Replays, capacity: float) -> list[Prefetch]:
    """Compare all predictions at one capacity."""
    found = []
    for setting in prefetched(replays, capacity):
        sums, every = replays.sums(setting), replays.sums(without_cache(setting))
        lacking = recall_and_precision(sums, setting.lookahead)
        of_all = recall_and_precision(every, setting.lookahead)
        found.append(
            Prefetch(
                setting,
                recall=ratio(*lacking[0]),
                precision=ratio(*lacking[1]),
                recall_lost=difference(of_all[0], lacking[0]),
                precision_lost=difference(of_all[1], lacking[1]),
                stall=change(sums, replays.sums(alone(capacity))),
            )
        )
    return found


def compared(replays: Replays, capacity: float) -> dict[str, CacheSetting]:
    """Return the settings that are compared over capacities and times to compute, by words."""
    found = {CAUSAL_EVICTION: best_causal(replays, capacity)}
    for name in replays.predictors:
        found |= {f"`{name}`, {ahead} ahead": prefetching(replays, capacity, name, ahead) for ahead in AHEAD}
    found |= {
        f"perfect prefetch, {ahead} ahead": prefetching(replays, capacity, PERFECT, ahead) for ahead in AHEAD
    }
    return found | {PERFECT_EVICTION: alone(capacity, "belady")}


def threshold(replays: Replays, capacity: float, compute: float, planted: Sequence[KeptPredictions]) -> float:
    """Return the precision on experts that are not in the cache from which on prefetching shortens the stall."""
    base = replays.sums(alone(capacity), compute)
    found = replays.with_errors(capacity, compute, planted)
    precision = [ratio(*recall_and_precision(one, 1)[1]).value for one in found]
    return break_even(precision, [change(one, base).value for one in found])


def point(replays: Replays, capacity: float, compute: float, planted: Sequence[KeptPredictions]) -> Point:
    """Compare settings at one capacity and one time to compute."""
    base, settings = replays.sums(alone(capacity), compute), compared(replays, capacity)
    return Point(
        capacity,
        compute,
        compute / replays.transfer,
        settings[CAUSAL_EVICTION].policy,
        ratio_of_units(by_unit(base.column("stall")), replays.steps.tokens.sum(axis=1)),
        {words: change(replays.sums(setting, compute), base) for words, setting in settings.items()},
        threshold(replays, capacity, compute, planted),
    )


def on_recall(found: Sequence[Prefetch]) -> str:
    """Say how recall and precision on experts that are not in the cache differ from those over all choices."""
    parts, confirmed = [], True
    for what in ("recall", "precision"):
        lost = [getattr(one, f"{what}_lost") for one in found]
        lower, higher = sum(one.low > 0 for one in lost), sum(one.high < 0 for one in lost)
        confirmed &= lower == len(found)
        values = [-one.value for one in lost]
        parts.append(
            f"{what} is lower in {lower} and higher in {higher}, with intervals that exclude zero; the differences are "
            f"{min(values):+.3f} to {max(values):+.3f}"
        )
    return (
        f"**1, {'confirmed' if confirmed else 'refuted'}.** Of {len(found)} comparisons of experts that are not in the "
        f"cache with all choices, {'. '.join(parts)}."
    ).replace(". precision", ". Precision")


def on_threshold(found: Sequence[Prefetch], points: Sequence[Point]) -> str:
    """Say where prefetching shortened the stall, and which precision it needs."""
    shorter = [one for one in found if one.stall.high < 0]
    longer = [one for one in found if one.stall.low > 0]
    above = [one for one in found if one.precision.value > THRESHOLD]
    wrong_above = [one for one in longer if one in above]
    wrong_below = [one for one in shorter if one not in above]
    verdict = "refuted" if wrong_above or wrong_below else "not refuted"
    known = [one.threshold for one in points if not np.isnan(one.threshold)]
    never = len(points) - len(known)
    span = f"{min(known):.2f} to {max(known):.2f}" if known else "no precision"
    words = (
        f"**2, {verdict}.** With {1e3 * COMPUTE:g} ms of compute, prefetching by a prediction lengthened the stall in "
        f"{len(longer)} of {len(found)} settings and shortened it in {len(shorter)}. Precision was above "
        f"{100 * THRESHOLD:g} % in {len(above)}; in {len(wrong_above)} of these the stall was longer, and in "
        f"{len(wrong_below)} of the others it was shorter. Over all capacities and times to compute above, the "
        f"precision that is needed is {span}"
    )
    return words + (f"; at {never} of {len(points)} points none is enough." if never else ".")


def agreement(found: Sequence[Prefetch], points: Sequence[Point]) -> tuple[int, int]:
    """Count where a prediction shortens the stall just if its precision is above what is needed.

    Parameters
    ----------
    found
        Of one trace; those one layer ahead with the experts of one token are compared.
    points
        Of the same trace.

    Returns
    -------
    Comparisons that agree, and all whose change of the stall has an interval that excludes zero.
    """
    least = min(one.setting.candidates for one in found)
    agree = counted = 0
    for one in found:
        if (one.setting.lookahead, one.setting.candidates) != (1, least):
            continue
        for at in points:
            stall = at.changes[f"`{one.setting.predictor}`, 1 ahead"]
            if at.capacity != one.setting.capacity or stall.low <= 0 <= stall.high:
                continue
            counted += 1
            agree += (stall.value < 0) == (one.precision.value > at.threshold)
    return agree, counted


def on_eviction(points: Sequence[tuple[str, Point]]) -> str:
    """Say where perfect eviction saves more of the stall than perfect prefetching.

    Parameters
    ----------
    points
        With the title of their trace.
    """
    less = [(title, one) for title, one in points if not one.eviction_saves_more]
    verdict = "refuted" if less else "confirmed"
    words = (
        f"**3, {verdict}.** Perfect eviction saved more of the stall than perfect prefetching at "
        f"{len(points) - len(less)} of {len(points)} points"
    )
    if not less:
        return words + "."
    least = min(one.ratio for _, one in less)
    most = max((one.ratio for _, one in points if one.eviction_saves_more), default=float("nan"))
    where = "; ".join(
        f"{title}, {one.capacity:g} experts, {1e3 * one.compute:g} ms ({100 * one.perfect_prefetch:+.1f} % against "
        f"{100 * one.changes[PERFECT_EVICTION].value:+.1f} %)"
        for title, one in less
    )
    return (
        f"{words}. Perfect prefetching saved more, or as much, where a layer computes for long beside a transfer (a "
        f"ratio of {least:.2g} or more; perfect eviction saved more up to {most:.2g}): {where}."
    )


def pays_from(points: Sequence[Point], words: str) -> str:
    """Say from which time to compute on a setting shortens the stall, with an interval below zero.

    Parameters
    ----------
    points
        At one capacity, times ascending.
    words
        Of the setting.
    """
    pays = [one.changes[words].high < 0 for one in points]
    if not any(pays):
        return f"at no time to compute up to {milliseconds(points[-1])}"
    if all(pays):
        return f"at all times to compute from {milliseconds(points[0])} on"
    first = pays.index(True)
    if not all(pays[first:]):
        return "with " + ", ".join(milliseconds(one) for one, yes in zip(points, pays, strict=True) if yes)
    return f"from {milliseconds(points[first])} on, not yet with {milliseconds(points[first - 1])}"


def milliseconds(point: Point) -> str:
    """Write the time that a layer computes, alone and as a share of a transfer."""
    return f"{1e3 * point.compute:g} ms ({point.ratio:.2g} of a transfer)"
