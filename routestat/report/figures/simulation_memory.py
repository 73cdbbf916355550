"""Figures of the memory that experts need: working sets, single layers, the plan of capacities."""

import math

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from routestat.report.figures.simulation import legend_beside
from routestat.report.figures.simulation_lines import LINES, columns_of
from routestat.report.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    SMALL,
    TEXT,
    VERMILLION,
    Drawing,
    new_axes,
    new_figure,
    reach,
    sparse_ticks,
)
from routestat.report.quantities import data_size
from routestat.report.simulation_main import hot_sets_at, main_setting, mean_working_sets
from routestat.study.simulation_findings import PlannedCapacity, Simulation


def working_set(findings: Simulation) -> Drawing:
    """Draw the different experts that blocks of consecutive tokens need, beside independent tokens."""
    found = mean_working_sets(findings)
    if not found:
        return "No working set: no document has two consecutive tokens, or it was not measured."
    x = np.array([one.tokens for one in found], float)
    value, low, high = columns_of(one.experts for one in found)
    independent = np.array([one.independent for one in found])
    most = max(router.n_experts for router in findings.routers)
    figure = new_figure(7.4, 3.5)
    axes = new_axes(figure, 0.75, 0.6, 4.4, 2.5)
    axes.fill_between(x, low, high, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(x, value, "o-", color=BLUE, markersize=4, label="measured")
    axes.plot(x, independent, "s--", color=VERMILLION, markersize=4, label="independent tokens, estimated")
    axes.axhline(most, color=GREY, linewidth=0.8, linestyle=":", label="all experts")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
    axes.set(
        ylim=(0, 1.05 * most),
        xlabel="consecutive tokens (logarithmic)",
        ylabel="different experts of a layer",
    )
    axes.grid(color=PALE, linewidth=0.5)
    legend_beside([axes])
    return figure


def layers(findings: Simulation) -> Drawing:
    """Draw the hit rate of every layer at the main capacity: LRU, pinned experts, and as many at random."""
    main = main_setting(findings)
    sets = sorted(hot_sets_at(findings, main), key=lambda one: one.layer)
    if not sets:
        return "No hit rates of single layers: they are simulated with a cache for each layer."
    place = np.arange(len(sets))
    across = min(8.2, max(3.5, 0.3 * len(sets)))
    figure = new_figure(across + 2.6, 3.1)
    axes = new_axes(figure, 0.75, 0.6, across, 2.1)
    for shift, policy, words, estimates in (
        (-0.12, "lru", "LRU", [one.lru for one in sets]),
        (0.12, "static", "static pins", [one.static for one in sets]),
    ):
        value, low, high = columns_of(estimates)
        colour, _, mark = LINES[policy]
        known = np.isfinite(value)
        axes.errorbar(
            (place + shift)[known], value[known], reach(value, low, high)[:, known], fmt=mark, color=colour,
            capsize=2, markersize=4, label=words,
        )  # fmt: skip
    axes.plot(place, [one.uniform for one in sets], ":", color=GREY, label="as many at random")
    axes.set(xlim=(-0.6, len(sets) - 0.4), ylim=(0, 1.02), xlabel="layer", ylabel="hit rate")
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    sparse_ticks(axes, "x", [str(one.layer) for one in sets], 32)
    legend_beside([axes])
    return figure


def plan(findings: Simulation) -> Drawing:
    """Draw the hit rate over the size of the memory, divided equally and by gain, and the slots of one division."""
    sizes = sorted(findings.plan.sizes, key=lambda one: one.slots_in_all)
    if not sizes:
        return "No plan of capacities was made."
    one = drawn_division(findings)
    across = min(5.2, max(3.0, 0.22 * len(one.slots)))
    figure = new_figure(0.75 + 3.6 + 0.75 + across + 0.15, 3.5)
    axes = new_axes(figure, 0.75, 0.6, 3.6, 2.4)
    x = np.array([size.slots_in_all for size in sizes], float)
    for words, colour, mark, found in (
        ("as many in every layer", ORANGE, "s--", [size.equal_hit_rate for size in sizes]),
        ("divided by gain", BLUE, "o-", [size.divided_hit_rate for size in sizes]),
    ):
        value, low, high = columns_of(found)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, value, mark, color=colour, markersize=3.5, label=words)
    axes.axvline(one.slots_in_all, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(ylim=(0, 1.02), xlim=(0, None), xlabel="slots in all layers together", ylabel="hit rate of LRU")
    axes.set_title("simulated", fontsize=TEXT)
    axes.grid(color=PALE, linewidth=0.5)
    axes.legend(fontsize=SMALL, frameon=False, loc="lower right")
    slots = new_axes(figure, 0.75 + 3.6 + 0.75, 0.6, across, 2.4)
    slots.bar(np.arange(len(one.slots)), one.slots, color=BLUE, width=0.8)
    slots.set(xlabel="layer", ylabel="slots", xlim=(-0.6, len(one.slots) - 0.4))
    slots.yaxis.set_major_locator(MaxNLocator(integer=True))
    size = f" ({data_size(one.bytes)})" if math.isfinite(one.bytes) else ""
    slots.set_title(f"slots of each layer, {one.slots_in_all:,} in all{size}", fontsize=TEXT)
    sparse_ticks(slots, "x", [str(router.layer) for router in findings.routers], 26)
    return figure


def drawn_division(findings: Simulation) -> PlannedCapacity:
    """Return the division whose slots are drawn: the smallest within the budget, or that nearest the main capacity."""
    if findings.plan.smallest is not None:
        return findings.plan.smallest
    main = main_setting(findings)
    n = len(findings.routers)
    aim = n * (max(router.n_experts for router in findings.routers) / 2 if main is None else main.capacity)
    return min(findings.plan.sizes, key=lambda one: (abs(one.slots_in_all - aim), one.slots_in_all))
