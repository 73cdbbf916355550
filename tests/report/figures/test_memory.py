"""The pictures of the memory, read back from matplotlib's artists."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer

from routestat.report.figures import memory as memory_figures
from routestat.study.contexts import CONTEXTS
from routestat.study.memory import Memory


def errorbars(axes):
    return [box for box in axes.containers if isinstance(box, ErrorbarContainer)]


def ends_of(box):
    (bars,) = [artist for artist in box.lines[2] if isinstance(artist, LineCollection)]
    return [(segment[0][1], segment[1][1]) for segment in bars.get_segments()]


@pytest.mark.parametrize("name", ["order 1", "experts"])
def test_context_lines_stand_at_their_values(planted, name):
    memory = planted(name)
    losses, gains = memory_figures.contexts(memory).axes
    drawn = {box.get_label(): box for box in errorbars(losses)}
    there = {context for item in memory.layers for context in item.scores.bits}
    assert list(drawn) == [CONTEXTS[context].words for context in CONTEXTS if context in there]
    for context in there:
        known = [(at, item) for at, item in enumerate(memory.layers) if context in item.scores.bits]
        line = drawn[CONTEXTS[context].words].lines[0]
        found = [item.log_loss(context) for _, item in known]
        np.testing.assert_array_equal(line.get_xdata(), [at for at, _ in known])
        np.testing.assert_allclose(line.get_ydata(), [loss.value for loss in found])
        np.testing.assert_allclose(ends_of(drawn[CONTEXTS[context].words]), [(x.low, x.high) for x in found])
        assert losses.get_ylim()[0] == 0
        assert losses.get_ylim()[1] > max(loss.high for loss in found)
    (box,) = errorbars(gains)
    second = [item.over_layers.gains[1] for item in memory.layers[2:]]
    np.testing.assert_allclose(box.lines[0].get_ydata(), [gain.value for gain in second])
    np.testing.assert_allclose(ends_of(box), [(gain.low, gain.high) for gain in second], atol=1e-12)
    np.testing.assert_array_equal(box.lines[0].get_xdata(), np.arange(2, len(memory.layers)))


def test_lines_of_contexts_differ_in_colour_dash_or_mark(planted):
    axes = memory_figures.contexts(planted("order 1")).axes[0]
    looks = [
        (box.lines[0].get_color(), box.lines[0].get_linestyle(), box.lines[0].get_marker())
        for box in errorbars(axes)
    ]
    assert len(set(looks)) == len(looks) == 7
    # Even where one layer leaves no line to see, marks and colours distinguish them.
    assert len({(colour, mark) for colour, _, mark in looks}) == len(looks)


def test_one_layer_has_one_panel_and_its_points_in_sight(reports):
    figure = memory_figures.contexts(reports("one layer").study.memory)
    (axes,) = figure.axes
    for box in errorbars(axes):
        assert 0 < max(high for _, high in ends_of(box)) < axes.get_ylim()[1]


def test_horizons_stand_at_their_values(planted):
    found = planted("order 1").horizons
    (axes,) = memory_figures.horizons(planted("order 1")).axes
    (counted,) = errorbars(axes)
    direct, implied = found.mean_direct_bits, found.mean_chain_bits
    np.testing.assert_array_equal(counted.lines[0].get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(counted.lines[0].get_ydata(), direct.value)
    np.testing.assert_allclose(ends_of(counted), np.column_stack([direct.low, direct.high]))
    (dashed,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed.get_ydata(), implied.value)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "counted",
        "implied by the chain of order 1",
    ]


def test_where_nothing_can_be_drawn_a_sentence_says_why(reports, planted):
    alone = reports("one document").study.memory
    assert memory_figures.contexts(alone) == (
        "No context could be scored: that requires documents to fit on and others to hold out."
    )
    assert memory_figures.horizons(alone).startswith(
        "No horizons could be measured: 1 independent unit: no test or interval"
    )
    assert (
        memory_figures.horizons(reports("one layer").study.memory)
        == "No horizons: one layer: there is no gap."
    )
    assert memory_figures.horizons(planted("experts")).startswith(
        "No horizons: the expert view's chain has single experts"
    )
    assert memory_figures.contexts(Memory((), None, None)).startswith("No context could be scored")


def test_no_text_of_the_pictures_is_cut_or_under_8_points(planted, reports):
    drawn = [
        memory_figures.contexts(planted("experts")),
        memory_figures.contexts(reports("token ids").study.memory),
        memory_figures.horizons(planted("order 1")),
    ]
    for figure in drawn:
        figure.canvas.draw()
        wide, high = figure.canvas.get_width_height()
        for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize")):
            if text.get_text() and text.get_visible():
                box = text.get_window_extent()
                assert text.get_fontsize() >= 8
                assert -1 <= box.x0 < box.x1 <= wide + 1, text.get_text()
                assert -1 <= box.y0 < box.y1 <= high + 1, text.get_text()
