"""Windows of layers that are more frequent than the chain explains."""

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from routestat.report.figures.style import (
    BLUE,
    GREY,
    PALE,
    SMALL,
    VERMILLION,
    Drawing,
    new_axes,
    new_figure,
    sparse_ticks,
)
from routestat.report.names import state_names
from routestat.study.windows import WindowFindings

#: Windows in the picture.
MOST_DRAWN = 16
_ROW = 0.24


def windows(found: WindowFindings) -> Drawing:
    """Draw the windows with most tokens beyond expectation over the layers, beside their tokens and those expected."""
    drawn = found.shown[:MOST_DRAWN]
    if not len(drawn):
        return "There is no window to draw."
    counts = found.counts
    names = [state_names(router, found.states) for router in found.routers]
    n, width, left = len(drawn), max(3.0, 0.3 * len(found.routers)), 0.5
    figure = new_figure(left + 2.35 + width + 0.1, n * _ROW + 1.0)
    tokens, expected = counts.tokens[drawn].astype(float), np.maximum(counts.expected[drawn], 0.5)
    beside = new_axes(figure, left, 0.6, 2.1, n * _ROW)
    rows = np.arange(n)
    beside.hlines(rows, expected, tokens, color=PALE, linewidth=2)
    beside.plot(expected, rows, "o", color=GREY, markerfacecolor="white", markersize=4, label="expected")
    beside.plot(tokens, rows, "o", color=VERMILLION, markersize=4, label="tokens")
    beside.set_xscale("log")
    decades = tokens.max() > 20.0 * expected.min()
    beside.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades else (1.0, 2.0, 5.0)))
    beside.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    beside.xaxis.set_minor_formatter(NullFormatter())
    beside.set(ylim=(n - 0.4, -0.6), xlabel="tokens (logarithmic)")
    beside.set_yticks(range(n), [str(row + 1) for row in range(n)])
    beside.spines[["right", "top"]].set_visible(False)
    beside.legend(
        fontsize=SMALL, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2, borderpad=0
    )

    axes = new_axes(figure, left + 2.3, 0.6, width, n * _ROW)
    for row, at in enumerate(drawn):
        start, length = int(counts.start[at]), int(counts.length[at])
        corner = start - 0.48, row - 0.4
        axes.add_patch(
            Rectangle(corner, length - 0.04, 0.8, facecolor="#E6F0F6", edgecolor=BLUE, linewidth=0.6)
        )
        for place in range(length):
            name = names[start + place][int(counts.choices[at, place])]
            axes.text(start + place, row, name, fontsize=SMALL, ha="center", va="center")
    axes.set(xlim=(-0.6, len(found.routers) - 0.4), ylim=(n - 0.4, -0.6), xlabel="layer", yticks=[])
    sparse_ticks(axes, "x", [str(router.layer) for router in found.routers], 32)
    axes.spines[["right", "top", "left"]].set_visible(False)
    return figure
