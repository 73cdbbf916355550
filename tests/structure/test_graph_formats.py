"""GraphML, GEXF and JSON are read back by networkx, whatever the text, and the same graph gives the same bytes."""

import io
import json

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.errors import RoutestatError
from routestat.structure.graph_formats import gexf, graphml, node_link_json

HOSTILE = '<script>alert(1)</script> & "quotes" \']]>'


def sample(label=HOSTILE):
    graph = nx.DiGraph(kind=label, n_paths=3)
    graph.add_node("L00:0", layer=0, label=label, probability=0.25)
    graph.add_node("L01:3", layer=1, label="3,4", probability=1e-300, community=2)
    graph.add_edge("L00:0", "L01:3", weight=12, lift=1.5, backbone=True, note=label)
    graph.add_node("L02:0", layer=2, label="x", probability=1.0)
    graph.add_edge("L01:3", "L02:0", weight=0, backbone=False)
    return graph


def contents(graph):
    return dict(graph.nodes(data=True)), {(a, b): data for a, b, data in graph.edges(data=True)}


def from_gexf(text):
    return nx.read_gexf(io.BytesIO(text.encode()))


@pytest.mark.parametrize("graph", [sample(), nx.DiGraph(), nx.DiGraph(kind="no nodes")])
def test_graphml_is_read_back(graph):
    again = nx.parse_graphml(graphml(graph))
    assert again.is_directed()
    assert contents(again) == contents(graph)
    assert {name: again.graph[name] for name in graph.graph} == graph.graph
    for (_, _, a), (_, _, b) in zip(again.edges(data=True), graph.edges(data=True), strict=True):
        assert {name: type(value) for name, value in a.items()} == {
            name: type(value) for name, value in b.items()
        }


@pytest.mark.parametrize("graph", [sample(), nx.DiGraph()])
def test_gexf_is_read_back(graph):
    again = from_gexf(gexf(graph))
    nodes, edges = contents(again)
    for data in edges.values():
        del data["id"]
    assert (nodes, edges) == contents(graph)
    assert again.is_directed()


@pytest.mark.parametrize("graph", [sample(), nx.DiGraph(kind="no nodes")])
def test_json_is_read_back(graph):
    data = json.loads(node_link_json(graph))
    again = nx.node_link_graph(data, edges="edges")
    assert contents(again) == contents(graph)
    assert again.graph == graph.graph
    assert set(data) == {"directed", "multigraph", "graph", "nodes", "edges"}


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_no_text_breaks_a_file(label):
    graph = sample(label)
    assert nx.node_link_graph(json.loads(node_link_json(graph)), edges="edges").graph["kind"] == label
    # XML has no control characters, and reads line ends of its own.
    for again in (nx.parse_graphml(graphml(graph)), from_gexf(gexf(graph))):
        assert again.number_of_edges() == 2
        assert again.nodes["L01:3"]["label"] == "3,4"


@pytest.mark.parametrize("write", [graphml, gexf, node_link_json])
def test_the_same_graph_gives_the_same_text(write):
    assert write(sample()) == write(sample())
    assert "script>alert" not in write(sample()) or write is node_link_json


@pytest.mark.parametrize("write", [graphml, gexf])
def test_attributes_of_other_or_changing_types_are_refused(write):
    graph = sample()
    graph.nodes["L00:0"]["states"] = [1, 2]
    with pytest.raises(RoutestatError, match="states"):
        write(graph)
    graph = sample()
    graph.edges["L01:3", "L02:0"]["lift"] = 1
    with pytest.raises(RoutestatError, match="lift"):
        write(graph)
