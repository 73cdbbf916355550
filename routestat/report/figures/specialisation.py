"""What the token and the domain share with the choice of experts, over the depth."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.report.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    SMALL,
    TEXT,
    VERMILLION,
    Drawing,
    least,
    new_axes,
    new_figure,
    reach,
    sparse_ticks,
)
from routestat.study.specialisation import LayerFinding, SpecialisationFindings

LIGHT_BLUE = "#9CC9E3"


def specialisation(found: SpecialisationFindings, states: str) -> Drawing:
    """Bits of the token class, the token id beyond it and the domain beyond that; below, the domain by itself."""
    layers = found.layers
    if not layers:
        return f"There is no picture of specialisation: {found.reason}."
    if not any(np.isfinite(_values(layers, name)).any() for name in ("token", "domain")):
        return "There is no picture of specialisation: too few documents for any estimate."
    unit = "bits per token" if states == "subset" else "bits, one expert of a token"
    both = bool(found.values) + bool(found.domains)
    across = min(10.2, max(4.5, 0.33 * len(layers)))
    figure = new_figure(across + 1.0, 2.9 * both + 0.05)
    place = np.arange(len(layers))
    names = [str(item.router.layer) for item in layers]
    lower = 2.9 if both == 2 else 0.0
    if found.values:
        axes = new_axes(figure, 0.75, lower + 0.5, across, 2.05)
        _stack(axes, place, layers, found)
        _finish(axes, names, unit, "token and domain")
    if found.domains:
        axes = new_axes(figure, 0.75, 0.6, across, 2.0)
        _domain(axes, place, layers, found)
        _finish(axes, names, unit, "domain")
    return figure


def _stack(
    axes: Axes, place: NDArray[np.int64], layers: Sequence[LayerFinding], found: SpecialisationFindings
) -> None:
    token = np.nan_to_num(_values(layers, "token"))
    bottom = np.zeros(len(layers))
    parts = [("token id", BLUE, token)]
    if found.classes:
        # A class is a function of the id and cannot have more; estimates can, by their noise.
        of_class = np.minimum(np.nan_to_num(_values(layers, "class")), token)
        parts = [
            ("class of the token", BLUE, of_class),
            ("token id beyond its class", LIGHT_BLUE, token - of_class),
        ]
    if found.domains:
        parts.append(("domain beyond the token id", ORANGE, np.nan_to_num(_values(layers, "domain_given"))))
    for label, colour, bits in parts:
        height = np.maximum(bits, 0.0)
        axes.bar(place, height, bottom=bottom, color=colour, label=label)
        bottom += height
    axes.set_ylim(0, None)


def _domain(
    axes: Axes, place: NDArray[np.int64], layers: Sequence[LayerFinding], found: SpecialisationFindings
) -> None:
    lines = [("domain alone", GREY, "domain", "domain_shuffled", -0.12)]
    if found.values:
        lines.append(("domain at one token id", VERMILLION, "domain_given", "domain_given_shuffled", 0.12))
    lowest = 0.0
    for label, colour, name, floor, aside in lines:
        value, low, high = (_values(layers, name, limit) for limit in ("value", "low", "high"))
        axes.errorbar(
            place + aside,
            value,
            reach(value, low, high),
            fmt="o",
            color=colour,
            capsize=2,
            markersize=3.5,
            label=label,
        )
        exchanged = np.array([getattr(item.found, floor) for item in layers], np.float64)
        crosses = "domains exchanged" if name == "domain" else None
        axes.plot(place + aside, exchanged, "x", color=colour, markersize=4, label=crosses)
        lowest = min(lowest, least(low), least(exchanged))
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_ylim(lowest, None)
    axes.grid(axis="y", color=PALE, linewidth=0.5)


def _finish(axes: Axes, names: Sequence[str], unit: str, title: str) -> None:
    axes.set(xlim=(-0.7, len(names) - 0.3), xlabel="layer", ylabel=unit)
    axes.set_title(title, fontsize=TEXT, loc="left")
    axes.legend(
        ncols=4, loc="lower right", bbox_to_anchor=(1, 0.99), frameon=False, fontsize=SMALL, borderpad=0,
        columnspacing=1.0, handletextpad=0.4,
    )  # fmt: skip
    sparse_ticks(axes, "x", names, 40)


def _values(layers: Sequence[LayerFinding], name: str, limit: str = "value") -> NDArray[np.float64]:
    """Return one estimate of every layer, or a limit of it; NaN where there is none."""
    found: list[Estimate | None] = []
    for item in layers:
        of = item.found
        token, words = of.by_token, of.by_class
        found.append(
            {
                "domain": of.domain,
                "token": token.lexical if token else None,
                "domain_given": token.domain_given if token else None,
                "class": words.lexical if words else None,
            }[name]
        )
    return np.array([np.nan if one is None else getattr(one, limit) for one in found], np.float64)
