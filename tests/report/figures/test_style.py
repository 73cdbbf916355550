"""What all pictures share: readable text, a sentence where there is nothing to draw, and the same bytes."""

from matplotlib.figure import Figure

from routestat.forecast import catalogue
from routestat.report.figures import blocks as block_figures
from routestat.report.figures import board as board_figure
from routestat.report.figures import heatmaps
from routestat.report.figures import layers as layer_figures
from routestat.report.figures import memory as memory_figures
from routestat.report.figures import routes as route_figure
from routestat.report.figures import style as canvas
from routestat.report.figures.study import PANELS


def texts(figure):
    figure.canvas.draw()
    return [
        text for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize")) if text.get_text()
    ]


def everything(study):
    yield layer_figures.load(study.loads)
    yield layer_figures.information(study.pairs, study.loads, study.states)
    yield board_figure.board(study.mean_board, PANELS, catalogue.baselines())
    yield route_figure.routes(study.graph)
    yield memory_figures.contexts(study.memory)
    yield memory_figures.horizons(study.memory)
    for item, finding in zip(study.pairs, study.blocks, strict=True):
        yield heatmaps.joint_and_conditional(item, study.states)
        yield block_figures.matrices(finding, study.states)
    yield block_figures.gains(study.blocks, study.states)


def test_all_draw_or_say_why_and_no_text_is_under_8_points(any_report):
    for drawn in everything(any_report.study):
        if isinstance(drawn, str):
            assert drawn.endswith(".")
            assert len(drawn) > 30
        else:
            assert min(text.get_fontsize() for text in texts(drawn)) >= 8


def test_the_same_figure_gives_the_same_bytes(reports, tmp_path):
    study = reports("states").study
    for name in ("a.png", "b.png"):
        drawn = layer_figures.load(study.loads)
        assert isinstance(drawn, Figure)
        canvas.save(drawn, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
