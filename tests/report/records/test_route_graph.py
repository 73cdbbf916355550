"""`graph` in results.json and the files of the graph against the study, and against each other."""

import json

import networkx as nx
import numpy as np
import pytest

from routestat.report.records.route_graph import GRAPH_FILES


def read(folder):
    return {
        "routes.graphml": nx.read_graphml(folder / "routes.graphml"),
        "routes.gexf": nx.read_gexf(folder / "routes.gexf"),
        "routes.json": nx.node_link_graph(json.loads((folder / "routes.json").read_text()), edges="edges"),
    }


@pytest.mark.parametrize(
    "name", ["states", "experts", "one layer", "layer without tokens", "hostile", "constant layer"]
)
def test_the_three_files_hold_the_graph(reports, name):
    report = reports(name)
    graph = report.study.graph.graph
    files = read(report.folder)
    assert set(files) == set(GRAPH_FILES) == set(report.results["graph"]["files"])
    for again in files.values():
        assert set(again.nodes) == set(graph.nodes)
        assert set(again.edges) == set(graph.edges)
        for node, data in graph.nodes(data=True):
            assert again.nodes[node] == data
        for source, target, data in graph.edges(data=True):
            assert {key: again.edges[source, target][key] for key in data} == data
    assert report.results["graph"]["n_nodes"] == graph.number_of_nodes()
    assert report.results["graph"]["n_edges"] == graph.number_of_edges()


def test_the_record_is_that_of_the_study(reports):
    report = reports("states")
    record, found = report.results["graph"], report.study.graph
    assert record["n_cells"] == sum(np.isfinite(one.score).sum() for one in found.backbone.scores)
    assert record["n_backbone"] == found.backbone.n_kept > 0
    assert record["n_backbone_noise"] <= 0.05 * record["n_backbone"]
    assert record["stay_share"] - record["stay_share_independent"] == pytest.approx(record["modularity"])
    labels = np.concatenate(found.communities.labels)
    assert [one["n_states"] for one in record["communities"]] == np.bincount(labels[labels >= 0]).tolist()
    # The chain couples neighbours by .7.
    assert record["communities_exceed_noise"] is True
    assert "reason" not in record
    edges = [data for *_, data in found.graph.edges(data=True)]
    assert record["n_backbone_in_files"] == record["n_backbone"] == sum(data["backbone"] for data in edges)
    carried = sum(data["joint"] for data in edges if data["backbone"]) / 3
    assert record["backbone_share_of_tokens"] == pytest.approx(carried, rel=1e-4)
    # Cells are tested with documents as units, which the edges repeat.
    assert all("log10_q" in data for data in edges)
    assert min(data["z"] for data in edges if data["backbone"]) > 1


@pytest.mark.parametrize(
    "name", ["one layer", "one document", "layer without tokens", "one layer of one document"]
)
def test_what_is_undefined_has_a_reason(reports, name):
    record = reports(name).results["graph"]
    undefined = [key for key, value in record.items() if value is None]
    assert undefined
    assert record["reason"]


def test_the_expert_view_has_experts(reports):
    study = reports("experts").study
    for _, data in study.graph.graph.nodes(data=True):
        router = next(one for one in study.routers if one.name == data["router"])
        assert data["label"] == str(data["state"])
        assert data["state"] < router.n_experts
    # A token with k experts adds k to the layer.
    layer = study.graph.layers[0]
    assert layer.tokens.sum() == study.routers[0].top_k * study.n_tokens


def test_the_page_says_what_the_record_says(reports):
    report = reports("states")
    rows = report.page.table("communities")
    assert len(rows) == len(report.results["graph"]["communities"])
    assert f"{len(rows)} communities, and they are more than noise" in report.page.text
    shown = {float(value) for value, _ in report.page.numbers}
    for key in ("n_backbone", "n_backbone_noise", "stay_share", "modularity_held_out", "modularity_noise"):
        assert report.results["graph"][key] in shown
