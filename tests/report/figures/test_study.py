"""What the pictures show, read back from matplotlib's artists; and what they say when there is nothing to show."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from routestat.forecast import catalogue
from routestat.inference.information.scarcity import Scarcity
from routestat.report.figures import board as board_figure
from routestat.report.figures import heatmaps
from routestat.report.figures import layers as layer_figures
from routestat.report.figures import memory as memory_figures
from routestat.report.figures import routes as route_figure
from routestat.report.figures import style as canvas
from routestat.report.html.study import PANELS


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        yield


def titled(figure, words):
    return next(axes for axes in figure.axes if words in axes.get_title())


def texts(figure):
    figure.canvas.draw()
    return [
        text for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize")) if text.get_text()
    ]


def everything(study):
    layers = [router.layer for router in study.routers]
    yield layer_figures.load(study.loads)
    yield layer_figures.information(study.pairs, study.loads, study.states)
    yield board_figure.board(study.mean_board, PANELS, catalogue.baselines())
    yield route_figure.routes(study.paths.graph, layers, study.paths.dominant)
    yield memory_figures.contexts(study.memory)
    yield memory_figures.horizons(study.memory)
    for item, finding in zip(study.pairs, study.blocks, strict=True):
        yield heatmaps.joint_and_conditional(item, study.states)
        yield heatmaps.blocks(finding, item, study.states)


def test_all_draw_or_say_why_and_no_text_is_under_8_points(any_report):
    for drawn in everything(any_report.study):
        if isinstance(drawn, str):
            assert drawn.endswith(".")
            assert len(drawn) > 30
        else:
            assert min(text.get_fontsize() for text in texts(drawn)) >= 8


@pytest.mark.parametrize("name", ["states", "experts", "constant layer"])
def test_heatmaps_hold_joint_conditional_and_row_shares(reports, name):
    study = reports(name).study
    item = study.pairs[0]
    figure = heatmaps.joint_and_conditional(item, study.states)
    table, rows = item.table, item.table.sum(axis=1)
    joint = titled(figure, "joint").images[0].get_array()
    given = titled(figure, "conditional").images[0].get_array()
    np.testing.assert_allclose(joint, table / table.sum())
    used = rows > 0
    np.testing.assert_allclose(given[used], table[used] / rows[used, None])
    assert np.ma.getmaskarray(given)[~used].all()
    bars = titled(figure, "P(i)").patches
    np.testing.assert_allclose([bar.get_width() for bar in bars], rows / table.sum())
    tokens = rows if study.states == "subset" else rows / 4
    red = [to_hex(bar.get_facecolor()).upper() == canvas.VERMILLION for bar in bars]
    assert red == (tokens < canvas.FEW_TOKENS).tolist()


def test_heatmap_names_pairs_by_their_experts(reports):
    figure = heatmaps.joint_and_conditional(reports("states").study.pairs[0], "subset")
    names = [text.get_text().replace("\u2009", "") for text in titled(figure, "joint").texts]
    assert names[:3] == ["0,1", "0,2", "0,3"]
    assert len(names) == 28
    assert "pair of layer 1" in titled(figure, "joint").get_xlabel()


def test_expert_heatmap_is_labelled_expert(reports):
    figure = heatmaps.joint_and_conditional(reports("experts").study.pairs[0], "expert")
    assert titled(figure, "joint").get_xlabel() == "j: expert of layer 1"
    assert titled(figure, "P(i)").get_ylabel() == "i: expert of layer 0"


def test_no_tokens_no_heatmap(reports):
    item = reports("layer without tokens").study.pairs[0]
    assert (
        heatmaps.joint_and_conditional(item, "subset") == "No token has a choice at both layer 0 and layer 1."
    )


def test_dead_experts_are_crossed_out(reports):
    axes = titled(layer_figures.load(reports("dead experts").study.loads), "load over")
    (line,) = axes.lines
    assert sorted(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(1, 2), (1, 5)]


def test_load_is_centred_on_the_mean(reports):
    study = reports("states").study
    image = titled(layer_figures.load(study.loads), "load over").images[0]
    np.testing.assert_allclose(image.get_array()[:, 2], study.loads[2].balance.load / 0.25)
    low, high = image.get_clim()
    assert low * high == pytest.approx(1)


def test_information_dots_and_intervals(reports):
    study = reports("states").study
    scarce = Scarcity(), Scarcity("few", covered=False), Scarcity("few")
    found = [replace(item, scarce=one) for item, one in zip(study.pairs, scarce, strict=True)]
    figure = layer_figures.information(found, study.loads, "subset")
    axes = titled(figure, "mutual information")
    dots, hollow = (line for line in axes.lines if line.get_marker() == "o")
    bits = [item.information.mi_bits for item in found]
    np.testing.assert_allclose(dots.get_ydata(), bits)
    (bars,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    ends = [(segment[0][1], segment[1][1]) for segment in bars.get_segments()]
    drawn = [(i.information.low, i.information.high) for i in found]
    # Where too few tokens would let an interval miss the truth, the dot is hollow and has none.
    drawn[1] = (bits[1], bits[1])
    np.testing.assert_allclose(ends, drawn)
    np.testing.assert_allclose(hollow.get_ydata(), [bits[1]])
    assert axes.get_ylabel() == "bits per token"


def test_board_marks_baselines_and_leaves_out_what_is_undefined(reports):
    study = reports("experts").study
    figure = board_figure.board(study.mean_board, PANELS, catalogue.baselines())
    for name, title in PANELS:
        axes = titled(figure, title)
        dots = {
            int(line.get_ydata()[0]): (line.get_xdata()[0], to_hex(line.get_markerfacecolor()))
            for line in axes.lines
            if line.get_marker() == "o"
        }
        for place, score in zip(range(len(study.mean_board))[::-1], study.mean_board, strict=True):
            value = score.estimate(name).value
            if np.isnan(value):
                assert place not in dots
                assert [text.get_position()[1] for text in axes.texts] == [place]
            else:
                hollow = score.predictor in catalogue.baselines()
                assert dots[place] == (value, "#ffffff" if hollow else canvas.BLUE.lower())


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


def test_block_borders_and_reordering(reports):
    study = reports("states").study
    finding, item = study.blocks[0], study.pairs[0]
    axes = titled(heatmaps.blocks(finding, item, "subset"), "lift")
    assert len(axes.lines) == finding.blocks.n_row_blocks + finding.blocks.n_column_blocks - 2
    table = item.table
    lift = table * table.sum() / np.outer(table.sum(axis=1), table.sum(axis=0))
    image = axes.images[0]
    low, high = image.get_clim()
    assert low * high == pytest.approx(1)
    order = np.ix_(finding.blocks.row_order, finding.blocks.column_order)
    np.testing.assert_allclose(image.get_array(), np.clip(lift[order], low, high))


@pytest.mark.parametrize("name", ["states", "experts", "one layer", "top 1"])
def test_routes_draw_every_edge_and_colour_the_dominant_ones(reports, name):
    study = reports(name).study
    graph, layers = study.paths.graph, [router.layer for router in study.routers]
    figure = route_figure.routes(graph, layers, study.paths.dominant)
    lines = [line for line in figure.axes[0].lines if line.get_marker() == "None"]
    assert len(lines) == graph.number_of_edges()
    used = sum(data["paths"] > 0 for *_, data in graph.edges(data=True))
    assert sum(line.get_color() == canvas.VERMILLION for line in lines) == used
    words = {text.get_text().replace("\u2009", "") for text in figure.axes[0].texts}
    assert words == {data["label"] for _, data in graph.nodes(data=True)}


def test_thirty_two_layers_stay_readable(reports):
    """Neighbouring circles of one layer must not overlap at the size shown."""
    study = reports("states").study
    figure = route_figure.routes(study.paths.graph, range(4), study.paths.dominant)
    figure.canvas.draw()
    axes = figure.axes[0]
    circles = [line for line in axes.lines if line.get_marker() == "o"]
    at = np.array([axes.transData.transform(np.column_stack(line.get_data()))[0] for line in circles])
    size = np.array([line.get_markersize() * figure.dpi / 72 for line in circles])
    for one in range(len(at)):
        for other in range(one):
            assert np.hypot(*(at[one] - at[other])) >= (size[one] + size[other]) / 2


def test_the_same_figure_gives_the_same_bytes(reports, tmp_path):
    study = reports("states").study
    for name in ("a.png", "b.png"):
        drawn = layer_figures.load(study.loads)
        assert isinstance(drawn, Figure)
        canvas.save(drawn, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
