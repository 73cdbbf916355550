"""Loads of the experts, and information between adjacent layers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm

from routestat.report.figures.style import (
    BLUE,
    DIVERGING,
    GREY,
    PALE,
    SMALL,
    TEXT,
    Drawing,
    colour_key,
    colour_map,
    least,
    new_axes,
    new_figure,
    reach,
    sparse_ticks,
)
from routestat.study.layer_pairs import LayerPair
from routestat.study.layers import LayerLoad


def load(loads: Sequence[LayerLoad]) -> Drawing:
    """Load per layer and expert over the layer's mean load; unused experts are crossed out."""
    known = [item for item in loads if item.balance.n_tokens]
    if not known:
        return "No tokens were counted, so there is no load to show."
    width = max(item.router.n_experts for item in known)
    ratio = np.full((width, len(known)), np.nan)
    for column, item in enumerate(known):
        ratio[: item.router.n_experts, column] = item.relative
    limit = max(1.25, float(np.nanmax(ratio)), min(10.0, 1 / float(np.nanmin(ratio[ratio > 0]))))
    across = min(9.6, max(2.8, 0.3 * len(known)))
    tall = min(5.5, max(1.8, 0.24 * width))
    figure = new_figure(across + 1.7, tall + 1.0)
    axes, key = new_axes(figure, 0.65, 0.6, across, tall), new_axes(figure, 0.75 + across, 0.6, 0.12, tall)
    shown = np.where(ratio > 0, ratio, np.nan)
    image = axes.imshow(shown, cmap=colour_map(DIVERGING), norm=LogNorm(1 / limit, limit), aspect="auto")
    colour_key(figure, image, key)
    dead = np.argwhere(ratio == 0)
    axes.plot(dead[:, 1], dead[:, 0], "x", color="black", markersize=5)
    axes.set(xlabel="layer", ylabel="expert")
    axes.set_title("load over the layer's mean load (× never used)", fontsize=TEXT)
    sparse_ticks(axes, "x", [str(item.router.layer) for item in known], 32)
    sparse_ticks(axes, "y", [str(expert) for expert in range(width)], 17)
    return figure


def information(dependence: Sequence[LayerPair], loads: Sequence[LayerLoad], states: str) -> Drawing:
    """Mutual information of each pair of layers with its interval; above it, on one scale with the entropy."""
    known = [item for item in dependence if np.isfinite(item.information.mi_bits)]
    if not known:
        return "There is no pair of layers whose mutual information could be computed."
    entropies = {item.router.layer: item.entropy_bits for item in loads}
    unit = "bits per token" if states == "subset" else "bits per pair of slots"
    across = min(10.2, max(4.5, 0.33 * len(known)))
    figure = new_figure(across + 1.0, 5.0)
    scale, close = new_axes(figure, 0.75, 3.55, across, 1.1), new_axes(figure, 0.75, 0.85, across, 2.25)
    place = np.arange(len(known))
    bits = np.array([item.information.mi_bits for item in known])
    scale.bar(
        place, [entropies[item.target.layer] for item in known], color=PALE, label="entropy of the target"
    )
    scale.bar(place, bits, color=BLUE, label="mutual information")
    scale.set(ylim=(0, None), xticks=[], ylabel="bits")
    scale.legend(
        ncols=2, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=SMALL, borderpad=0
    )
    # An interval that would not cover is not drawn, and its point is hollow.
    covered = np.array([item.scarce.covered for item in known])
    low, high = (
        np.where(covered, [getattr(item.information, limit) for item in known], bits)
        for limit in ("low", "high")
    )
    close.errorbar(place, bits, reach(bits, low, high), fmt="o", color=BLUE, capsize=2, markersize=4)
    close.plot(place[~covered], bits[~covered], "o", color=BLUE, markerfacecolor="white", markersize=4)
    close.axhline(0, color=GREY, linewidth=0.8)
    close.set(ylim=(min(0, least(low)), None), xlabel="layers, source → target", ylabel=unit)
    close.set_title("mutual information, 95 % intervals over documents", fontsize=TEXT)
    close.grid(axis="y", color=PALE, linewidth=0.5)
    for axes in (scale, close):
        axes.set_xlim(-0.6, len(known) - 0.4)
    names = [f"{item.source.layer}→{item.target.layer}" for item in known]
    sparse_ticks(close, "x", names, 40, rotation=90 if len(known) > 12 else 0)
    return figure
