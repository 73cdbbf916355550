"""The picture of the chain as a graph, read back from matplotlib's artists."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

from routestat.report.figures import routes as route_figure
from routestat.report.figures import style as canvas


@pytest.mark.parametrize("name", ["states", "experts", "one layer", "top 1"])
def test_routes_draw_every_edge_and_colour_the_dominant_ones(reports, name):
    study = reports(name).study
    graph, layers = study.graph, [router.layer for router in study.routers]
    figure = route_figure.routes(graph, layers, study.paths.dominant)
    lines = [one for one in figure.axes[0].collections if isinstance(one, LineCollection)]
    used = sum(data["paths"] > 0 for *_, data in graph.edges(data=True))
    drawn = {to_hex(colour): len(one.get_segments()) for one in lines for colour in one.get_colors()[:1]}
    expected = {canvas.VERMILLION.lower(): used, canvas.PALE.lower(): graph.number_of_edges() - used}
    assert {colour: drawn.get(colour, 0) for colour in expected} == expected
    words = {text.get_text().replace("\u2009", "") for text in figure.axes[0].texts}
    assert words == {data["label"] for _, data in graph.nodes(data=True)}


def test_thirty_two_layers_stay_readable(reports):
    """Neighbouring circles of one layer must not overlap at the size shown."""
    study = reports("states").study
    figure = route_figure.routes(study.graph, range(4), study.paths.dominant)
    figure.canvas.draw()
    axes = figure.axes[0]
    (circles,) = (one for one in axes.collections if isinstance(one, PathCollection))
    at = axes.transData.transform(np.asarray(circles.get_offsets()))
    size = np.sqrt(circles.get_sizes()) * figure.dpi / 72
    assert len(at) == study.graph.number_of_nodes()
    for one in range(len(at)):
        for other in range(one):
            assert np.hypot(*(at[one] - at[other])) >= (size[one] + size[other]) / 2
