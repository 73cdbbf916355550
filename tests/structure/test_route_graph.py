"""The graph of transitions: by hand, what is kept, its attributes against the tables, bad input."""

import networkx as nx
import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.association.cell_tests import cell_tests
from routestat.structure.backbone import noise_corrected
from routestat.structure.route_graph import LayerStates, Transition, route_graph

NO_PATHS = np.zeros((0, 3), dtype=np.int64)


def layers_of(tables, numbers=None, names=None):
    tokens = [table.sum(axis=1) for table in tables] + [tables[-1].sum(axis=0)]
    return [
        LayerStates(
            names[place] if names else f"L{numbers[place] if numbers else place:02d}",
            numbers[place] if numbers else place,
            one,
            [f"s{state}" for state in range(len(one))],
        )
        for place, one in enumerate(tokens)
    ]


def graph_of(tables, paths=NO_PATHS, seed=0, effect=1.0, **options):
    tables = [np.asarray(table) for table in tables]
    layers = layers_of(tables, options.pop("numbers", None), options.pop("names", None))
    transitions = [Transition(table, effect) for table in tables]
    return route_graph(layers, transitions, np.asarray(paths), np.random.default_rng(seed), **options)


STRONG = [
    np.array([[300, 10, 10], [10, 200, 10], [10, 10, 150]]),
    np.array([[30, 280, 10], [190, 20, 10], [10, 10, 150]]),
]


def test_a_graph_by_hand():
    graph = graph_of(STRONG, [[0, 0, 1]], numbers=[3, 4, 9], top_edges=0).graph
    # The strong cells of either table, each as the target of one source.
    assert {edge for edge in graph.edges if graph.edges[edge]["backbone"]} == {
        ("L03:0", "L04:0"), ("L03:1", "L04:1"), ("L03:2", "L04:2"),
        ("L04:0", "L09:1"), ("L04:1", "L09:0"), ("L04:2", "L09:2"),
    }  # fmt: skip
    edge = graph.edges["L03:1", "L04:1"]
    assert edge["weight"] == 200
    assert edge["joint"] == pytest.approx(200 / 710, rel=1e-5)
    assert edge["probability"] == pytest.approx(200 / 220, rel=1e-5)
    assert edge["lift"] == pytest.approx(200 * 710 / 220 / 220, rel=1e-5)
    assert edge["lift_low"] < edge["lift"] < edge["lift_high"]
    assert edge["score"] == pytest.approx((edge["lift"] - 1) / (edge["lift"] + 1), rel=1e-4)
    assert (edge["paths"], graph.edges["L03:0", "L04:0"]["paths"]) == (0, 1)
    assert graph.nodes["L09:1"]["label"] == "s1"
    assert graph.nodes["L09:1"]["tokens"] == 310
    assert graph.nodes["L09:1"]["probability"] == pytest.approx(310 / 710, rel=1e-5)
    # Three communities: 0-0-1, 1-1-0 and 2-2-2.
    community = nx.get_node_attributes(graph, "community")
    for chain in (("L03:0", "L04:0", "L09:1"), ("L03:1", "L04:1", "L09:0"), ("L03:2", "L04:2", "L09:2")):
        assert len({community[node] for node in chain}) == 1
    assert len(set(community.values())) == 3


def test_attributes_are_those_of_the_tables_and_the_tests():
    rng = np.random.default_rng(1)
    tables = rng.poisson(6.0, (40, 5, 6)) * rng.choice([1, 3], (5, 6))
    total = tables.sum(axis=0)
    tests, scored = cell_tests(tables), noise_corrected(total, 2.0)
    graph = route_graph(
        layers_of([total]), [Transition(total, 2.0, tests)], np.zeros((0, 2), int), rng, top_edges=30
    ).graph
    assert graph.number_of_edges() == 30
    for source, target, data in graph.edges(data=True):
        i, j = graph.nodes[source]["state"], graph.nodes[target]["state"]
        assert data["weight"] == total[i, j]
        for name, expected in (
            ("z", tests.z), ("log10_q", tests.log10_q), ("score", scored.score),
            ("standard_error", scored.standard_error),
        ):  # fmt: skip
            assert data[name] == pytest.approx(expected[i, j], rel=1e-5)
        assert {type(value) for value in data.values()} <= {int, float, bool}


def test_every_dominant_path_is_a_path_of_the_graph():
    rng = np.random.default_rng(2)
    tables = [rng.integers(0, 5, (6, 6)) for _ in range(4)]
    paths = rng.integers(0, 6, (5, 5))
    graph = graph_of(tables, paths, top_edges=0).graph
    for path in paths.tolist():
        assert nx.is_path(graph, [f"L{layer:02d}:{state}" for layer, state in enumerate(path)])
    assert sum(data["paths"] for *_, data in graph.edges(data=True)) == 5 * 4
    # A path may use a cell without tokens.
    empty = [data for *_, data in graph.edges(data=True) if data["weight"] == 0]
    assert all(data["joint"] == data["probability"] == 0 for data in empty)


