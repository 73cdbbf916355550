"""Figures of the memory: log loss by context over the depth, and information at longer horizons."""

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.report.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    TEXT,
    VERMILLION,
    Drawing,
    new_axes,
    new_figure,
    reach,
    sparse_ticks,
)
from routestat.study.contexts import CONTEXTS, context_spec
from routestat.study.memory import Memory

Array = NDArray[np.float64]
#: Okabe & Ito's green.
GREEN = "#009E73"
#: Lines of contexts that have the same colour, from the shortest on.
LINES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))


def line_of(name: str) -> tuple[str, str, str]:
    """Return the colour, dash and mark of a context: the colour says what it has, the dash how far it reaches."""
    colour = _colour(name)
    if not context_spec(name).columns:
        return colour, ":", "x"
    alike = [other for other in dict.fromkeys([*CONTEXTS, name]) if _colour(other) == colour]
    return colour, *LINES[alike.index(name) % len(LINES)]


def _colour(name: str) -> str:
    spec = context_spec(name)
    if "token id" in spec.columns:
        return VERMILLION
    if spec.has_tokens:
        return GREEN if spec.n_layers else ORANGE
    return BLUE if spec.n_layers else GREY


def contexts(memory: Memory) -> Drawing:
    """Held-out log loss of contexts over the depth; below it, if any layer has two before it, the gain of order 2."""
    known = [item for item in memory.layers if np.isfinite(item.log_loss("nothing").value)]
    if not known:
        return "No context could be scored: that requires documents to fit on and others to hold out."
    place = {item.target.layer: at for at, item in enumerate(known)}
    second = [(place[i.target.layer], i.over_layers.gains[1]) for i in known if len(i.over_layers.gains) > 1]
    across, below = min(9.0, max(4.5, 0.28 * len(known))), 2.1 if second else 0.0
    figure = new_figure(across + 3.0, 3.3 + below)
    every = [losses := new_axes(figure, 0.7, 0.6 + below, across, 2.3)]
    tops = [1e-6]
    for name in dict.fromkeys([*CONTEXTS, *(context for item in known for context in item.scores.bits)]):
        colour, dash, mark = line_of(name)
        # Where no token has a context its loss is that of a shorter one.
        having = [item for item in known if name in item.scores.bits and item.known.get(name) != 0]
        found = [(place[item.target.layer], item.log_loss(name)) for item in having]
        if found:
            x, value, low, high = _columns(found)
            tops.append(float(np.nanmax([value, high])))
            losses.errorbar(
                x, value, reach(value, low, high), color=colour, linestyle=dash, marker=mark, markersize=4,
                elinewidth=0.8, label=context_spec(name).words,
            )  # fmt: skip
    losses.set(ylim=(0, 1.06 * max(tops)), ylabel="bits per choice")
    losses.set_title("held-out log loss given …, with 95 % intervals over documents", fontsize=TEXT)
    losses.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False, fontsize=TEXT - 1)
    if second:
        every.append(gains := new_axes(figure, 0.7, 0.6, across, 1.4))
        x, value, low, high = _columns(second)
        gains.errorbar(x, value, reach(value, low, high), fmt="o", color=BLUE, capsize=2, markersize=4)
        gains.axhline(0, color=GREY, linewidth=0.8)
        gains.set(ylabel="bits per choice")
        gains.set_title("what the layer two before saves beside the layer before", fontsize=TEXT)
    every[-1].set_xlabel("predicted layer")
    for axes in every:
        axes.grid(axis="y", color=PALE, linewidth=0.5)
        axes.set_xlim(-0.6, len(known) - 0.4)
        sparse_ticks(axes, "x", [str(item.target.layer) for item in known], 32)
    return figure


def horizons(memory: Memory) -> Drawing:
    """Information n layers on, as counted and as the chain of order 1 implies, means over the start layers."""
    found = memory.horizons
    if found is None or len(found.horizons) < 2:
        return f"No horizons: {memory.reason or 'they take three layers or more'}."
    x = np.array(found.horizons)
    direct, chain = found.mean_direct_bits, found.mean_chain_bits
    if not np.isfinite(direct.value).any():
        return f"No horizons could be measured: {found.reason or 'no tokens with both layers known'}."
    figure = new_figure(7.6, 3.6)
    axes = new_axes(figure, 0.75, 0.65, 4.6, 2.5)
    counted = axes.errorbar(
        x, direct.value, reach(direct.value, direct.low, direct.high), fmt="o-", color=BLUE, capsize=2.5,
        markersize=4, label="counted",
    )  # fmt: skip
    (implied,) = axes.plot(
        x, chain.value, "s--", color=VERMILLION, markersize=4, label="implied by the chain of order 1"
    )
    axes.fill_between(x, chain.low, chain.high, color=VERMILLION, alpha=0.2, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel="layers apart", ylabel="bits per token", xticks=x)
    axes.set_title("information of layers farther apart, 95 % over documents", fontsize=TEXT)
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    axes.legend(
        handles=[counted, implied],
        loc="upper left",
        bbox_to_anchor=(1.0, 1.02),
        frameon=False,
        fontsize=TEXT - 1,
    )
    return figure


def _columns(found: list[tuple[int, Estimate]]) -> tuple[Array, Array, Array, Array]:
    """Return places, values and limits of estimates ``[point]``."""
    x = np.array([at for at, _ in found])
    value, low, high = (
        np.array([getattr(one, name) for _, one in found]) for name in ("value", "low", "high")
    )
    return x, value, low, high
