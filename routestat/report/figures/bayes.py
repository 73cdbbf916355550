"""Figures of the full posterior: whether the chains mix, and how strong the priors are over the depth.

Each function takes one result and returns a matplotlib Figure, drawn from plain arrays.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from routestat.inference.bayes.results import FullBayes
from routestat.report.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    SMALL,
    TEXT,
    VERMILLION,
    Drawing,
    new_axes,
    new_figure,
    sparse_ticks,
)
from routestat.study.posterior_draws import draw_ranks, energy_changes, strength_quantiles, typical_strength

# Okabe & Ito's; further chains begin again.
_CHAINS = (BLUE, ORANGE, "#009E73", VERMILLION, "#CC79A7", "#56B4E9")
_POINTS = 1000
_BINS = 20


def trace(result: FullBayes) -> Drawing:
    """Draws of mu and sigma of every order, chain by chain, beside their densities."""
    names = ("mu", "sigma")
    rows = [(order, name) for order in result.orders for name in names]
    figure = new_figure(10.2, 0.75 + 1.05 * len(rows))
    for place, (order, name) in enumerate(rows):
        bottom = 0.5 + 1.05 * (len(rows) - 1 - place)
        density, walk = new_axes(figure, 0.9, bottom, 2.6, 0.8), new_axes(figure, 3.9, bottom, 6.1, 0.8)
        draws = getattr(order, name)
        step = -(-draws.shape[1] // _POINTS)
        bins = np.histogram_bin_edges(draws, bins=30)
        for chain, values in enumerate(draws):
            colour = _CHAINS[chain % len(_CHAINS)]
            density.hist(values, bins=bins.tolist(), histtype="step", color=colour, linewidth=1, density=True)
            walk.plot(np.arange(len(values))[::step], values[::step], color=colour, linewidth=0.5)
        density.set(yticks=[])
        density.set_ylabel(f"order {order.order}\n{name}", fontsize=SMALL)
        walk.set_xlim(0, draws.shape[1])
        if place < len(rows) - 1:
            walk.set_xticklabels([])
        else:
            walk.set_xlabel("draw", fontsize=TEXT)
    figure.axes[0].set_title("posterior, one line per chain", fontsize=TEXT)
    figure.axes[1].set_title("draws in their order", fontsize=TEXT)
    return figure


def forest(result: FullBayes) -> Drawing:
    """Strengths over the depth: median, 50 % and 95 % credible intervals, and a cross at the closed form."""
    most = max(len(order.paths) for order in result.orders)
    tall = max(1.6, 0.19 * most)
    figure = new_figure(10.6, tall + 1.35)
    for panel, order in enumerate(result.orders):
        axes = new_axes(figure, 0.95 + 3.3 * panel, 0.6, 2.2, tall)
        low, lower, middle, upper, high = strength_quantiles(order)
        place = np.arange(len(order.paths))
        axes.hlines(place, low, high, color=BLUE, linewidth=1, label="95 %")
        axes.hlines(place, lower, upper, color=BLUE, linewidth=3, label="50 %")
        axes.plot(middle, place, "o", color=BLUE, mfc="white", markersize=4, label="median")
        closed = np.exp(order.log_strength_closed_form)
        axes.plot(closed, place, "x", color=VERMILLION, markersize=5, label="empirical Bayes")
        axes.axvline(typical_strength(order), color=GREY, linewidth=0.8, linestyle="--", label="exp(mu)")
        axes.set(xscale="log", ylim=(len(place) - 0.4, -0.6))
        axes.set_xlabel("strength, tokens", fontsize=TEXT)
        axes.set_title(f"order {order.order}", fontsize=TEXT)
        sparse_ticks(axes, "y", ["→".join(map(str, path)) for path in order.paths], 32)
        axes.grid(axis="x", color=PALE, linewidth=0.5)
        _few_log_ticks(axes, low, high, closed)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), loc="upper center", frameon=False, fontsize=SMALL)
    return figure


def energy(result: FullBayes) -> Drawing:
    """Energies and their changes from draw to draw, which should be about as wide."""
    figure = new_figure(10.4, 2.9)
    for panel, order in enumerate(result.orders):
        axes = new_axes(figure, 0.4 + 3.4 * panel, 0.6, 3.0, 1.7)
        centred, change = energy_changes(order.energy)
        bins = np.histogram_bin_edges(np.concatenate([centred.ravel(), change.ravel()]), bins=40)
        axes.hist(centred.ravel(), bins=bins.tolist(), density=True, color=BLUE, alpha=0.6, label="energy")
        axes.hist(
            change.ravel(),
            bins=bins.tolist(),
            density=True,
            histtype="step",
            color=VERMILLION,
            linewidth=1.5,
            label="change",
        )
        worst = f"{order.diagnosis.bfmi.min():.2f}"
        axes.set_title(f"order {order.order}, smallest E-BFMI {worst}", fontsize=TEXT)
        axes.set(yticks=[])
        axes.set_xlabel("energy about its mean, nats", fontsize=TEXT)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=2, loc="upper center", frameon=False, fontsize=SMALL)
    return figure


def ranks(result: FullBayes) -> Drawing:
    """Ranks of every chain's draws among all: flat where chains agree. Mu, and the worst of the strengths."""
    figure = new_figure(10.4, 4.6)
    for panel, order in enumerate(result.orders):
        left = 0.45 + 3.35 * panel
        worst = int(np.argmax(order.diagnosis.rhat["log_strength"]))
        title = f"order {order.order}, strength of {'→'.join(map(str, order.paths[worst]))}"
        _ranks(new_axes(figure, left, 2.75, 2.95, 1.4), order.mu, f"order {order.order}, mu")
        _ranks(new_axes(figure, left, 0.6, 2.95, 1.4), order.log_strength[..., worst], title)
    for axes in figure.axes[1::2]:
        axes.set_xlabel("rank among all draws", fontsize=TEXT)
    figure.axes[0].set_ylabel("draws per chain", fontsize=TEXT)
    return figure


def _ranks(axes: Axes, draws: NDArray[np.float64], title: str) -> None:
    place = draw_ranks(draws)
    edges = np.linspace(0.5, draws.size + 0.5, _BINS + 1)
    for chain, row in enumerate(place):
        counts, _ = np.histogram(row, edges)
        axes.stairs(counts, edges, baseline=None, color=_CHAINS[chain % len(_CHAINS)], linewidth=1)
    axes.axhline(draws.shape[1] / _BINS, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(ylim=(0, None), xlim=(0, draws.size + 1))
    axes.set_title(title, fontsize=TEXT)


def _few_log_ticks(axes: Axes, *values: NDArray[np.float64]) -> None:
    """Plain numbers, one or two per decade."""
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    low, high = float(known.min()), float(known.max())
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 3) if len(decades) < 5 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [tick for tick in ticks if low / 1.5 <= tick <= high * 1.5] or [low, high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def all_pictures(result: FullBayes) -> dict[str, Figure | str]:
    """By the names that the page knows them by."""
    return {
        "bayes-trace": trace(result),
        "bayes-forest": forest(result),
        "bayes-energy": energy(result),
        "bayes-ranks": ranks(result),
    }
