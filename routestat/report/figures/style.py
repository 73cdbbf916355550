"""What all figures share: sizes in inches, colours, names of states, error bars.

Widths are chosen so that text is 8 points or more when a picture is shown at 96 pixels per inch.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from routestat.report.names import NAMED_STATES, state_names
from routestat.traces.metadata import Router

#: A figure, or the sentence that says why there is none.
Drawing = Figure | str

DPI = 130
# Okabe and Ito's palette can be distinguished with all common kinds of colour blindness.
BLUE, ORANGE, VERMILLION, GREY, PALE = "#0072B2", "#E69F00", "#D55E00", "#595959", "#BDBDBD"
SEQUENTIAL, DIVERGING, UNDEFINED = "viridis", "RdBu_r", "#D9D9D9"
TEXT, SMALL = 9.0, 8.0
_RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 20, 50, 100)
_RATIOS_NEAR_ONE = (0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.7, 2)


def save(figure: Figure, path: Path) -> tuple[int, int]:
    """Write a PNG; return the width and height in CSS pixels at which its text has its true size."""
    # The same figure gives the same bytes: no version or date goes in.
    figure.savefig(path, dpi=DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 4})
    width, height = figure.get_size_inches()
    return round(width * 96), round(height * 96)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def new_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes placed in inches, so that text and cells keep their size whatever the figure's."""
    wide, high = figure.get_size_inches()
    axes = figure.add_axes((left / wide, bottom / high, width / wide, height / high))
    axes.tick_params(labelsize=SMALL, length=2, pad=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(TEXT)
    return axes


def colour_map(name: str) -> Colormap:
    """Return a colour map with grey for undefined values."""
    return colormaps[name].with_extremes(bad=UNDEFINED)


def colour_key(figure: Figure, image: AxesImage, axes: Axes) -> None:
    """Draw a colour key with plain numbers, also on a logarithmic scale."""
    bar = figure.colorbar(image, cax=axes)
    if isinstance(image.norm, LogNorm):
        bar.minorticks_off()
        low, high = image.get_clim()
        ratios = _RATIOS if high and high > 2 else _RATIOS_NEAR_ONE
        ticks = [tick for tick in ratios if low is not None and high is not None and low <= tick <= high]
        bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.tick_params(labelsize=SMALL, length=2, pad=2)


def name_states(
    axes: Axes, axis: str, label: str, router: Router, states: str, order: NDArray[np.integer] | None = None
) -> None:
    """Name the rows or columns of a heatmap, every n-th if there are many, and label the axis.

    Plain texts: matplotlib's ticks, with their four artists each, would take half the time of a report.
    """
    names = state_names(router, states, order)
    step = -(-len(names) // NAMED_STATES)
    down = axis == "x"
    for place in range(0, len(names), step):
        axes.text(
            place if down else -0.01,
            -0.01 if down else place,
            names[place],
            transform=axes.get_xaxis_transform() if down else axes.get_yaxis_transform(),
            rotation=90 if down else 0,
            ha="center" if down else "right",
            va="top" if down else "center",
            fontsize=SMALL,
        )
    pad = 6 + 0.62 * SMALL * max(map(len, names))
    if down:
        axes.set_xticks([])
        axes.set_xlabel(label, labelpad=pad)
    else:
        axes.set_yticks([])
        axes.set_ylabel(label, labelpad=pad)


def sparse_ticks(axes: Axes, axis: str, names: Sequence[str], at_most: int, rotation: int = 0) -> None:
    """Every n-th name, so that no more than `at_most` are shown."""
    step = -(-len(names) // at_most)
    places = range(0, len(names), step)
    set_ticks = axes.set_xticks if axis == "x" else axes.set_yticks
    set_ticks(list(places), [names[place] for place in places], rotation=rotation)


def reach(
    value: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return error bars for matplotlib ``[side, point]``, of length 0 where there is no interval."""
    return np.nan_to_num(np.vstack([value - low, high - value]), nan=0.0)


def least(values: NDArray[np.float64]) -> float:
    """Return the smallest finite value, 0 if there is none."""
    return float(np.nanmin(values)) if np.isfinite(values).any() else 0.0
