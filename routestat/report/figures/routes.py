"""The transitions over all layers as an alluvial picture."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch
from numpy.typing import NDArray

from routestat.report.figures.style import (
    BLUE,
    ORANGE,
    PALE,
    SMALL,
    UNDEFINED,
    VERMILLION,
    Drawing,
    new_axes,
    new_figure,
)
from routestat.report.names import COMMA
from routestat.structure.route_graph import RouteGraph

#: States shown of a layer, beside those of the coloured paths.
SHOWN = 8
#: Transitions of one row of the picture.
PER_ROW = 16
#: Least share of the tokens of a band.
LEAST = 0.001
COLOURS = (VERMILLION, BLUE, ORANGE)
# Of the bars of the communities with the most states: Okabe and Ito's colours, diluted with white.
TINTS = ("#CDE8F8", "#FBF5A8", "#F0D3E4", "#BFE6D6")
_NAMES = ("most probable path", "second", "third")
# Inches: of a row with the whole height of its bars, and of a step between layers.
_MOST_HIGH, _STEP, _BAR, _LINE = 6.0, 0.67, 0.34, 0.13
_BENDS = 24


@dataclass(frozen=True)
class Column:
    """The bars of one layer: the states shown, from the top, and the share at which each begins and ends."""

    states: NDArray[np.int64]
    tops: NDArray[np.float64]
    ends: NDArray[np.float64]

    @property
    def place(self) -> dict[int, int]:
        """The place of each state."""
        return {state: place for place, state in enumerate(self.states.tolist())}


def routes(found: RouteGraph) -> Drawing:
    """Draw the most frequent states of every layer as stacked bars, joined by bands for the backbone's transitions."""
    shown = [_shown(found, place) for place in range(len(found.layers))]
    if not any(len(states) for states in shown):
        return "No layer has tokens whose paths could be drawn."
    columns = [
        _column(found.layers[place].shares, states) for place, states in enumerate(_ordered(found, shown))
    ]
    starts = range(0, max(len(columns) - 1, 1), PER_ROW)
    deepest = max(float(column.ends[-1]) if len(column.states) else 0.0 for column in columns)
    thinnest = min(float((c.ends - c.tops).min()) for c in columns if len(c.states))
    # Inches per share: the thinnest bar holds its label, unless that made the row too high.
    scale = float(np.clip(_LINE / max(thinnest, 1e-9), 2.0 / deepest, _MOST_HIGH / deepest))
    high = scale * deepest + 0.4
    steps = min(len(columns) - 1, PER_ROW)
    key = 0.3 if steps > 8 else 0.8
    figure = new_figure(steps * _STEP + (1.0 if steps > 8 else 2.4), len(starts) * (high + 0.55) + key + 0.15)
    for row, start in enumerate(starts):
        bottom = (len(starts) - 1 - row) * (high + 0.55) + 0.45
        axes = new_axes(figure, 0.3, bottom, steps * _STEP + 0.7, high)
        _draw_row(axes, found, columns, range(start, min(start + PER_ROW + 1, len(columns))), scale)
        axes.set(xlim=(-0.35 / _STEP, steps + 0.35 / _STEP), ylim=(high / scale, 0.0), yticks=[])
        axes.spines[["left", "right", "top", "bottom"]].set_visible(False)
    axes.set_xlabel("layer")
    if len(columns) > 1:
        lines = list(zip(COLOURS, _NAMES, strict=True))[: len(found.paths)]
        tints = [(tint, f"community {number}") for number, tint in enumerate(TINTS[: found.communities.n])]
        figure.legend(
            handles=[
                Patch(facecolor=colour, edgecolor="black", linewidth=0.4, label=name)
                for colour, name in lines + tints
            ],
            loc="upper left",
            ncols=len(lines) + len(tints) if steps > 8 else 2,
            fontsize=SMALL,
            frameon=False,
        )
    return figure


def _shown(found: RouteGraph, place: int) -> NDArray[np.int64]:
    """Return the states of a layer that are shown: on the coloured paths, and the most frequent."""
    tokens = found.layers[place].tokens
    frequent = np.argsort(-tokens, kind="stable")[:SHOWN]
    states = np.union1d(found.paths[: len(COLOURS), place], frequent[tokens[frequent] > 0])
    return states[tokens[states] > 0]


