"""Pictures of findings: each function takes results and returns a matplotlib Figure, and computes nothing anew.

Where there is nothing to draw, a function returns the sentence that says why instead. Widths are chosen so that
text is 8 points or more when a picture is shown at 96 pixels per inch.
"""

from collections.abc import Sequence

import networkx as nx
import numpy as np
from matplotlib.colors import LogNorm, PowerNorm

from routestat.forecast.scores import PredictionScore
from routestat.inference.base.tables import lift
from routestat.report.figures.style import (
    BLUE,
    COMMA,
    DIVERGING,
    FEW_TOKENS,
    GREY,
    PALE,
    SEQUENTIAL,
    SMALL,
    TEXT,
    VERMILLION,
    Drawing,
    colour_key,
    colour_map,
    least,
    name_states,
    new_axes,
    new_figure,
    of_layer,
    reach,
    sparse_ticks,
)
from routestat.structure.layer_map import LayerMap, without_diagonal
from routestat.structure.paths import Paths
from routestat.study.layer_pairs import LayerPair
from routestat.study.layers import LayerLoad
from routestat.study.routes import BlockFinding
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


def board(
    scores: Sequence[PredictionScore], panels: Sequence[tuple[str, str]], trivial: Sequence[str]
) -> Drawing:
    """Small multiples of scores, a dot and an interval per predictor; `trivial` ones are hollow.

    `panels` are (score, title).
    """
    scored = [score for score in scores if score.n_tokens]
    if not scored:
        return "No predictor could be scored: that takes documents to fit on and others to hold out."
    figure = new_figure(11.0, 1.1 + 0.3 * len(scored))
    place = np.arange(len(scored))[::-1]
    left = max(1.65, 0.2 + 0.062 * max(len(score.predictor) for score in scored))
    step = (11.05 - left) / len(panels)
    for index, (name, title) in enumerate(panels):
        axes = new_axes(figure, left + step * index, 0.5, step - 0.25, 0.3 * len(scored) + 0.1)
        for y, score in zip(place, scored, strict=True):
            found = score.estimate(name)
            if not np.isfinite(found.value):
                axes.text(0.5, y, "–", transform=axes.get_yaxis_transform(), ha="center", va="center")
                continue
            colour = GREY if score.predictor in trivial else BLUE
            bars = reach(np.array([found.value]), np.array([found.low]), np.array([found.high]))
            face = "white" if score.predictor in trivial else colour
            axes.errorbar(
                found.value, y, xerr=bars, fmt="o", color=colour, mfc=face, capsize=2.5, markersize=5
            )
        axes.set_title(title, fontsize=TEXT)
        axes.set(ylim=(-0.6, len(scored) - 0.4), yticks=place, yticklabels=[])
        if name != "log_loss_bits":
            axes.set_xlim(left=0)
        axes.grid(axis="x", color=PALE, linewidth=0.5)
        axes.locator_params(axis="x", nbins=4)
        if index == 0:
            axes.set_yticklabels([score.predictor for score in scored])
    return figure


def blocks(finding: BlockFinding, item: LayerPair, states: str) -> Drawing:
    """Lift of one transition with its states in the order of their blocks, and the blocks' borders."""
    found = finding.blocks
    if found.reason:
        return f"Layers {item.source.layer} → {item.target.layer}: no blocks, {found.reason}."
    rows = found.row_order[found.row_labels[found.row_order] >= 0]
    columns = found.column_order[found.column_labels[found.column_order] >= 0]
    values = lift(item.table[np.ix_(rows, columns)])
    limit = max(2.0, float(np.quantile(values, 0.995)))
    figure = new_figure(6.4, 5.9)
    axes, key = new_axes(figure, 0.75, 0.75, 4.7, 4.7), new_axes(figure, 5.55, 0.75, 0.12, 4.7)
    shown = np.clip(values, 1 / limit, limit)
    image = axes.imshow(shown, cmap=colour_map(DIVERGING), norm=LogNorm(1 / limit, limit), aspect="auto")
    colour_key(figure, image, key)
    for cut in np.flatnonzero(np.diff(found.row_labels[rows])):
        axes.axhline(cut + 0.5, color="black", linewidth=1.2)
    for cut in np.flatnonzero(np.diff(found.column_labels[columns])):
        axes.axvline(cut + 0.5, color="black", linewidth=1.2)
    axes.set_title("lift P(i, j) / (P(i) P(j)), states in the order of their blocks", fontsize=TEXT)
    name_states(axes, "x", f"j: {of_layer(item.target, states)}", item.target, states, columns)
    name_states(axes, "y", f"i: {of_layer(item.source, states)}", item.source, states, rows)
    return figure


