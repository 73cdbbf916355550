"""Pictures of placements: each function takes a plain record of results.json and returns a figure or a sentence."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from routestat.report.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    SMALL,
    TEXT,
    Drawing,
    new_axes,
    new_figure,
    sparse_ticks,
)
from routestat.report.records.plain import Record

# Points between the axes and the title, where the legend is.
_ABOVE = 20
_DEFAULT = "default order of engines"
_LOOKS = {"default": (GREY, "o"), "balance": (BLUE, "s"), "affinity": (ORANGE, "^")}


def device_loads(record: Record) -> Drawing:
    """Range of the devices' loads in every layer, of the default order and of each placement."""
    if not record["layers"]:
        return "No placement was made."
    first = _of(record["layers"], record["placements"][0]["objective"])
    names = _names([(row["layer"],) for row in first], [row["router"] for row in first])
    series = [("default", _DEFAULT, [row["device_loads_default"] for row in first])]
    for placed in record["placements"]:
        rows = _of(record["layers"], placed["objective"])
        loads = [row["device_loads_placed"] for row in rows]
        series.append((placed["objective"], f"placed for {placed['objective']}", loads))
    across = min(10.2, max(4.5, 0.36 * len(names)))
    figure = new_figure(across + 1.0, 3.7)
    axes = new_axes(figure, 0.75, 0.7, across, 2.3)
    for shift, (look, label, loads) in zip(_shifts(len(series)), series, strict=True):
        colour, mark = _LOOKS[look]
        place = np.arange(len(names)) + shift
        most = np.array([_most(one) for one in loads])
        least = np.array([_least(one) for one in loads])
        axes.vlines(place, least, most, color=colour, linewidth=1.4)
        axes.plot(place, most, mark, color=colour, markersize=4, label=label)
    axes.axhline(1, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(xlim=(-0.6, len(names) - 0.4), xlabel="layer", ylabel="load over the mean")
    axes.set_title(
        f"busiest device (mark) and least busy one (end of line), {_documents(record)}",
        fontsize=TEXT,
        pad=_ABOVE,
    )
    _finish(axes, names)
    return figure


def affinity(record: Record) -> Drawing:
    """Share of pairs of choices that stay on their device, by transition."""
    rows = record["transitions"]
    if not rows:
        return "There are no two consecutive layers, so there is no affinity to show."
    first = _of(rows, record["placements"][0]["objective"])
    names = [f"{row['source']}→{row['target']}" for row in first]
    panels = [kind for kind in ("device", "node") if f"{kind}_affinity_default" in first[0]]
    across = min(10.2, max(4.5, 0.36 * len(names)))
    figure = new_figure(across + 1.0, 3.2 * len(panels) + 0.2)
    for panel, kind in enumerate(panels):
        axes = new_axes(figure, 0.75, 0.75 + 3.2 * (len(panels) - 1 - panel), across, 2.0)
        _line(axes, [row[f"{kind}_affinity_default"] for row in first], "default", _DEFAULT)
        for placed in record["placements"]:
            objective = placed["objective"]
            values = [row[f"{kind}_affinity_placed"] for row in _of(rows, objective)]
            _line(axes, values, objective, f"placed for {objective}")
        parts = record["devices"][f"n_{kind}s"]
        axes.axhline(1 / parts, color=GREY, linewidth=0.8, linestyle="--")
        axes.set(
            xlim=(-0.6, len(names) - 0.4), ylim=(0, None), xlabel="source → target", ylabel="share of pairs"
        )
        axes.set_title(
            f"pairs of choices on one {kind}, held-out documents (dashed: 1 of {parts})",
            fontsize=TEXT,
            pad=_ABOVE,
        )
        _finish(axes, names)
    return figure


def _documents(record: Record) -> str:
    held_out = record["trace"]["n_documents_held_out"]
    return "held-out documents" if held_out else "the documents it was made from"


def _of(rows: Sequence[Record], objective: str) -> list[Record]:
    return [row for row in rows if row["objective"] == objective]


def _names(layers: Sequence[tuple[int]], routers: Sequence[str]) -> list[str]:
    """Numbers of layers, or names of routers where a layer has two."""
    twice = len(set(layers)) < len(layers)
    return list(routers) if twice else [str(layer) for (layer,) in layers]


def _shifts(n: int) -> list[float]:
    return [0.22 * (place - (n - 1) / 2) for place in range(n)]


def _most(loads: Sequence[float | None]) -> float:
    known = [load for load in loads if load is not None]
    return max(known) if known else float("nan")


def _least(loads: Sequence[float | None]) -> float:
    known = [load for load in loads if load is not None]
    return min(known) if known else float("nan")


def _line(axes: Axes, values: Sequence[float | None], look: str, label: str) -> None:
    colour, mark = _LOOKS[look]
    shown = np.array([np.nan if value is None else value for value in values])
    axes.plot(np.arange(len(shown)), shown, marker=mark, color=colour, markersize=4, linewidth=1, label=label)


def _finish(axes: Axes, names: Sequence[str]) -> None:
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    axes.legend(frameon=False, fontsize=SMALL, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    sparse_ticks(axes, "x", names, 40, rotation=90 if len(names) > 12 else 0)