def _ordered(found: RouteGraph, shown: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Order the states of each layer by the mean place of their neighbours, which undoes most crossings.

    The barycentre rule of Sugiyama, Tagawa & Toda 1981, with the joint shares as weights; coloured paths weigh most.
    """
    order = [
        states[np.argsort(-found.layers[p].tokens[states], kind="stable")] for p, states in enumerate(shown)
    ]
    weights = []
    for place, one in enumerate(found.transitions):
        weight = np.where(found.backbone.kept[place], one.joint, 0.0)
        steps = found.paths[: len(COLOURS), place : place + 2]
        weight[steps[:, 0], steps[:, 1]] += 0.5
        weights.append(weight)
    last = len(order) - 1
    for sweep in range(8):
        ahead = sweep % 2 == 0
        for place in range(1, last + 1) if ahead else range(last - 1, -1, -1):
            near = place - 1 if ahead else place + 1
            weight = weights[place - 1].T if ahead else weights[place]
            among = weight[np.ix_(order[place], order[near])]
            height = np.linspace(0.0, 1.0, len(order[near]))
            total = among.sum(axis=1)
            own = np.linspace(0.0, 1.0, len(order[place]))
            wish = np.divide(among @ height, total, out=own, where=total > 0)
            order[place] = order[place][np.argsort(wish, kind="stable")]
    return order


def _column(shares: NDArray[np.float64], states: NDArray[np.int64]) -> Column:
    ends = np.cumsum(shares[states])
    return Column(states, ends - shares[states], ends)


def _draw_row(axes: Axes, found: RouteGraph, columns: list[Column], places: range, scale: float) -> None:
    """Draw the layers of one row: bands first, then bars and labels."""
    half = _BAR / _STEP / 2
    for x, (left, right) in enumerate(pairwise(places)):
        bands = _bands(found, columns[left], columns[right], left)
        # Coloured bands lie above the others; a band of several paths has the colour of the most probable.
        for colour in (None, *reversed(COLOURS)):
            shapes = [_shape(x + half, x + 1 - half, *sides) for sides, own in bands if own == colour]
            plain = colour is None
            axes.add_collection(
                PolyCollection(
                    shapes,
                    facecolors=colour or PALE,
                    edgecolors="none",
                    alpha=0.55 if plain else 0.85,
                    zorder=1 if plain else 2,
                    gid="bands",
                )
            )
    bars, tints, others = [], [], []
    for x, place in enumerate(places):
        column, layer = columns[place], found.layers[place]
        members = found.communities.labels[place][column.states].tolist()
        tints += [TINTS[one] if 0 <= one < len(TINTS) else "white" for one in members]
        for state, top, end in zip(column.states, column.tops, column.ends, strict=True):
            bars.append(_rectangle(x - half, x + half, top, end))
            label = layer.labels[state].replace(",", COMMA)
            axes.text(x, (top + end) / 2, label, fontsize=SMALL, ha="center", va="center", zorder=4)
        depth = float(column.ends[-1]) if len(column.states) else 0.0
        if depth < 1.0 - 1e-9:
            others.append(_rectangle(x - half, x + half, depth, 1.0))
            rest = f"other\n{1.0 - depth:.0%}".replace("%", "\u2009%")
            axes.text(
                x, depth + 0.04 / scale, rest, fontsize=SMALL, ha="center", va="top", linespacing=0.95, zorder=4
            )  # fmt: skip
    # Collections: an artist for every bar would take most of the time of drawing.
    axes.add_collection(PolyCollection(others, facecolors=UNDEFINED, zorder=3, gid="other"))
    axes.add_collection(
        PolyCollection(bars, facecolors=tints, edgecolors="black", linewidths=0.6, zorder=3, gid="bars")
    )
    axes.set_xticks(range(len(places)), [str(found.layers[place].layer) for place in places])
    axes.tick_params(axis="x", length=0, pad=1)


def _bands(
    found: RouteGraph, left: Column, right: Column, place: int
) -> list[tuple[tuple[float, float, float], str | None]]:
    """Return the bands of a transition: where each leaves and arrives, its width, and its colour if it has one."""
    joint = found.transitions[place].joint
    colours: dict[tuple[int, int], str] = {}
    for path, colour in zip(found.paths.tolist(), COLOURS, strict=False):
        colours.setdefault((path[place], path[place + 1]), colour)
    kept = found.backbone.kept[place] & (joint >= LEAST)
    drawn = [
        (source, target)
        for source in left.states.tolist()
        for target in right.states.tolist()
        if joint[source, target] > 0 and (kept[source, target] or (source, target) in colours)
    ]
    from_, to = left.place, right.place
    leave = _stacked([(from_[s], to[t], joint[s, t]) for s, t in drawn], left.tops)
    arrive = _stacked([(to[t], from_[s], joint[s, t]) for s, t in drawn], right.tops)
    return [
        ((leave[from_[s], to[t]], arrive[to[t], from_[s]], float(joint[s, t])), colours.get((s, t)))
        for s, t in drawn
    ]


def _stacked(bands: list[tuple[int, int, float]], tops: NDArray[np.float64]) -> dict[tuple[int, int], float]:
    """Return where each band (own bar, bar at the other side, width) begins at its own bar."""
    begin = tops.tolist()
    found = {}
    for own, other, width in sorted(bands):
        found[own, other] = begin[own]
        begin[own] += float(width)
    return found


def _rectangle(left: float, right: float, top: float, end: float) -> NDArray[np.float64]:
    return np.array([[left, top], [right, top], [right, end], [left, end]])


def _shape(x0: float, x1: float, y0: float, y1: float, width: float) -> NDArray[np.float64]:
    """Return the outline of a band ``[point, x or y]`` that leaves and arrives level."""
    t = np.linspace(0.0, 1.0, _BENDS)
    across, down = x0 + (x1 - x0) * t, y0 + (y1 - y0) * t * t * (3.0 - 2.0 * t)
    upper, lower = np.column_stack([across, down]), np.column_stack([across, down + width])
    return np.vstack([upper, lower[::-1]])
