"""The picture of the chain as a graph, read back from matplotlib's artists."""

import numpy as np
import pytest

from routestat.report.figures import routes as route_figure
from routestat.report.figures import style as canvas


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
