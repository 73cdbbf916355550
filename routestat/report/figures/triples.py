"""Information between three consecutive layers over the depth."""

from collections.abc import Sequence

import numpy as np

from routestat.report.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    SMALL,
    VERMILLION,
    Drawing,
    least,
    new_axes,
    new_figure,
    reach,
    sparse_ticks,
)
from routestat.study.triples import TripleFinding


def triples(found: Sequence[TripleFinding], states: str) -> Drawing:
    """Draw what the first and last of three layers share, without and given the middle one, and their difference."""
    if states == "expert":
        return "In the expert view the information between three layers is not estimated, so there is no picture."
    known = [item for item in found if np.isfinite(item.information.given_middle.value)]
    if not known:
        return "There are no three consecutive layers whose information could be computed."
    across = min(10.2, max(4.5, 0.33 * len(known)))
    figure = new_figure(across + 1.0, 3.9)
    axes = new_axes(figure, 0.75, 0.95, across, 2.5)
    place = np.arange(len(known))
    for name, label, colour, mark in (
        ("given_middle", "first and last, given the middle one", BLUE, "o"),
        ("first_last", "first and last", ORANGE, "s"),
        ("interaction", "interaction information", VERMILLION, "D"),
    ):
        value, low, high = (
            np.array([getattr(getattr(item.information, name), part) for item in known])
            for part in ("value", "low", "high")
        )
        axes.errorbar(
            place,
            value,
            reach(value, low, high),
            fmt=mark,
            color=colour,
            capsize=2,
            markersize=4,
            label=label,
        )
        axes.set_ylim(min(axes.get_ylim()[0], 1.1 * min(0.0, least(low))), None)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlim=(-0.6, len(known) - 0.4), xlabel="first, middle and last layer", ylabel="bits per token")
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=SMALL, borderpad=0)
    names = ["·".join(str(router.layer) for router in item.routers) for item in known]
    sparse_ticks(axes, "x", names, 40, rotation=90 if len(known) > 6 else 0)
    return figure
