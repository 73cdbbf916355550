"""Dominant routes through the layers, as a graph."""

from collections.abc import Sequence

import networkx as nx
import numpy as np
from matplotlib.collections import LineCollection

from routestat.report.figures.style import (
    GREY,
    PALE,
    SMALL,
    VERMILLION,
    Drawing,
    new_axes,
    new_figure,
    sparse_ticks,
)
from routestat.report.names import COMMA
from routestat.structure.paths import Paths


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
    at = {node: (place[data["layer"]], height[node]) for node, data in graph.nodes(data=True)}
    # Collections: an artist for every line and circle would take most of the time of drawing.
    for used, colour, above in ((False, PALE, 1), (True, VERMILLION, 2)):
        chosen = [edge for edge in edges if (edge[2]["paths"] > 0) == used]
        lines = LineCollection(
            [(at[source], at[target]) for source, target, _ in chosen],
            colors=colour,
            linewidths=[0.4 + 4.0 * data["joint"] / heaviest for *_, data in chosen],
            capstyle="projecting",
            zorder=above,
        )
        axes.add_collection(lines)
    on_path = {node for s, t, data in edges if data["paths"] for node in (s, t)} or set(graph)
    probability = np.array([data["probability"] for _, data in graph.nodes(data=True)])
    places = np.array([at[node] for node in graph])
    axes.scatter(
        places[:, 0],
        places[:, 1],
        s=(16 + 100 * np.minimum(probability, 0.1)) ** 2,
        facecolors="white",
        edgecolors=[VERMILLION if node in on_path else GREY for node in graph],
        linewidths=1.0,
        zorder=3,
    )
    for node, data in graph.nodes(data=True):
        axes.text(
            *at[node],
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
