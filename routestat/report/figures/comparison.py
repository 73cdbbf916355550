"""Pictures of a comparison: each function takes findings and returns a figure, or the sentence why there is none."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import SymLogNorm

from routestat.report.figures.style import (
    BLUE,
    DIVERGING,
    GREY,
    ORANGE,
    PALE,
    SMALL,
    TEXT,
    VERMILLION,
    Drawing,
    colour_map,
    name_states,
    new_axes,
    new_figure,
    reach,
    sparse_ticks,
)
from routestat.report.names import of_layer
from routestat.study.comparison import LayerComparison, TraceComparison, TransitionComparison


def divergence(findings: TraceComparison) -> Drawing:
    """Jensen-Shannon divergence of every layer and, of every transition, what the source does not explain."""
    layers = [item for item in findings.layers if item.distribution is not None]
    if not layers:
        return "No layer has the same experts in both traces, so no distributions can be compared."
    gaps = [item for item in findings.transitions if item.difference is not None]
    across = min(10.2, max(4.5, 0.33 * max(len(layers), len(gaps))))
    figure = new_figure(across + 1.0, 6.0 if gaps else 3.3)
    loads = [item.distribution for item in layers if item.distribution is not None]
    names = [item.a.name if _doubled(layers, item) else str(item.a.layer) for item in layers]
    top = new_axes(figure, 0.75, 3.5 if gaps else 0.7, across, 2.2)
    _points(top, [(loads, BLUE, "load of the layer")], names, "layer")
    top.set_title("divergence of A and B, 95 % intervals over documents", fontsize=TEXT)
    if gaps:
        pairs = [item.difference for item in gaps if item.difference is not None]
        series = [
            ([pair.joint for pair in pairs], GREY, "joint distribution of source and target"),
            ([pair.conditional for pair in pairs], ORANGE, "target given the source"),
        ]
        below = new_axes(figure, 0.75, 0.75, across, 2.2)
        _points(
            below, series, [f"{item.source.layer}→{item.target.layer}" for item in gaps], "source → target"
        )
    return figure


def _doubled(layers: Sequence[LayerComparison], item: LayerComparison) -> bool:
    return sum(other.a.layer == item.a.layer for other in layers) > 1


def _points(axes, series, names: Sequence[str], label: str) -> None:  # type: ignore[no-untyped-def]
    place, lowest = np.arange(len(names)), 0.0
    for shift, (distributions, colour, text) in zip(
        (-0.12, 0.12) if len(series) > 1 else (0.0,), series, strict=True
    ):
        bits = np.array(
            [
                distribution.jsd_bits if distribution.reason is None else distribution.jsd_bits_plugin
                for distribution in distributions
            ]
        )
        low, high = (
            np.array([getattr(distribution, name) for distribution in distributions])
            for name in ("jsd_bits_low", "jsd_bits_high")
        )
        bars = reach(bits, low, high)
        axes.errorbar(place + shift, bits, bars, fmt="o", color=colour, capsize=2, markersize=4, label=text)
        lowest = min(lowest, float(np.nan_to_num(bits - bars[0]).min()))
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(lowest, None), xlabel=label, ylabel="divergence, bits")
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    axes.legend(frameon=False, fontsize=SMALL, loc="best")
    sparse_ticks(axes, "x", names, 40, rotation=90 if len(names) > 12 else 0)


def loads(findings: TraceComparison) -> Drawing:
    """Share of every state in A minus that in B, layer by layer; states that differ have a dot."""
    layers = [item for item in findings.layers if item.distribution is not None and item.cells is not None]
    if not layers:
        return "No layer has the same experts in both traces, so no loads can be compared."
    shares = [item.share_difference for item in layers if item.share_difference is not None]
    tallest = max(map(len, shares))
    values = np.full((tallest, len(layers)), np.nan)
    for column, share in enumerate(shares):
        values[: len(share), column] = share
    across, tall = min(9.6, max(2.8, 0.3 * len(layers))), min(6.5, max(1.8, 0.2 * tallest))
    figure = new_figure(across + 2.0, tall + 1.0)
    axes = new_axes(figure, 0.75, 0.6, across, tall)
    _map_of(figure, axes, new_axes(figure, 0.85 + across, 0.6, 0.12, tall), values)
    for column, item in enumerate(layers):
        if item.cells is not None:
            rows = item.cells.cell[item.cells.moved]
            axes.plot(np.full(rows.size, column), rows, ".", color="black", markersize=2.5)
    what = "state" if findings.states == "subset" else "expert"
    axes.set(xlabel="layer", ylabel=what)
    axes.set_title(f"share of the {what} in A minus in B (dot: differs, q ≤ 0.05)", fontsize=TEXT)
    sparse_ticks(axes, "x", [str(item.a.layer) for item in layers], 32)
    sparse_ticks(axes, "y", [str(state) for state in range(tallest)], 17)
    return figure


def transition(item: TransitionComparison, states: str) -> Drawing:
    """Joint distribution of A minus that of B for one transition; cells that differ are marked by a dot."""
    if item.difference is None or item.cells is None:
        return "The two routers have different numbers of experts in A and B."
    joint = item.difference.joint
    values = joint.share_a - joint.share_b
    if not np.isfinite(values).any():
        return "One of the two traces has no token with a choice at both layers."
    figure = new_figure(6.6, 5.9)
    axes = new_axes(figure, 0.75, 0.75, 4.7, 4.7)
    _map_of(figure, axes, new_axes(figure, 5.55, 0.75, 0.12, 4.7), values)
    row, column = np.unravel_index(item.cells.cell[item.cells.moved], values.shape)
    axes.plot(column, row, ".", color="black", markersize=2.5)
    axes.set_title("P(i, j) in A minus in B (dot: differs, q ≤ 0.05)", fontsize=TEXT)
    name_states(axes, "x", f"j: {of_layer(item.target, states)}", item.target, states)
    name_states(axes, "y", f"i: {of_layer(item.source, states)}", item.source, states)
    return figure


def flips(findings: TraceComparison) -> Drawing:
    """Share of tokens whose subset differs between the traces, by layer."""
    known = [item for item in findings.layers if item.flips is not None]
    if not known:
        return "The traces do not hold the same tokens in the same order, so choices cannot be compared token by token."
    rates = [item.flips for item in known if item.flips is not None]
    value, low, high = (np.array([getattr(r, name) for r in rates]) for name in ("value", "low", "high"))
    across = min(10.2, max(4.5, 0.33 * len(known)))
    figure = new_figure(across + 1.0, 2.9)
    axes = new_axes(figure, 0.75, 0.65, across, 1.9)
    axes.errorbar(
        np.arange(len(known)),
        value,
        reach(value, low, high),
        fmt="o",
        color=VERMILLION,
        capsize=2,
        markersize=4,
    )
    axes.set(xlim=(-0.6, len(known) - 0.4), ylim=(0, None), xlabel="layer", ylabel="share of tokens")
    axes.set_title("tokens whose experts differ, 95 % intervals over documents", fontsize=TEXT)
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    sparse_ticks(axes, "x", [str(item.a.layer) for item in known], 40)
    return figure


def _map_of(figure, axes, key, values) -> None:  # type: ignore[no-untyped-def]
    """Draw a map of differences on a scale that is linear near zero and logarithmic beyond."""
    limit = max(float(np.nan_to_num(np.abs(values)).max()), 1e-9)
    norm = SymLogNorm(limit / 10, vmin=-limit, vmax=limit, base=10)
    image = axes.imshow(values, cmap=colour_map(DIVERGING), norm=norm, aspect="auto")
    bar = figure.colorbar(image, cax=key)
    bar.minorticks_off()
    ticks = [-limit, -limit / 10, 0.0, limit / 10, limit]
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    key.tick_params(labelsize=SMALL, length=2, pad=2)
