"""Figures of caches and prefetching; each function takes findings and returns a figure, or the sentence why not."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from routestat.inference.base.estimate import Estimate
from routestat.report.figures.simulation_lines import (
    LINES,
    Array,
    Line,
    columns_of,
    legend_width,
    lru_curve,
    policy_lines,
    prefetching_lines,
)
from routestat.report.figures.style import (
    BLUE,
    PALE,
    SMALL,
    TEXT,
    VERMILLION,
    Drawing,
    new_axes,
    new_figure,
    reach,
)
from routestat.report.quantities import data_size
from routestat.report.simulation_main import label, main_setting
from routestat.study.simulation_findings import SimulatedCache, Simulation

_NO_CURVE = "No hit rates: no cache was simulated"
_SCOPES = {"layer": "a cache for each layer", "pool": "one pool for all layers"}


def capacity(findings: Simulation) -> Drawing:
    """Draw the hit rate over the capacity, LRU at every one of them; a panel for each scope."""
    main = main_setting(findings)
    scopes = [scope for scope in _SCOPES if policy_lines(findings, main, scope) or lru_curve(findings, scope)]
    if not scopes:
        return f"{_NO_CURVE}."
    wide = 4.6 if len(scopes) == 1 else 3.7
    lines = {scope: policy_lines(findings, main, scope) for scope in scopes}
    figure = new_figure(
        0.7
        + len(scopes) * (wide + 0.35)
        + legend_width([line for found in lines.values() for line in found]),
        3.9,
    )
    for place, scope in enumerate(scopes):
        axes = new_axes(figure, 0.7 + place * (wide + 0.35), 0.6, wide, 2.9)
        every = lru_curve(findings, scope)
        if every:
            x, (value, low, high) = np.array([at for at, _ in every]), columns_of(rate for _, rate in every)
            colour, dash, _ = LINES["lru"]
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(x, value, color=colour, linestyle=dash, label="LRU, every capacity")
        for line in lines[scope]:
            if line.policy != "lru" or not every:
                _draw(axes, line, lambda one: one.hit_rate)
        axes.set(ylim=(0, 1.02), xlim=(0, None), xlabel="capacity, experts per layer")
        axes.set_title(_SCOPES[scope], fontsize=TEXT)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color=PALE, linewidth=0.5)
        if place:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("hit rate")
    legend_beside(figure.axes)
    return figure


def cost(findings: Simulation) -> Drawing:
    """Draw the loads per token over the capacity and, where the machine is known, the stall."""
    main = main_setting(findings)
    if main is None:
        return f"{_NO_CURVE}."
    lines = policy_lines(findings, main, main.scope) + prefetching_lines(findings, main)
    size = findings.hardware.expert_bytes
    stalls = [one for line in lines for one in line.found if math.isfinite(one.stall_per_token.value)]
    wide, gap = 3.5, 1.45 if size is not None else 0.9
    figure = new_figure(0.8 + wide + (gap + wide if stalls else gap - 0.4) + legend_width(lines), 3.9)
    panels: list[tuple[Axes, Callable[[SimulatedCache], Estimate], float]] = []
    left = new_axes(figure, 0.8, 0.6, wide, 2.9)
    panels.append((left, lambda one: one.loads_per_token, 1.0))
    left.set(ylabel="experts loaded per token")
    left.set_title("simulated" if size is None else "simulated; right scale estimated", fontsize=TEXT)
    if stalls:
        right = new_axes(figure, 0.8 + wide + gap, 0.6, wide, 2.9)
        panels.append((right, lambda one: one.stall_per_token, 1e3))
        right.set(ylabel="stall per token, ms")
        right.set_title("estimated", fontsize=TEXT)
    none = main.of("none")
    for axes, of, unit in panels:
        for line in lines:
            _draw(axes, line, of, unit)
        if none is not None and math.isfinite(of(none).value):
            colour, dash, _ = LINES["none"]
            axes.axhline(of(none).value * unit, color=colour, linestyle=dash, label=label(none.setting))
        axes.set(xlim=(0, None), ylim=(0, None), xlabel="capacity, experts per layer")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color=PALE, linewidth=0.5)
    if size is not None:
        beside = left.secondary_yaxis("right", functions=(scaled_by(size), scaled_by(1 / size)))
        beside.yaxis.set_major_formatter(FuncFormatter(lambda value, _: data_size(value)))
        beside.tick_params(labelsize=SMALL, length=2, pad=2)
        beside.set_ylabel("bytes per token", fontsize=TEXT)
    legend_beside([axes for axes, _, _ in panels])
    return figure


def scaled_by(factor: float) -> Callable[[ArrayLike], Array]:
    """Return the scale of a second axis."""
    return lambda values: np.asarray(values, float) * factor


def _draw(axes: Axes, line: Line, of: Callable[[SimulatedCache], Estimate], unit: float = 1.0) -> None:
    value, low, high = (unit * column for column in line.columns(of))
    colour, dash, mark = line.style
    axes.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(line.x, value, color=colour, linestyle=dash, marker=mark, markersize=4, label=line.words)


def legend_beside(axes: Sequence[Axes]) -> None:
    """Draw one legend for all panels, right of the last."""
    handles: dict[str, Artist] = {}
    for one in axes:
        for handle, words in zip(*one.get_legend_handles_labels(), strict=True):
            handles.setdefault(words, handle)
    axes[-1].legend(
        list(handles.values()), list(handles), loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False,
        fontsize=SMALL,
    )  # fmt: skip


def prefetching(findings: Simulation) -> Drawing:
    """Draw precision and recall on non-resident experts of everything that was prefetched at the main setting."""
    main = main_setting(findings)
    found = [one for one in main.prefetching if not one.reason] if main is not None else []
    if not found:
        return "Nothing was prefetched."
    names = [
        f"{one.setting.predictor}, {one.setting.candidates} of layer +{one.setting.lookahead} ({label(one.setting)})"
        for one in found
    ]
    left = 0.3 + 0.066 * max(map(len, names))
    place = np.arange(len(found))[::-1]
    figure = new_figure(left + 6.6, 1.1 + 0.3 * len(found))
    panels = (
        ("precision: prefetched that are needed", BLUE, [one.precision for one in found]),
        ("recall: needed that are prefetched", VERMILLION, [one.recall for one in found]),
    )
    for index, (title, colour, estimates) in enumerate(panels):
        axes = new_axes(figure, left + 3.3 * index, 0.55, 3.1, 0.3 * len(found) + 0.1)
        value, low, high = columns_of(estimates)
        known = np.isfinite(value)
        axes.errorbar(
            value[known], place[known], xerr=reach(value, low, high)[:, known], fmt="o", color=colour, capsize=2.5,
            markersize=5,
        )  # fmt: skip
        axes.set_title(title, fontsize=TEXT)
        axes.set(
            xlim=(0, 1.02), ylim=(-0.6, len(found) - 0.4), yticks=place, yticklabels=[] if index else names
        )
        axes.set_xlabel("share")
        axes.grid(axis="x", color=PALE, linewidth=0.5)
    return figure
