"""The picture of the predictors, read back from matplotlib's artists."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from routestat.forecast import catalogue
from routestat.report.families import COLOURS, OTHER
from routestat.report.figures import board as board_figure
from routestat.report.figures.study import PANELS
from tests.report.figures.artists import titled


def test_board_marks_baselines_and_leaves_out_what_is_undefined(reports):
    study = reports("experts").study
    figure = board_figure.board(study.mean_board, PANELS, catalogue.baselines())
    for name, title in PANELS:
        axes = titled(figure, title)
        dots = {
            int(y): (x, to_hex(line.get_markerfacecolor()))
            for line in axes.lines
            if line.get_marker() == "o"
            for x, y in zip(*line.get_data(), strict=True)
        }
        undefined = []
        for place, score in zip(range(len(study.mean_board))[::-1], study.mean_board, strict=True):
            value = score.estimate(name).value
            if np.isnan(value):
                assert place not in dots
                undefined.append(place)
            else:
                hollow = score.predictor in catalogue.baselines()
                colour, _ = COLOURS.get(catalogue.family(score.predictor), OTHER)
                assert dots[place] == (value, "#ffffff" if hollow else colour.lower())
        assert [text.get_position()[1] for text in axes.texts] == undefined


@pytest.mark.parametrize("name", ["states", "experts"])
def test_names_of_the_board_are_whole(reports, name):
    figure = board_figure.board(reports(name).study.mean_board, PANELS, catalogue.baselines())
    figure.canvas.draw()
    wide = figure.canvas.get_width_height()[0]
    labels = [text for axes in figure.axes for text in axes.get_yticklabels() if text.get_text()]
    assert len(labels) == len(reports(name).study.mean_board)
    for text in (*labels, *(axes.title for axes in figure.axes)):
        box = text.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= wide, text.get_text()
