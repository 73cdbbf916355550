"""A directed graph as text of GraphML, GEXF and JSON; the same graph gives the same text."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import networkx as nx

from routestat.errors import RoutestatError

# The writers of networkx take a second for a few thousand edges, and that of GEXF adds the date.
_TYPES = {
    bool: ("boolean", "boolean"),
    int: ("long", "long"),
    float: ("double", "double"),
    str: ("string",) * 2,
}
# What XML 1.0 cannot hold, even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Keys = dict[str, tuple[str, type]]


def graphml(graph: nx.DiGraph) -> str:
    """Return the graph as GraphML, for yEd, Cytoscape or igraph; `networkx.read_graphml` reads it.

    Attributes of the graph, its nodes and its edges are plain bool, int, float or str, each name of one type.

    Raises
    ------
    RoutestatError
        If an attribute is of another type.
    """
    keys = {
        "graph": _keys([graph.graph], "g"),
        "node": _keys((data for _, data in graph.nodes(data=True)), "n"),
        "edge": _keys((data for *_, data in graph.edges(data=True)), "e"),
    }
    lines = [
        "<?xml version='1.0' encoding='utf-8'?>",
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
    ]
    for kind, known in keys.items():
        for name, (key, of) in known.items():
            lines.append(
                f'<key id="{key}" for="{kind}" attr.name={_quoted(name)} attr.type="{_TYPES[of][0]}"/>'
            )
    lines.append('<graph edgedefault="directed">')

    def data_of(data: Mapping[str, Any], known: Keys) -> str:
        return "".join(f'<data key="{known[name][0]}">{_text(value)}</data>' for name, value in data.items())

    lines.append(data_of(graph.graph, keys["graph"]))
    for node, data in graph.nodes(data=True):
        lines.append(f"<node id={_quoted(node)}>{data_of(data, keys['node'])}</node>")
    for source, target, data in graph.edges(data=True):
        ends = f"source={_quoted(source)} target={_quoted(target)}"
        lines.append(f"<edge {ends}>{data_of(data, keys['edge'])}</edge>")
    return "\n".join([*lines, "</graph>", "</graphml>", ""])


def gexf(graph: nx.DiGraph) -> str:
    """Return the graph as GEXF, for Gephi; `networkx.read_gexf` reads it.

    `label` of nodes and `weight` of edges are those of the format; attributes of the graph are left out.

    Raises
    ------
    RoutestatError
        As for `graphml`.
    """
    nodes = _keys((data for _, data in graph.nodes(data=True)), "")
    edges = _keys((data for *_, data in graph.edges(data=True)), "")
    lines = [
        "<?xml version='1.0' encoding='utf-8'?>",
        '<gexf xmlns="http://www.gexf.net/1.2draft" version="1.2">',
        "<meta><creator>routestat</creator></meta>",
        '<graph defaultedgetype="directed" mode="static">',
    ]
    for kind, known, own in (("node", nodes, "label"), ("edge", edges, "weight")):
        known.pop(own, None)
        lines.append(f'<attributes class="{kind}" mode="static">')
        for name, (key, of) in known.items():
            lines.append(f'<attribute id="{key}" title={_quoted(name)} type="{_TYPES[of][1]}"/>')
        lines.append("</attributes>")

    def values_of(data: Mapping[str, Any], known: Keys) -> str:
        held = "".join(
            f'<attvalue for="{known[name][0]}" value={_quoted(_text(value, raw=True))}/>'
            for name, value in data.items()
            if name in known
        )
        return f"<attvalues>{held}</attvalues>"

    lines.append("<nodes>")
    for node, data in graph.nodes(data=True):
        label = _quoted(data.get("label", node))
        lines.append(f"<node id={_quoted(node)} label={label}>{values_of(data, nodes)}</node>")
    lines += ["</nodes>", "<edges>"]
    for number, (source, target, data) in enumerate(graph.edges(data=True)):
        weight = f' weight="{data["weight"]}"' if "weight" in data else ""
        ends = f"source={_quoted(source)} target={_quoted(target)}"
        lines.append(f'<edge id="{number}" {ends}{weight}>{values_of(data, edges)}</edge>')
    return "\n".join([*lines, "</edges>", "</graph>", "</gexf>", ""])


def node_link_json(graph: nx.DiGraph) -> str:
    """Return the graph as JSON of nodes and edges, one a line, for d3; `networkx.node_link_graph` reads it."""
    data = nx.node_link_data(graph, edges="edges")
    parts = []
    for key, value in data.items():
        if isinstance(value, list) and value:
            lines = ",\n  ".join(json.dumps(item, allow_nan=False) for item in value)
            parts.append(f" {json.dumps(key)}: [\n  {lines}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _keys(many: Iterable[Mapping[str, Any]], prefix: str) -> Keys:
    """Return a key and the type of every attribute."""
    keys: Keys = {}
    for data in many:
        for name, value in data.items():
            of = keys.setdefault(name, (f"{prefix}{len(keys)}", type(value)))[1]
            if type(value) is not of or of not in _TYPES:
                raise RoutestatError(
                    f"attribute {name}: expected bool, int, float or str, the same everywhere, got {value!r}"
                )
    return keys


def _text(value: Any, raw: bool = False) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        clean = _NO_XML.sub("\ufffd", value)
        return clean if raw else escape(clean)
    return repr(value)


def _quoted(text: Any) -> str:
    return quoteattr(_NO_XML.sub("\ufffd", str(text)))