def test_the_most_frequent_and_the_strongest_are_kept():
    rng = np.random.default_rng(3)
    tables = [rng.integers(1, 100, (10, 10)) * rng.choice([1, 20], (10, 10), p=[0.8, 0.2]) for _ in range(2)]
    whole = graph_of(tables, top_edges=4)
    assert whole.n_backbone_in_graph == whole.backbone.n_kept > 20
    edges = {(a, b) for a, b, data in whole.graph.edges(data=True) if data["backbone"]}
    assert len(edges) == whole.backbone.n_kept
    less = graph_of(tables, top_edges=0, most_edges=24)
    assert less.n_backbone_in_graph == less.graph.number_of_edges() == 24
    assert set(less.graph.edges) <= edges
    assert less.backbone.n_kept == whole.backbone.n_kept
    # Each source's strongest edge comes before the second of any other: all ten sources with one are there.
    sources = {a for a, b in edges if a.startswith("L00")}
    assert {a for a, _ in less.graph.edges if a.startswith("L00")} == sources
    assert graph_of(tables, top_edges=0, most_edges=0).graph.number_of_edges() == 0


def test_design_effects_leave_fewer():
    rng = np.random.default_rng(4)
    table = rng.poisson(40 * rng.choice([1.0, 1.6], (12, 12), p=[0.85, 0.15]))
    assert (
        graph_of([table], NO_PATHS[:, :2], effect=8.0).backbone.n_kept
        < graph_of([table], NO_PATHS[:, :2]).backbone.n_kept
    )


def test_communities_are_compared_with_noise_and_other_documents():
    halves = tuple(table // 2 for table in STRONG)
    transitions = [
        Transition(table, 1.0, None, (half, half)) for table, half in zip(STRONG, halves, strict=True)
    ]
    real = route_graph(layers_of(STRONG), transitions, NO_PATHS, np.random.default_rng(0))
    assert real.communities_exceed_noise is True
    assert real.modularity_held_out == pytest.approx(real.communities.modularity, abs=0.02)
    assert (real.modularity_noise < 0.1).all()
    assert graph_of(STRONG).communities_exceed_noise is None
    layers, share = real.extent(0)
    assert [layer.layer for layer in layers] == [0, 1, 2]
    assert share == pytest.approx(np.mean([320, 320, 310]) / 710)


def test_one_layer_no_tokens_and_one_state():
    alone = route_graph(
        [LayerStates("L09", 9, np.array([2, 8]), ["a", "b"])], [], np.array([[1]]), np.random.default_rng(0)
    )
    assert list(alone.graph.nodes) == ["L09:1"]
    assert "community" not in alone.graph.nodes["L09:1"]
    assert alone.communities_exceed_noise is None
    assert "one layer" in alone.communities.reason
    nothing = graph_of([np.zeros((3, 3), int), np.zeros((3, 2), int)])
    assert nothing.graph.number_of_nodes() == 0
    single = graph_of([[[7]], [[7]]])
    assert single.graph.number_of_edges() == 2
    assert single.backbone.n_kept == 0
    # Disconnected: the middle layer has tokens to the left only.
    apart = graph_of([STRONG[0], np.zeros((3, 3), int)])
    assert "no route" in apart.centrality.reason
    assert not nx.get_node_attributes(apart.graph, "centrality")


def test_two_routers_of_one_layer():
    graph = graph_of(STRONG, numbers=[0, 0, 1], names=["L00a", "L00b", "L01"]).graph
    assert {data["router"] for _, data in graph.nodes(data=True)} == {"L00a", "L00b", "L01"}
    assert {data["layer"] for _, data in graph.nodes(data=True)} == {0, 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["L", "L", "M"]}, "different names"),
        ({"numbers": [0, 2, 1]}, "rising"),
        ({"top_edges": -1}, "top_edges"),
        ({"most_edges": -1}, "most_edges"),
        ({"paths": [[0, 1]]}, "paths"),
        ({"paths": [[0, 1, 7]]}, "paths"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(RoutestatError, match=message) as caught:
        graph_of(STRONG, **change)
    assert "\n" not in str(caught.value)


def test_layers_and_tables_that_do_not_fit():
    layers, transitions = layers_of(STRONG), [Transition(table, 1.0) for table in STRONG]
    with pytest.raises(RoutestatError, match="transitions"):
        route_graph(layers, transitions[:1], NO_PATHS, np.random.default_rng(0))
    bad = [LayerStates("L00", 0, layers[0].tokens, ["a"]), *layers[1:]]
    with pytest.raises(RoutestatError, match="labels"):
        route_graph(bad, transitions, NO_PATHS, np.random.default_rng(0))
