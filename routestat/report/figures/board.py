"""Held-out scores of the predictors."""

from collections.abc import Sequence

import numpy as np

from routestat.forecast import catalogue
from routestat.forecast.scores import PredictionScore
from routestat.report.families import lines_of
from routestat.report.figures.style import PALE, TEXT, Drawing, new_axes, new_figure, reach


def board(
    scores: Sequence[PredictionScore], panels: Sequence[tuple[str, str]], trivial: Sequence[str]
) -> Drawing:
    """Small multiples of scores, a dot and an interval per predictor; `trivial` ones are hollow.

    `panels` are (score, title). Colours are those of the families on the page.
    """
    scored = [score for score in scores if score.n_tokens]
    if not scored:
        return "No predictor could be scored: that requires documents to fit on and others to hold out."
    figure = new_figure(11.0, 1.1 + 0.3 * len(scored))
    place = np.arange(len(scored))[::-1]
    lines = lines_of(
        {
            "predictor": score.predictor,
            "family": catalogue.family(score.predictor),
            "baseline": score.predictor in trivial,
        }
        for score in scored
    )
    colours = np.array([lines[score.predictor].colour for score in scored])
    is_trivial = np.array([score.predictor in trivial for score in scored])
    left = max(1.65, 0.2 + 0.062 * max(len(score.predictor) for score in scored))
    step = (11.05 - left) / len(panels)
    for index, (name, title) in enumerate(panels):
        axes = new_axes(figure, left + step * index, 0.5, step - 0.25, 0.3 * len(scored) + 0.1)
        found = [score.estimate(name) for score in scored]
        value, low, high = (
            np.array([getattr(one, limit) for one in found]) for limit in ("value", "low", "high")
        )
        known = np.isfinite(value)
        for y in place[~known]:
            axes.text(0.5, y, "–", transform=axes.get_yaxis_transform(), ha="center", va="center")
        for colour in dict.fromkeys(colours[known]):
            chosen = known & (colours == colour)
            bars = reach(value[chosen], low[chosen], high[chosen])
            face = "white" if is_trivial[chosen].all() else colour
            axes.errorbar(
                value[chosen],
                place[chosen],
                xerr=bars,
                fmt="o",
                color=colour,
                mfc=face,
                capsize=2.5,
                markersize=5,
            )
        axes.set_title(title, fontsize=TEXT)
        axes.set(ylim=(-0.6, len(scored) - 0.4), yticks=place, yticklabels=[])
        if name != "log_loss_bits":
            axes.set_xlim(left=0)
        axes.grid(axis="x", color=PALE, linewidth=0.5)
        axes.locator_params(axis="x", nbins=4)
        if index == 0:
            axes.set_yticklabels([score.predictor for score in scored])
    return figure
