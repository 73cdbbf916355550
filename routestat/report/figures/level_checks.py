"""The picture of the A/A check: p-values of tests where there is no effect, which should be spread evenly."""

from collections.abc import Sequence

import numpy as np

from routestat.inference.level_checks.level_check import LevelCheck
from routestat.report.figures.style import BLUE, GREY, PALE, TEXT, VERMILLION, Drawing, new_axes, new_figure


def p_histograms(checks: Sequence[LevelCheck]) -> Drawing:
    """Share of the clustered p-values in each of equal bins, one panel a family; the dashed line is an even spread.

    Bins below the level, which are rejections, are in another colour.
    """
    known = [check for check in checks if check.reason is None]
    if not known:
        return "No test could be checked, so there are no p-values to show."
    figure = new_figure(0.7 + 3.1 * len(known), 2.6)
    top = max(float((check.p_histogram / check.p_histogram.sum()).max()) for check in known)
    for place, check in enumerate(known):
        axes = new_axes(figure, 0.65 + 3.1 * place, 0.6, 2.75, 1.6)
        share = check.p_histogram / check.p_histogram.sum()
        edges = np.linspace(0.0, 1.0, len(share) + 1)
        colours = [VERMILLION if right <= check.level + 1e-9 else BLUE for right in edges[1:]]
        axes.bar(
            edges[:-1], share, np.diff(edges), align="edge", color=colours, edgecolor="white", linewidth=0.5
        )
        axes.axhline(1.0 / len(share), color=GREY, linestyle="--", linewidth=0.9)
        axes.set(xlim=(0, 1), ylim=(0, 1.1 * top), xlabel="clustered p-value")
        axes.set_title(f"{check.family}, {check.n_draws:,} draws", fontsize=TEXT)
        axes.grid(axis="y", color=PALE, linewidth=0.5)
        axes.set_axisbelow(True)
        if place:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("share")
    return figure
