"""Blocks of a transition: its three matrices in the order of the blocks, and what more blocks would save."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.ticker import MaxNLocator

from routestat.inference.base.tables import Integers, lift
from routestat.report.figures.style import (
    BLUE,
    DIVERGING,
    PALE,
    SEQUENTIAL,
    TEXT,
    VERMILLION,
    Drawing,
    colour_key,
    colour_map,
    name_states,
    new_axes,
    new_figure,
)
from routestat.report.names import of_layer
from routestat.study.blocks import BlockFinding, clearest_blocks

_ACROSS, _KEY, _GAP, _LEFT, _BELOW = 2.95, 0.12, 0.55, 0.8, 0.8


def matrices(finding: BlockFinding, states: str) -> Drawing:
    """Joint, conditional and lift of one transition with its states in the order of their blocks, and the borders."""
    found = finding.blocks
    if found.reason:
        return f"Layers {finding.source.layer} → {finding.target.layer}: no blocks, {found.reason}."
    rows = found.row_order[found.row_labels[found.row_order] >= 0]
    columns = found.column_order[found.column_labels[found.column_order] >= 0]
    table = finding.table[np.ix_(rows, columns)].astype(np.float64)
    ratio = lift(table)
    limit = max(2.0, float(np.quantile(ratio, 0.995)))
    panels: tuple[tuple[str, np.ndarray, Normalize, str], ...] = (
        ("joint P(i, j)", table / table.sum(), PowerNorm(0.5, vmin=0), SEQUENTIAL),
        (
            "conditional P(j | i)",
            table / table.sum(axis=1, keepdims=True),
            PowerNorm(0.5, vmin=0),
            SEQUENTIAL,
        ),
        (
            "lift P(i, j) / (P(i) P(j))",
            np.clip(ratio, 1 / limit, limit),
            LogNorm(1 / limit, limit),
            DIVERGING,
        ),
    )
    step = _ACROSS + 0.06 + _KEY + _GAP
    figure = new_figure(_LEFT + 3 * step, _ACROSS + _BELOW + 0.35)
    for place, (title, values, norm, colours) in enumerate(panels):
        left = _LEFT + place * step
        axes = new_axes(figure, left, _BELOW, _ACROSS, _ACROSS)
        key = new_axes(figure, left + _ACROSS + 0.06, _BELOW, _KEY, _ACROSS)
        image = axes.imshow(values, cmap=colour_map(colours), norm=norm, aspect="auto")
        colour_key(figure, image, key)
        axes.set_title(title, fontsize=TEXT)
        _borders(axes, found.row_labels[rows], found.column_labels[columns], colours)
        name_states(axes, "x", f"j: {of_layer(finding.target, states)}", finding.target, states, columns)
        if place:
            axes.set_yticks([])
        else:
            name_states(axes, "y", f"i: {of_layer(finding.source, states)}", finding.source, states, rows)
    return figure


def gains(found: Sequence[BlockFinding], states: str) -> Drawing:
    """Bits saved of left-out documents by the number of blocks, of every transition."""
    tested = [item for item in found if not item.found.number.reason]
    if not tested:
        reasons = dict.fromkeys(item.found.number.reason for item in found)
        return "No number of blocks could be tested" + "".join(f"; {why}" for why in reasons if why) + "."
    place = clearest_blocks(tested)
    figure = new_figure(6.4, 3.1)
    axes = new_axes(figure, 0.8, 0.6, 5.4, 2.2)
    for at, item in enumerate(tested):
        values = item.found.number.gains_bits
        sizes = _sizes(item)
        colour, above = (BLUE, 3) if at == place else (PALE, 2)
        axes.plot(sizes, values, color=colour, linewidth=1.2 if at == place else 0.8, zorder=above)
        chosen = item.found.number.size
        axes.plot(
            sizes[chosen],
            values[chosen],
            "o",
            color=VERMILLION if at == place else colour,
            markersize=4,
            zorder=above,
        )
    unit = "bits per token" if states == "subset" else "bits per pair of slots"
    axes.set(xlabel="blocks of sources and of targets together", ylabel=f"saved, {unit}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_title("what blocks save of left-out documents", fontsize=TEXT)
    return figure


def _sizes(item: BlockFinding) -> Integers:
    """Blocks of both sides together at every size that was tried."""
    tried = len(item.found.number.gains_bits)
    blocks = item.blocks
    # Spectral methods try one block and the most blocks only.
    step = blocks.n_row_blocks + blocks.n_column_blocks - 2 if tried == 2 and item.found.are_real else 1
    return 2 + step * np.arange(tried)


def _borders(axes: Axes, rows: Integers, columns: Integers, colours: str) -> None:
    colour = "black" if colours == DIVERGING else "white"
    for cut in np.flatnonzero(np.diff(rows)):
        axes.axhline(cut + 0.5, color=colour, linewidth=1.0)
    for cut in np.flatnonzero(np.diff(columns)):
        axes.axvline(cut + 0.5, color=colour, linewidth=1.0)