def routes(graph: nx.DiGraph, layers: Sequence[int], dominant: Paths) -> Drawing:
    """Draw the chain as a layered graph: layers along x, a circle per state, dominant paths in colour."""
    if not graph.number_of_nodes():
        return "The chain has no path to draw."
    height = _places(graph, layers)
    labels = nx.get_node_attributes(graph, "label")
    across = max(4.0, 0.52 * (len(layers) - 1))
    tall = max(2.0, 0.34 * max(abs(y) for y in height.values()) * 2)
    figure = new_figure(across + 1.2, tall + 1.3)
    axes = new_axes(figure, 0.6, 0.7, across, tall + 0.4)
    place = {layer: x for x, layer in enumerate(layers)}
    heaviest = max((data["joint"] for *_, data in graph.edges(data=True)), default=1.0)
    edges = sorted(graph.edges(data=True), key=lambda edge: edge[2]["paths"])
    for source, target, data in edges:
        x = [place[graph.nodes[node]["layer"]] for node in (source, target)]
        used = data["paths"] > 0
        width = 0.4 + 4.0 * data["joint"] / heaviest
        colour, above = (VERMILLION, 2) if used else (PALE, 1)
        axes.plot(x, [height[source], height[target]], color=colour, linewidth=width, zorder=above)
    on_path = {node for s, t, data in edges if data["paths"] for node in (s, t)} or set(graph)
    for node, data in graph.nodes(data=True):
        at = place[data["layer"]], height[node]
        colour = VERMILLION if node in on_path else GREY
        axes.plot(
            *at,
            "o",
            color="white",
            mec=colour,
            mew=1.0,
            markersize=16 + 100 * min(data["probability"], 0.1),
            zorder=3,
        )
        axes.text(
            *at,
            str(labels.get(node, data["state"])).replace(",", COMMA),
            fontsize=SMALL,
            ha="center",
            va="center",
            zorder=4,
        )
    axes.set(xlim=(-0.6, len(layers) - 0.4), xlabel="layer", yticks=[])
    axes.margins(y=0.12)
    sparse_ticks(axes, "x", [str(layer) for layer in layers], 64)
    axes.spines[["left", "right", "top"]].set_visible(False)
    return figure


def _places(graph: nx.DiGraph, layers: Sequence[int]) -> dict[str, float]:
    """Height of each node: each layer's nodes evenly spaced, in the order of their neighbours' mean height."""
    columns = [[n for n, data in graph.nodes(data=True) if data["layer"] == layer] for layer in layers]
    height: dict[str, float] = {}
    for column in columns:
        column.sort(key=lambda node: -graph.nodes[node]["probability"])
        height |= {node: place - (len(column) - 1) / 2 for place, node in enumerate(column)}
    # A few sweeps of the barycentre rule (Sugiyama, Tagawa & Toda 1981) undo most crossings.
    for sweep in range(8):
        near = graph.pred if sweep % 2 == 0 else graph.succ
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            wish = {node: _mean_height(near[node], height, height[node]) for node in column}
            column.sort(key=lambda node: wish[node])
            height |= {node: place - (len(column) - 1) / 2 for place, node in enumerate(column)}
    return height


def _mean_height(near: dict, height: dict[str, float], own: float) -> float:
    """Mean height of neighbours; edges of dominant paths weigh most, so that these run straight."""
    weights = [data["joint"] * (1 + 20 * data["paths"]) for data in near.values()]
    return float(np.average([height[n] for n in near], weights=weights)) if sum(weights, 0.0) > 0 else own
