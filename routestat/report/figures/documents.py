"""One document, token by token: the choice of every layer, the surprising ones marked, and bits per token."""

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from routestat.report.figures.style import (
    BLUE,
    SMALL,
    TEXT,
    UNDEFINED,
    Drawing,
    colour_map,
    new_axes,
    new_figure,
    sparse_ticks,
)
from routestat.study.document_view import MOST_DRAWN, DocumentView

#: Tokens in a row of a picture, and rows in a picture.
ACROSS, DOWN = 80, 2
_CELL, _TALL = 0.125, 0.1
_LONGEST = 12


def pages(view: DocumentView) -> dict[str, Callable[[], Drawing]]:
    """Return what draws each picture of a document, by its name."""
    n = -(-min(len(view), MOST_DRAWN) // (ACROSS * DOWN))
    return {f"document-{view.document}-{page}": partial(document, view, page) for page in range(max(n, 1))}


def document(view: DocumentView, page: int) -> Drawing:
    """Draw one page of a document: layers are rows, tokens columns."""
    start = page * ACROSS * DOWN
    rows = [
        slice(first, min(first + ACROSS, len(view)))
        for first in range(start, min(start + ACROSS * DOWN, len(view)), ACROSS)
    ]
    if not rows:
        return f"Document {view.document}: no token of it is counted."
    has_bits = bool(np.isfinite(view.surprise_bits).any())
    labels = view.texts or tuple("" if token < 0 else str(token) for token in view.token.tolist())
    label = 0.3 + 0.065 * min(max(map(len, labels[start:]), default=0), _LONGEST)
    tall = max(0.8, min(5.0, _TALL * len(view.routers)))
    each = tall + (0.65 if has_bits else 0.0) + label + 0.25
    across = max(row.stop - row.start for row in rows) * _CELL
    figure = new_figure(max(across, 3.0) + 1.9, each * len(rows) + 0.35)
    high = figure.get_size_inches()[1]
    for number, row in enumerate(rows):
        bottom = high - 0.3 - (number + 1) * each + label + 0.25
        width = (row.stop - row.start) * _CELL
        axes = new_axes(figure, 0.6, bottom, width, tall)
        _choices(axes, view, row)
        _token_labels(axes, labels[row], view.position[row])
        sparse_ticks(axes, "y", [str(router.layer) for router in view.routers], 12)
        axes.set_ylabel("layer")
        if has_bits:
            _bits(new_axes(figure, 0.6, bottom + tall + 0.06, width, 0.5), view, row, number == 0)
    _key(figure, view, max(across, 3.0) + 0.8, high - 0.6 - 1.5)
    return figure


def _colours(n: int) -> NDArray[np.float64]:
    names = colormaps["tab10" if n <= 10 else "tab20"]
    return np.array([to_rgb(names(place)) for place in range(n)])


def _choices(axes: Axes, view: DocumentView, row: slice) -> None:
    if view.is_coloured:
        # A cell is divided among the experts of its choice, from left to right by id.
        slots = np.lcm.reduce([router.top_k for router in view.routers])
        image = np.empty((len(view.routers), (row.stop - row.start) * slots, 3))
        colours = np.vstack([_colours(max(r.n_experts for r in view.routers)), to_rgb(UNDEFINED)])
        for place, router in enumerate(view.routers):
            image[place] = colours[
                np.repeat(view.experts[router.name][row], slots // router.top_k, axis=1).ravel()
            ]
        axes.imshow(image, aspect="auto", interpolation="nearest", extent=_extent(view, row))
    else:
        axes.imshow(
            _kept(view)[:, row],
            cmap=colour_map("Blues"),
            vmin=0,
            vmax=1,
            aspect="auto",
            extent=_extent(view, row),
        )
    places = np.argwhere(view.marked[row])
    axes.plot(
        places[:, 0],
        places[:, 1],
        "o",
        color="black",
        markeredgecolor="white",
        markersize=3,
        markeredgewidth=0.5,
    )
    axes.set_xlim(-0.5, row.stop - row.start - 0.5)
    axes.set_ylim(len(view.routers) - 0.5, -0.5)


def _extent(view: DocumentView, row: slice) -> tuple[float, float, float, float]:
    return (-0.5, row.stop - row.start - 0.5, len(view.routers) - 0.5, -0.5)


def _kept(view: DocumentView) -> NDArray[np.float64]:
    """Share of a choice's experts that the token before had at the same layer ``[layer, token]``; NaN if unknown."""
    found = np.full((len(view.routers), len(view)), np.nan)
    for place, router in enumerate(view.routers):
        experts = view.experts[router.name]
        now, before = experts[1:], experts[:-1]
        same = (now[:, :, None] == before[:, None, :]).any(axis=2).mean(axis=1)
        known = (now[:, 0] >= 0) & (before[:, 0] >= 0) & (np.diff(view.position) == 1)
        found[place, 1:] = np.where(known, same, np.nan)
    return found


def _token_labels(axes: Axes, labels: tuple[str, ...], position: NDArray[np.int32]) -> None:
    shown = [_printable(text) for text in labels]
    if not any(shown):
        sparse_ticks(axes, "x", [str(place) for place in position.tolist()], 20)
        axes.set_xlabel("position")
        return
    axes.set_xticks(range(len(shown)), shown, rotation=90, fontsize=7)


def _printable(text: str) -> str:
    """Return a text as one that matplotlib draws as it is: no formulas, no unprintable characters, not too long."""
    plain = "".join(one if one.isprintable() else "·" for one in text.replace(" ", "_"))
    return (plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…").replace("$", r"\$")


def _bits(axes: Axes, view: DocumentView, row: slice, titled: bool) -> None:
    # Sums over the layers whose probability is known.
    bits = np.nansum(view.surprise_bits[row], axis=1)
    axes.bar(np.arange(len(bits)), bits, color=BLUE, width=0.8)
    axes.set(xlim=(-0.5, len(bits) - 0.5), ylim=(0, None), xticks=[])
    axes.locator_params(axis="y", nbins=2)
    axes.set_ylabel("bits")
    if titled:
        axes.set_title("bits per token, all layers together", fontsize=TEXT, loc="left")


def _key(figure: Figure, view: DocumentView, left: float, bottom: float) -> None:
    axes = new_axes(figure, left, bottom, 0.12, 1.5)
    if not view.is_coloured:
        figure.colorbar(ScalarMappable(Normalize(0, 1), colour_map("Blues")), cax=axes)
        axes.tick_params(labelsize=SMALL, length=2, pad=2)
        axes.set_title("shared with the\ntoken before", fontsize=SMALL, loc="left")
        return
    colours = _colours(max(router.n_experts for router in view.routers))
    axes.imshow(colours[:, None, :], aspect="auto")
    axes.set(xticks=[])
    axes.yaxis.tick_right()
    sparse_ticks(axes, "y", [str(place) for place in range(len(colours))], 10)
    axes.set_title("expert", fontsize=SMALL, loc="left")
