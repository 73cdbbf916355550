"""Heatmaps: the joint and conditional distribution of a transition, and the layer map."""

import numpy as np
from matplotlib.colors import PowerNorm

from routestat.report.figures.style import (
    BLUE,
    SEQUENTIAL,
    TEXT,
    VERMILLION,
    Drawing,
    colour_key,
    colour_map,
    name_states,
    new_axes,
    new_figure,
    sparse_ticks,
)
from routestat.report.names import FEW_TOKENS, of_layer
from routestat.structure.layer_map import LayerMap, without_diagonal
from routestat.study.layer_pairs import LayerPair
from routestat.study.transitions import transition_table


def joint_and_conditional(item: LayerPair, states: str) -> Drawing:
    """Joint P(i, j) and conditional P(j | i) side by side, with the share of tokens each row rests on."""
    found = transition_table(item, states)
    if found is None:
        return f"No token has a choice at both layer {item.source.layer} and layer {item.target.layer}."
    figure = new_figure(11.3, 5.1)
    bar, joint, joint_key, given, given_key = (
        new_axes(figure, left, 0.75, width, 4.0)
        for left, width in ((0.6, 0.7), (1.35, 4.0), (5.4, 0.12), (6.5, 4.0), (10.55, 0.12))
    )
    # Cells without tokens are zero, but P(j | i) is undefined where i has none.
    share, conditional = np.nan_to_num(found.joint), np.nan_to_num(found.conditional)
    conditional[found.row_tokens == 0] = np.nan
    for axes, key, values, title in (
        (joint, joint_key, share, "joint P(i, j)"),
        (given, given_key, conditional, "conditional P(j | i)"),
    ):
        image = axes.imshow(values, cmap=colour_map(SEQUENTIAL), norm=PowerNorm(0.5, vmin=0), aspect="auto")
        colour_key(figure, image, key)
        axes.set_title(title, fontsize=TEXT)
        name_states(axes, "x", f"j: {of_layer(item.target, states)}", item.target, states)
    joint.set_yticks([])
    name_states(given, "y", "", item.source, states)
    few = found.row_tokens < FEW_TOKENS
    bar.barh(np.arange(len(few)), found.source_shares, color=np.where(few, VERMILLION, BLUE), height=0.9)
    bar.plot(np.zeros(few.sum()), np.flatnonzero(few), "x", color=VERMILLION, markersize=3, clip_on=False)
    bar.set(ylim=(len(few) - 0.5, -0.5), xlim=(0, None))
    bar.set_title("P(i)", fontsize=TEXT)
    bar.tick_params(axis="x", labelrotation=90)
    bar.locator_params(axis="x", nbins=2)
    name_states(bar, "y", f"i: {of_layer(item.source, states)}", item.source, states)
    return figure


def layer_map(found: LayerMap, states: str) -> Drawing:
    """Mutual information of every pair of layers; the diagonal, a layer with itself, is left out."""
    matrix = without_diagonal(found.mi_bits)
    if np.isnan(matrix).all():
        return "No pair of layers has a measured dependence."
    across = min(7.5, max(2.8, 0.24 * len(matrix)))
    figure = new_figure(across + 1.9, across + 1.0)
    axes, key = (
        new_axes(figure, 0.65, 0.6, across, across),
        new_axes(figure, 0.75 + across, 0.6, 0.12, across),
    )
    image = axes.imshow(
        np.maximum(matrix, 0), cmap=colour_map(SEQUENTIAL), norm=PowerNorm(0.5, vmin=0), aspect="auto"
    )
    colour_key(figure, image, key)
    axes.set(xlabel="layer", ylabel="layer")
    unit = "bits" if states == "subset" else "bits per pair of slots"
    axes.set_title(f"mutual information of two layers ({unit})", fontsize=TEXT)
    names = [str(layer) for layer in found.layers]
    sparse_ticks(axes, "x", names, 32)
    sparse_ticks(axes, "y", names, 32)
    return figure
