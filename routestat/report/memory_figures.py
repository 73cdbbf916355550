"""Pictures of the memory: what contexts foretell over the depth, and how far the chain's steps carry."""

import numpy as np

from routestat.inference.ratio import Estimate
from routestat.memory import Memory
from routestat.report.canvas import (
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

#: Contexts drawn over the depth, with their colours and dashes.
SHOWN = {
    "nothing": (GREY, ":"),
    "layer-1": (BLUE, "-"),
    "layer-2,layer-1": (BLUE, "--"),
    "layer-3,layer-2,layer-1": (BLUE, ":"),
    "layer-4,layer-3,layer-2,layer-1": (BLUE, ":"),
    "token-1": (ORANGE, "-"),
    "layer-1,token-1": (ORANGE, "--"),
    "token id": (VERMILLION, "-"),
    "token id,layer-1": (VERMILLION, "--"),
}


def contexts(memory: Memory) -> Drawing:
    """Held-out log loss of contexts over the depth; below it what order 2 gains over order 1."""
    known = [item for item in memory.layers if np.isfinite(item.log_loss("nothing").value)]
    if not known:
        return "No context could be scored: that takes documents to count and others to hold out."
    across = min(9.0, max(4.5, 0.28 * len(known)))
    figure = new_figure(across + 2.9, 5.4)
    losses, gains = new_axes(figure, 0.7, 2.85, across, 2.2), new_axes(figure, 0.7, 0.75, across, 1.5)
    place = {item.target.layer: at for at, item in enumerate(known)}
    for name, (colour, dash) in SHOWN.items():
        found = [(place[i.target.layer], i.log_loss(name)) for i in known if name in i.scores.bits]
        if not found:
            continue
        x, value, low, high = _columns(found)
        losses.plot(x, value, color=colour, linestyle=dash, marker=".", markersize=4, label=name)
        losses.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    losses.set(ylim=(0, None), ylabel="bits per token")
    losses.set_title("held-out log loss given …, with 95 % bands over documents", fontsize=TEXT)
    losses.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False, fontsize=TEXT - 1)
    second = [(place[i.target.layer], i.over_layers.gains[1]) for i in known if len(i.over_layers.gains) > 1]
    if second:
        x, value, low, high = _columns(second)
        gains.errorbar(x, value, reach(value, low, high), fmt="o", color=BLUE, capsize=2, markersize=4)
    gains.axhline(0, color=GREY, linewidth=0.8)
    gains.set(xlabel="layer that is foretold", ylabel="bits per token")
    gains.set_title(
        "what the layer two before adds to the layer before: gain of order 2 over 1", fontsize=TEXT
    )
    for axes in (losses, gains):
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
        return f"No horizons: {found.reason or 'no tokens'}."
    figure = new_figure(7.6, 3.6)
    axes = new_axes(figure, 0.75, 0.65, 4.6, 2.5)
    axes.errorbar(
        x, direct.value, reach(direct.value, direct.low, direct.high), fmt="o-", color=BLUE, capsize=2.5,
        markersize=4, label="counted",
    )  # fmt: skip
    axes.plot(x, chain.value, "s--", color=VERMILLION, markersize=4, label="implied by the chain of order 1")
    axes.fill_between(x, chain.low, chain.high, color=VERMILLION, alpha=0.2, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel="layers on", ylabel="bits per token", xticks=x)
    axes.set_title("what a layer tells of one further on, 95 % bands over documents", fontsize=TEXT)
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False, fontsize=TEXT - 1)
    return figure


def _columns(found: list[tuple[int, Estimate]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x = np.array([at for at, _ in found])
    value, low, high = (
        np.array([getattr(one, name) for _, one in found]) for name in ("value", "low", "high")
    )
    return x, value, low, high
