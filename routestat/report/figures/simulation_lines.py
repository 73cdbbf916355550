"""The lines of a simulation's figures: a policy over its capacities, with a colour, a dash and a mark of its own."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.report.figures.style import BLUE, GREY, ORANGE, VERMILLION
from routestat.report.simulation_main import Main, label
from routestat.study.simulation_findings import SimulatedCache, Simulation
from routestat.study.simulation_plan import PERFECT

Array = NDArray[np.float64]
# Okabe & Ito's green and purple.
GREEN, PURPLE, BLACK = "#009E73", "#CC79A7", "#000000"
#: Colour, dash and mark of a policy: no two have the same colour and the same mark.
LINES: Mapping[str, tuple[str, str, str]] = {
    "none": (GREY, ":", "x"),
    "static": (ORANGE, "--", "s"),
    "lru": (BLUE, "-", "o"),
    "lfu": (VERMILLION, "--", "^"),
    "lfu-decay": (VERMILLION, "-.", "v"),
    "predictor": (GREEN, "-", "D"),
    "belady": (BLACK, "-", "P"),
    "belady-forced": (BLACK, ":", "d"),
}
#: The same of prefetching, by predictions of other documents and by perfect ones.
AHEAD: Mapping[bool, tuple[str, str, str]] = {False: (PURPLE, "-", "*"), True: (PURPLE, ":", "X")}


@dataclass(frozen=True)
class Line:
    """One policy over its capacities."""

    policy: str
    words: str
    found: list[SimulatedCache]
    style: tuple[str, str, str]

    @property
    def x(self) -> Array:
        """Experts per layer ``[point]``."""
        return np.array([one.setting.capacity for one in self.found], float)

    def columns(self, of: Callable[[SimulatedCache], Estimate]) -> tuple[Array, Array, Array]:
        """Return values and limits of one figure, each ``[point]``."""
        return columns_of(of(one) for one in self.found)


def policy_lines(findings: Simulation, main: Main | None, scope: str) -> list[Line]:
    """Return the policies of a scope without prefetching, at the start of the main setting."""
    found: dict[str, list[SimulatedCache]] = {}
    for one in _simulated(findings, main, scope):
        if not one.setting.lookahead:
            found.setdefault(label(one.setting), []).append(one)
    lines = [_line(words, caches, LINES[caches[0].setting.policy]) for words, caches in found.items()]
    return sorted(lines, key=lambda line: list(LINES).index(line.policy))


def prefetching_lines(findings: Simulation, main: Main) -> list[Line]:
    """Return the best prefetching of the main setting, and that by perfect predictions, over the capacities."""
    lines = []
    for best in (main.best_prefetching, main.best_perfect):
        if best is not None:
            like = replace(best.setting, capacity=0)
            every = _simulated(findings, main, main.scope)
            caches = [one for one in every if replace(one.setting, capacity=0) == like]
            words = f"{label(like)}, prefetching: {like.predictor}, {like.candidates}"
            lines.append(_line(words, caches, AHEAD[like.predictor == PERFECT]))
    return lines


def _line(words: str, caches: list[SimulatedCache], style: tuple[str, str, str]) -> Line:
    return Line(caches[0].setting.policy, words, sorted(caches, key=lambda one: one.setting.capacity), style)


def _simulated(findings: Simulation, main: Main | None, scope: str) -> list[SimulatedCache]:
    """Return what was simulated in a scope, both phases together, at the start of the main setting."""
    return [
        one
        for one in findings.caches
        if main is not None
        and (one.setting.scope, one.setting.start, one.phase) == (scope, main.start, "all")
        and one.setting.policy != "none"
        and not one.reason
        and not (one.setting.policy == "lru" and one.setting.capacity < _least(findings, scope))
    ]


def _least(findings: Simulation, scope: str) -> float:
    """Return the capacity per layer below which LRU shows nothing of the trace: a step needs as many of a pool."""
    if scope == "layer":
        return 0.0
    return max((one.accesses / one.events for one in findings.caches if one.events), default=0.0)


def lru_curve(findings: Simulation, scope: str) -> list[tuple[float, Estimate]]:
    """Return LRU over all layers at every capacity per layer that holds an event, and of a pool a step."""
    routers = findings.routers
    share = len(routers) if scope == "pool" else 1
    least = max(_least(findings, scope), 0 if scope == "pool" else max(router.top_k for router in routers))
    return [
        (one.capacity / share, one.hit_rate)
        for one in findings.curve
        if (one.scope, one.layer) == (scope, None)
        and one.capacity / share >= least
        and math.isfinite(one.hit_rate.value)
    ]


def legend_width(lines: Sequence[Line]) -> float:
    """Return the inches that the legend takes."""
    return 0.75 + 0.066 * max((len(line.words) for line in lines), default=0)


def columns_of(found: Iterable[Estimate]) -> tuple[Array, Array, Array]:
    """Return values and limits of estimates, each ``[point]``."""
    listed = list(found)
    value, low, high = (
        np.array([getattr(one, name) for one in listed], float) for name in ("value", "low", "high")
    )
    return value, low, high
