"""Experts over the depth: use by layer, modules that all layers share, and experts that compute nothing."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from routestat.report.figures.style import (
    BLUE,
    DIVERGING,
    GREY,
    PALE,
    SEQUENTIAL,
    SMALL,
    TEXT,
    Drawing,
    colour_key,
    colour_map,
    new_axes,
    new_figure,
    reach,
    sparse_ticks,
)
from routestat.structure.module_pairs import ModulePairs
from routestat.study.identity_experts import IdentityFindings
from routestat.study.layers import LayerLoad
from routestat.study.modules import SharedModules

_MOST_NAMED = 17


def expert_use(loads: Sequence[LayerLoad]) -> Drawing:
    """Load of each expert over the mean load of its layer: by id, and the busiest of each layer first."""
    known = [item for item in loads if item.balance.n_tokens]
    if not known:
        return "No tokens were counted, so there is no use of experts to show."
    by_id, by_rank = (_matrix(known, ranked) for ranked in (False, True))
    limit = max(1.25, float(np.nanmax(by_id)), min(10.0, 1 / float(np.nanmin(by_id[by_id > 0]))))
    across, tall = _size(by_id)
    figure = new_figure(2 * across + 2.6, tall + 1.0)
    norm = LogNorm(1 / limit, limit)
    names = [str(item.router.layer) for item in known]
    for place, (values, label, title) in enumerate(
        ((by_id, "expert", "experts by id"), (by_rank, "rank in the layer", "the busiest first"))
    ):
        axes = new_axes(figure, 0.65 + place * (across + 0.75), 0.6, across, tall)
        image = axes.imshow(
            np.where(values > 0, values, np.nan), cmap=colour_map(DIVERGING), norm=norm, aspect="auto"
        )
        dead = np.argwhere(values == 0)
        axes.plot(dead[:, 1], dead[:, 0], "x", color="black", markersize=4)
        axes.set(xlabel="layer", ylabel=label)
        axes.set_title(title, fontsize=TEXT)
        _tick(axes, names, [str(row) for row in range(len(values))])
    colour_key(figure, image, new_axes(figure, 2 * across + 1.5, 0.6, 0.12, tall))
    return figure


def _matrix(loads: Sequence[LayerLoad], ranked: bool) -> NDArray[np.float64]:
    """Relative loads ``[expert or rank, layer]``, NaN beyond the experts of a layer."""
    width = max(item.router.n_experts for item in loads)
    found = np.full((width, len(loads)), np.nan)
    for column, item in enumerate(loads):
        values = item.relative
        found[: len(values), column] = np.sort(values)[::-1] if ranked else values
    return found


def _size(values: NDArray[np.float64]) -> tuple[float, float]:
    return min(4.6, max(1.8, 0.16 * values.shape[1])), min(5.5, max(1.8, 0.2 * values.shape[0]))


def _tick(axes: Axes, layers: Sequence[str], rows: Sequence[str]) -> None:
    sparse_ticks(axes, "x", layers, 16)
    sparse_ticks(axes, "y", rows, _MOST_NAMED)


def deployment(shared: SharedModules, loads: Sequence[LayerLoad]) -> Drawing:
    """Share of tokens that use each module at each layer, modules by their mean layer, and that with its interval."""
    known = [item for item in loads if item.balance.n_tokens]
    found = shared.deployment
    order = [module for module in found.order if found.uses[module]]
    if not known or not order:
        return "No tokens were counted, so there is no order of modules to show."
    values = np.array([[item.balance.load[module] for item in known] for module in order])
    across, tall = _size(values)
    figure = new_figure(across + 4.6, tall + 1.0)
    axes, key, means = (
        new_axes(figure, left, 0.6, width, tall)
        for left, width in ((0.65, across), (across + 0.75, 0.12), (across + 1.6, 2.8))
    )
    image = axes.imshow(values, cmap=colour_map(SEQUENTIAL), vmin=0, aspect="auto")
    colour_key(figure, image, key)
    axes.set(xlabel="layer", ylabel="module")
    axes.set_title("share of tokens that use it", fontsize=TEXT)
    _tick(axes, [str(item.router.layer) for item in known], [str(module) for module in order])
    mean, low, high = (
        np.array([getattr(found.mean_layer[module], name) for module in order])
        for name in ("value", "low", "high")
    )
    place = np.arange(len(order))
    means.axvline(found.centre, color=GREY, linewidth=0.8)
    means.errorbar(mean, place, xerr=reach(mean, low, high), fmt="o", color=BLUE, capsize=2, markersize=4)
    means.set(ylim=(len(order) - 0.5, -0.5), xlabel="mean layer of its uses")
    means.set_title("95 % intervals over documents; grey: all uses", fontsize=TEXT)
    means.grid(axis="x", color=PALE, linewidth=0.5)
    sparse_ticks(means, "y", [str(module) for module in order], _MOST_NAMED)
    return figure


def module_pairs(shared: SharedModules) -> Drawing:
    """Lift of one module after another, and of modules that are chosen together; diagonals are left out."""
    order = [module for module in shared.deployment.order if shared.deployment.uses[module]]
    panels = [
        (_lifts(found, order, symmetric), title, labels)
        for found, title, symmetric, labels in (
            (
                shared.successions,
                "different modules at two successive layers",
                False,
                ("then module", "first module"),
            ),
            (shared.joint, "modules chosen together", True, ("module", "module")),
        )
        if np.isfinite(found.lift).any() and not (symmetric and found.reason)
    ]
    if not panels:
        return "There is no pair of modules to show."
    across = min(4.2, max(1.8, 0.2 * len(order)))
    figure = new_figure(len(panels) * (across + 1.5) + 0.2, across + 1.0)
    for place, (values, title, (below, beside)) in enumerate(panels):
        left = 0.65 + place * (across + 1.5)
        image = _lift_panel(figure, left, across, values)
        axes = image.axes
        axes.set(xlabel=below, ylabel=beside)
        axes.set_title(title, fontsize=TEXT)
        names = [str(module) for module in order]
        _tick(axes, names, names)
    return figure


def _lift_panel(figure: Figure, left: float, across: float, values: NDArray[np.float64]) -> AxesImage:
    used = values[np.isfinite(values) & (values > 0)]
    limit = min(10.0, max(1.25, float(used.max(initial=1)), 1 / float(used.min(initial=1))))
    axes, key = (
        new_axes(figure, left, 0.6, across, across),
        new_axes(figure, left + across + 0.1, 0.6, 0.12, across),
    )
    shown = np.clip(values, 1 / limit, limit)
    image = axes.imshow(shown, cmap=colour_map(DIVERGING), norm=LogNorm(1 / limit, limit), aspect="auto")
    colour_key(figure, image, key)
    return image


def _lifts(found: ModulePairs, order: Sequence[int], symmetric: bool) -> NDArray[np.float64]:
    """Lifts ``[module, module]`` in the order of the picture; NaN on the diagonal."""
    size = max(order) + 1
    size = max(size, int(found.first.max(initial=0)) + 1, int(found.second.max(initial=0)) + 1)
    values = np.full((size, size), np.nan)
    values[found.first, found.second] = found.lift
    if symmetric:
        values[found.second, found.first] = found.lift
    return values[np.ix_(order, order)]


def identity(found: IdentityFindings) -> Drawing:
    """Share of the choices that are experts which compute nothing, by layer, and at even loads."""
    known = [use for use in found.layers if np.isfinite(use.share.value)]
    if not known:
        return "No layer with identity experts has tokens."
    across = min(9.0, max(2.8, 0.3 * len(known)))
    figure = new_figure(across + 1.0, 2.9)
    axes = new_axes(figure, 0.75, 0.6, across, 1.9)
    place = np.arange(len(known))
    share, low, high = (
        np.array([getattr(use.share, name) for use in known]) for name in ("value", "low", "high")
    )
    axes.errorbar(
        place,
        share,
        reach(share, low, high),
        fmt="o-",
        color=BLUE,
        capsize=2,
        markersize=4,
        label="identity experts",
    )
    axes.plot(place, [use.share_of_experts for use in known], "--", color=GREY, label="at even loads")
    axes.set(ylim=(0, None), xlabel="layer", ylabel="share of choices")
    axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=SMALL, borderpad=0)
    sparse_ticks(axes, "x", [str(use.router.layer) for use in known], 32)
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    return figure
