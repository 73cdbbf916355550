"""What a simulation shows, in sentences: the answer first, then the numbers behind it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from routestat.inference.base.estimate import Estimate
from routestat.report.numbers import many, number
from routestat.report.quantities import between, data_size, duration
from routestat.report.simulation_main import (
    Main,
    clearly,
    hot_sets_at,
    label,
    main_setting,
    mean_working_sets,
)
from routestat.study.simulation_findings import SimulatedCache, Simulation

#: The block of tokens that the sentence on the working set is about, if it was measured.
BLOCK = 16
STARTS = {"cold": "cold start", "warm": "warm start", "document": "emptied before every document"}


@dataclass(frozen=True)
class Answer:
    """What one question is answered.

    Attributes
    ----------
    topic : str
    text : str
        With all numbers and their intervals.
    short : str
        For a terminal.
    """

    topic: str
    text: str
    short: str


def answers(findings: Simulation) -> list[Answer]:
    """Return the answers, those on the main capacity first; what was not simulated has none."""
    main = main_setting(findings)
    if main is None:
        reasons = dict.fromkeys(one.reason for one in findings.caches if one.reason)
        text = f"Nothing could be simulated: {'; '.join(reasons) or 'no policy was chosen'}."
        found: list[Answer | None] = [Answer("Cost", text, text)]
    else:
        found = [_cost(main, findings), _gap(main), _eviction(main), _prefetching(main)]
    found += [_hot_set(findings, main), _working_set(findings), _memory(findings)]
    return [one for one in found if one is not None]


def where(main: Main, findings: Simulation) -> str:
    """Describe the main setting, such as ``with 4 of 8 experts per layer in the cache (cold start)``."""
    experts = " or ".join(map(str, sorted({router.n_experts for router in findings.routers})))
    pool = "in one pool for all layers" if main.scope == "pool" else "in the cache"
    return (
        f"with {main.capacity:g} of {experts} experts per layer {pool} ({STARTS.get(main.start, main.start)})"
    )


def shown(found: Estimate, words: Callable[[float], str] = number) -> str:
    """Format an estimate with its interval, if it has one; a width of zero is none."""
    if not found.low < found.high:
        return words(found.value)
    return f"{words(found.value)} ({between(found.low, found.high, words)})"


def percent(found: Estimate) -> str:
    """Format a share in percent with its interval, if it has one."""
    return shown(found, _percent)


def _percent(value: float) -> str:
    return f"{number(100 * value)} %"


def why_no_interval(*found: Estimate | None) -> str:
    """Say why estimates have no interval; empty where all have one."""
    reasons = dict.fromkeys(
        one.reason for one in found if one is not None and one.reason and not math.isfinite(one.low)
    )
    return f" (no interval: {'; '.join(reasons)})" if reasons else ""


def _cost(main: Main, findings: Simulation) -> Answer:
    done = [one for one in main.policies if not one.reason]
    parts = [
        f"{shown(one.loads_per_token)} {'' if one.setting.policy == 'none' else 'with '}"
        + ("without a cache" if one.setting.policy == "none" else label(one.setting))
        for one in done
    ]
    best = main.best
    rate = "" if best is None else f" The hit rate of {label(best.setting)} is {percent(best.hit_rate)}."
    listed = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    # Without a cache every unit may need as many: no width, and no doubt.
    why = why_no_interval(*(one.loads_per_token for one in done if one.setting.policy != "none"))
    text = f"Experts that are loaded per token, {where(main, findings)}: {listed}{why}.{rate}"
    fewest = "" if best is None else f"Fewest loads without knowledge of the future: {label(best.setting)}."
    return Answer("Cost", text, fewest)


def _gap(main: Main) -> Answer | None:
    gap, belady = main.gap, main.of("belady")
    if gap is None:
        return None
    if not math.isfinite(gap.gap.value):
        text = f"What perfect knowledge would save is not defined: {gap.gap.reason}."
        return Answer("Perfect knowledge", text, text)
    best = next((one for one in main.policies if one.setting.policy == gap.best), None)
    name = gap.best if best is None else label(best.setting)
    loads = "" if belady is None else f", down to {shown(belady.loads_per_token)} per token"
    saved = f"{percent(gap.gap)} of the loads of {name}"
    return Answer(
        "Perfect knowledge",
        f"A cache that knows all later tokens (Belady, optimal) would save {saved}, the best policy without that "
        f"knowledge{loads}{why_no_interval(gap.gap)}.",
        f"Knowing all later tokens (Belady) would save {saved}.",
    )


def _eviction(main: Main) -> Answer | None:
    found, best, optimal = main.of("predictor"), main.best, main.of("belady")
    if found is None or best is None:
        return None
    against = f"{shown(found.loads_per_token)} experts per token, {label(best.setting)} {shown(best.loads_per_token)}"
    name, saved, why = (
        found.setting.predictor,
        best.loads - found.loads,
        why_no_interval(found.loads_per_token),
    )
    if saved <= 0:
        text = f"Evicting what {name} finds least probable saves nothing: it loads {against}{why}."
        return Answer("Eviction", text, f"Evicting by {name} saves nothing over {label(best.setting)}.")
    gap = 0 if optimal is None else best.loads - optimal.loads
    share = f": {_percent(saved / gap)} of what perfect knowledge would save" if gap > 0 else ""
    of = (
        f"{_percent(saved / gap)} of what Belady would"
        if gap > 0
        else f"{_percent(saved / best.loads)} of the loads"
    )
    return Answer(
        "Eviction",
        f"Evicting what {name} finds least probable loads {against}{share}{why}.",
        f"Evicting by {name} saves {of}.",
    )


def _prefetching(main: Main) -> Answer | None:
    found = main.best_prefetching
    if found is None:
        reasons = dict.fromkeys(one.reason for one in main.prefetching if one.reason)
        text = f"Prefetching was not simulated: {'; '.join(reasons)}."
        return Answer("Prefetching", text, text) if reasons else None
    setting = found.setting
    wasted = found.prefetched_loads - found.prefetched_hits
    moved = f"{_percent(wasted / found.loads) if found.loads else '0 %'} of all loads"
    if math.isfinite(found.bytes_wasted):
        moved = f"{data_size(found.bytes_wasted / max(found.tokens, 1))} per token ({moved})"
    verdict, short = _worth(found, main.without(found))
    facts = (
        f"Prefetched are {many(setting.candidates, 'expert')} per token, {many(setting.lookahead, 'layer')} ahead, by "
        f"{setting.predictor}, beside {label(found.setting)}: {percent(found.precision)} of the prefetched experts are "
        f"needed, and {percent(found.recall)} of the needed ones that are not in the cache are prefetched; {moved} are "
        f"wasted{why_no_interval(found.precision, found.recall)}."
    )
    few = (
        f"{_percent(found.precision.value)} of the prefetched experts are needed, {_percent(found.recall.value)} of "
        f"the absent needed ones prefetched ({setting.predictor}, {many(setting.candidates, 'expert')})."
    )
    return Answer("Prefetching", f"{verdict} {facts}{_perfect(main)}", f"{short} {few}")


def _worth(found: SimulatedCache, without: SimulatedCache | None) -> tuple[str, str]:
    """Return the verdict, in full and in short: what prefetching does to the stall, if the machine is known."""
    if not math.isfinite(found.stall_per_token.value):
        text = "Whether it saves time depends on the machine (--expert-bytes, --bandwidth)."
        return text, text
    if without is None:
        text = f"The stall is {shown(found.stall_per_token, duration)} per token."
        return text, text
    pair = (found.stall_per_token, without.stall_per_token)
    stalls, few = (
        f"a stall of {one} per token against {other} without"
        for one, other in ([shown(each, duration) for each in pair], [duration(each.value) for each in pair])
    )
    if clearly(found, without):
        verdict = "Worth it here"
    elif clearly(without, found):
        verdict = "Not worth it here"
    elif why := why_no_interval(found.stall_per_token):
        less = "less" if pair[0].value < pair[1].value else "no less"
        return f"There is {less} stall, without an interval: {stalls}{why}.", f"No interval: {few}."
    else:
        verdict = "No clear gain here"
    return f"{verdict}: {stalls}.", f"{verdict}: {few}."


def _perfect(main: Main) -> str:
    limits = [("perfect predictions", main.best_perfect), ("perfect eviction (Belady)", main.of("belady"))]
    known = [
        f"{shown(one.stall_per_token, duration)} with {name}"
        for name, one in limits
        if one is not None and math.isfinite(one.stall_per_token.value)
    ]
    return f" The stall per token would be {' and '.join(known)}." if known else ""


def _pin_or_not(pins: int, recent: int, layers: int) -> str:
    """Return the advice for all layers: one layer of many in which one is better may be chance."""
    if 2 * max(pins, recent) > layers:
        return "Pin them" if pins > recent else "Pin nothing"
    if 2 * (pins + recent) > layers:
        return "It differs by layer"
    return "Pins and LRU are alike in most layers" if pins + recent else "Pins and LRU are alike"


def _hot_set(findings: Simulation, main: Main | None) -> Answer | None:
    sets = hot_sets_at(findings, main)
    if not sets:
        return None
    known = [one for one in sets if math.isfinite(one.static.value) and math.isfinite(one.lru.value)]
    if not known:
        text = f"Whether there is a hot set is not known: {sets[0].static.reason or sets[0].lru.reason}."
        return Answer("Hot set", text, text)
    sure = all(math.isfinite(one.static.low) and math.isfinite(one.lru.low) for one in known)
    hot = sum(_low(one.static, sure) > one.uniform for one in known)
    pins = sum(_low(one.static, sure) > (one.lru.high if sure else one.lru.value) for one in known)
    recent = sum(_low(one.lru, sure) > (one.static.high if sure else one.static.value) for one in known)
    capacity = many(known[0].capacity, "expert")
    clear, of = "clearly " if sure else "", f"of {many(len(known), 'layer')}"
    verdict = _pin_or_not(pins, recent, len(known)) if sure else "Not certain"
    listed = f" The command place --pin {known[0].capacity} lists them." if verdict == "Pin them" else ""
    better = f"LRU is {clear}better in {recent} {of}, pinning in {pins}"
    there = f"In {hot} {of} there is a hot set" if hot else "There is no hot set in any layer"
    used = f"{'the' if hot else 'nowhere are the'} {capacity} used most in other documents {'are ' if hot else ''}"
    return Answer(
        "Hot set",
        f"{there}: {used}{clear}needed more often than as many at random. {verdict}: {better}"
        f"{'' if sure else why_no_interval(known[0].static)}.{listed}",
        f"{verdict}: at {capacity} per layer {better}.{listed}",
    )


def _low(found: Estimate, sure: bool) -> float:
    return found.low if sure else found.value


def _working_set(findings: Simulation) -> Answer | None:
    found = mean_working_sets(findings)
    if not found:
        return None
    one = min(found, key=lambda item: (abs(item.tokens - BLOCK), item.tokens))
    tokens = "One token needs" if one.tokens == 1 else f"{one.tokens} consecutive tokens of a document need"
    text = f"{tokens} {shown(one.experts)} experts of a layer; independent tokens would need {number(one.independent)}"
    return Answer("Working set", f"{text}{why_no_interval(one.experts)}.", f"{text}.")


def _memory(findings: Simulation) -> Answer | None:
    plan = findings.plan
    budget = (
        ""
        if plan.stall_budget is None
        else f" for a stall of at most {duration(plan.stall_budget)} per token"
    )
    if plan.smallest is None:
        text = f"No memory is known{budget}: {plan.reason}."
        return Answer("Memory", text, text) if budget else None
    one = plan.smallest
    size = f" ({data_size(one.bytes)})" if math.isfinite(one.bytes) else ""
    each = f"{min(one.slots)} to {max(one.slots)}" if min(one.slots) < max(one.slots) else f"{one.slots[0]}"
    return Answer(
        "Memory",
        f"The smallest memory{budget} has {one.slots_in_all:,} slots for experts{size}, {each} per layer, and a stall "
        f"of {duration(one.stall_per_token)}. Its hit rate with LRU is {percent(one.divided_hit_rate)}, with as many "
        f"slots in every layer {percent(one.equal_hit_rate)}{why_no_interval(one.divided_hit_rate)}.",
        f"{one.slots_in_all:,} slots{size}, {each} per layer,{budget}.",
    )
