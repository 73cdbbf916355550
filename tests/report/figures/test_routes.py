"""The alluvial picture, read back from matplotlib's artists: heights, widths, colours, labels."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from routestat.report.figures import routes as route_figure
from routestat.structure.route_graph import LayerStates, Transition, route_graph


def shapes_of(axes, name):
    """The outlines [point, x or y] of the collections of a name, each with its colour."""
    return [
        (to_hex(shapes.get_facecolor()[place % len(shapes.get_facecolor())]), path.vertices[:-1])
        for shapes in axes.collections
        if isinstance(shapes, PolyCollection) and shapes.get_gid() == name
        for place, path in enumerate(shapes.get_paths())
    ]


def bars_of(axes):
    """The bars (layer from left to right, top, height) of single states."""
    outlines = [points for _, points in shapes_of(axes, "bars")]
    return sorted((round(p[:, 0].mean()), p[:, 1].min(), np.ptp(p[:, 1])) for p in outlines)


def bands_of(axes):
    """Colour and width of every band, at its left and its right end."""
    found = []
    for colour, points in shapes_of(axes, "bands"):
        half = len(points) // 2
        found.append((colour, points[-1, 1] - points[0, 1], points[half, 1] - points[half - 1, 1]))
    return found


def planted(layers=3, states=12, tokens=4000, seed=0):
    """Each state leads to itself in the next layer for most tokens; state 0 is the most frequent."""
    rng = np.random.default_rng(seed)
    shares = np.linspace(3.0, 1.0, states)
    same = rng.multinomial(tokens, shares / shares.sum())
    tables = [np.diag(same) + 5 for _ in range(layers - 1)]
    counts = [table.sum(axis=1) for table in tables] + [tables[-1].sum(axis=0)]
    stacked = [
        LayerStates(f"L{place:02d}", place, one, [f"{state},9" for state in range(states)])
        for place, one in enumerate(counts)
    ]
    paths = np.array([[0] * layers, [1] * layers, [states - 1] * layers])
    return route_graph(stacked, [Transition(table, 1.0) for table in tables], paths, rng)


def test_heights_and_widths_are_the_shares():
    found = planted()
    (axes,) = route_figure.routes(found).axes
    shares = found.layers[0].shares
    shown = {*range(route_figure.SHOWN), 11}
    for x in range(3):
        bars = [(top, height) for place, top, height in bars_of(axes) if place == x]
        assert sorted(height for _, height in bars) == pytest.approx(sorted(shares[list(shown)]))
        # One on the other, from 0 down.
        tops = [0.0, *np.cumsum([height for _, height in bars])[:-1]]
        assert [top for top, _ in bars] == pytest.approx(tops)
    joint = found.transitions[0].joint
    bands = bands_of(axes)
    assert all(left == pytest.approx(right) for _, left, right in bands)
    widths = sorted(joint[state, state] for state in shown)
    assert sorted(left for _, left, _ in bands) == pytest.approx(sorted(widths * 2))
    for state, colour in zip((0, 1, 11), route_figure.COLOURS, strict=True):
        own = [left for one, left, _ in bands if one == colour.lower()]
        assert own == pytest.approx([joint[state, state]] * 2)
    other = [text.get_text() for text in axes.texts if text.get_text().startswith("other")]
    rest = 1 - shares[list(shown)].sum()
    assert other == [f"other\n{rest:.0%}".replace("%", "\u2009%")] * 3


def test_paths_run_straight_and_labels_are_the_states():
    (axes,) = route_figure.routes(planted()).axes
    labels = {}
    for text in axes.texts:
        if not text.get_text().startswith("other"):
            x, y = text.get_position()
            labels.setdefault(text.get_text().replace("\u2009", ""), []).append((x, y))
    assert set(labels) == {f"{state},9" for state in (*range(route_figure.SHOWN), 11)}
    assert all(len(places) == 3 for places in labels.values())
    assert len({y for _, y in labels["0,9"]}) == 1


@pytest.mark.parametrize("layers", [2, 17, 18, 40])
def test_many_layers_are_in_rows_that_share_a_layer(layers):
    found = planted(layers, states=5, tokens=500)
    figure = route_figure.routes(found)
    rows = [[text.get_text() for text in axes.get_xticklabels()] for axes in figure.axes]
    assert len(rows) == -(-(layers - 1) // route_figure.PER_ROW)
    for above, below in pairwise(rows):
        assert above[-1] == below[0]
    assert [label for place, row in enumerate(rows) for label in row[place > 0 :]] == list(
        map(str, range(layers))
    )
    figure.canvas.draw()
    # Bars are as high as their labels.
    axes = figure.axes[0]
    least = min(height for _, _, height in bars_of(axes)) * figure.bbox.height * axes.get_position().height
    assert least / abs(np.diff(axes.get_ylim())[0]) >= 8 * figure.dpi / 72


@pytest.mark.parametrize(
    "name", ["states", "experts", "one layer", "top 1", "layer without tokens", "constant layer"]
)
def test_pictures_of_studies(reports, name):
    study = reports(name).study
    drawn = route_figure.routes(study.graph)
    assert not isinstance(drawn, str)
    assert sum(len(bars_of(axes)) for axes in drawn.axes) > 0


def test_nothing_to_draw_is_a_sentence():
    empty = LayerStates("L00", 0, np.zeros(3, int), ["a", "b", "c"])
    found = route_graph([empty], [], np.zeros((0, 1), int), np.random.default_rng(0))
    assert route_figure.routes(found).endswith(".")
