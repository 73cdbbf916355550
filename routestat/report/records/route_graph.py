"""`graph`: the graph of transitions in results.json and as files."""

from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np

from routestat.report.records.plain import Record, reason
from routestat.structure.graph_formats import gexf, graphml, node_link_json
from routestat.structure.route_graph import RouteGraph
from routestat.study.trace_study import Study
from routestat.traces.manifest import replace_file

#: How each file is written, by its name.
GRAPH_FILES: dict[str, Callable[[nx.DiGraph], str]] = {
    "routes.graphml": graphml,
    "routes.gexf": gexf,
    "routes.json": node_link_json,
}


def graph_records(found: RouteGraph) -> Record:
    """Return `graph`: what the graph of transitions holds, and whether its communities exceed noise."""
    backbone, communities = found.backbone, found.communities
    carried = [
        float(one.joint[kept].sum())
        for one, kept in zip(found.transitions, backbone.kept, strict=True)
        if one.counts.any()
    ]
    empty = not backbone.n_kept
    no_edge = "no cell exceeds independence by more than its noise" if empty and carried else ""
    no_half = "half of the documents have no tokens" if np.isnan(found.modularity_held_out) else ""
    return {
        "graph": {
            "n_nodes": found.graph.number_of_nodes(),
            "n_edges": found.graph.number_of_edges(),
            "n_cells": backbone.n_cells,
            "n_backbone": backbone.n_kept,
            "n_backbone_in_files": found.n_backbone_in_graph,
            "n_backbone_noise": None if empty else backbone.n_noise,
            "delta_standard_errors": backbone.delta,
            "backbone_share_of_tokens": None if empty else float(np.mean(carried)),
            "stay_share": communities.stays,
            "stay_share_independent": communities.stays_independent,
            "modularity": communities.modularity,
            "modularity_held_out": found.modularity_held_out,
            "modularity_noise": float(found.modularity_noise.max()) if communities.n else None,
            "communities_exceed_noise": found.communities_exceed_noise,
            "communities": [_community(found, number) for number in range(communities.n)],
            "files": list(GRAPH_FILES),
            **reason(communities.reason or no_half, no_edge),
        }
    }


def _community(found: RouteGraph, number: int) -> Record:
    layers, share = found.extent(number)
    return {
        "community": number,
        "n_states": sum(int((labels == number).sum()) for labels in found.communities.labels),
        "first_layer": layers[0].layer,
        "last_layer": layers[-1].layer,
        "n_layers": len(layers),
        "share_of_tokens": share,
    }


def write_graph(study: Study, folder: Path) -> None:
    """Write the graph of transitions, or delete the files of an earlier one."""
    for name, text in GRAPH_FILES.items():
        if study.graph is not None:
            replace_file(folder / name, text(study.graph.graph).encode())
        else:
            (folder / name).unlink(missing_ok=True)
