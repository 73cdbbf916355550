"""The transitions of a trace as a layered graph, with the backbone, communities and centralities of its states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.inference.association.cell_tests import CellTests
from routestat.inference.base.tables import Floats, read_only
from routestat.structure.backbone import Backbone, backbone_of, independent_table
from routestat.structure.graph_centrality import Centrality, flow_centrality
from routestat.structure.graph_communities import Communities, find_communities, held_out_modularity

Integers = NDArray[np.int64]

#: Edges of the backbone in the graph, over all transitions; files with more would be large and slow to open.
MOST_EDGES = 4000
#: Sets of independent tables that communities are found in for comparison.
N_NOISE = 2
_Z = 1.96


@dataclass(frozen=True, eq=False)
class LayerStates:
    """The states of one layer.

    Attributes
    ----------
    name : str
        Of the router.
    layer : int
        The model's own number.
    tokens : int array ``[state]``
    labels : sequence of str ``[state]``
        Such as ``"1,7"``.
    """

    name: str
    layer: int
    tokens: Integers
    labels: Sequence[str]

    @property
    def shares(self) -> Floats:
        """Share of each state in all tokens (of an expert: in all choices) ``[state]``; 0 without tokens."""
        return np.asarray(self.tokens / max(int(self.tokens.sum()), 1))


@dataclass(frozen=True, eq=False)
class Transition:
    """The table of two adjacent layers.

    Attributes
    ----------
    counts : int array ``[source, target]``
        Tokens; in the expert view of experts that were chosen by the same token.
    design_effect : float
        Dependent tokens per independent one.
    tests : CellTests, optional
        Of its cells.
    halves : pair of int arrays ``[source, target]``, optional
        The counts of either half of the documents.
    """

    counts: Integers
    design_effect: float
    tests: CellTests | None = None
    halves: tuple[Integers, Integers] | None = None

    @property
    def joint(self) -> Floats:
        """Share of each cell in the table ``[source, target]``; 0 without tokens."""
        return _joint(self.counts)


@dataclass(frozen=True, eq=False)
class RouteGraph:
    """A layered graph; see `route_graph`.

    Attributes
    ----------
    graph : networkx.DiGraph
    layers : tuple of LayerStates
    transitions : tuple of Transition
    backbone : Backbone
        Of all transitions; the graph has its strongest edges.
    n_backbone_in_graph : int
        Edges of the backbone that the graph has.
    communities : Communities
        Of the transitions.
    modularity_noise : float array ``[table]``
        What the same search finds in independent tables of the same margins, worth as many tokens.
    modularity_held_out : float
        Of communities that were found in the other half of the documents; NaN without halves.
    centrality : Centrality
        In the whole backbone.
    paths : int array ``[path, layer]``
        The dominant paths.
    """

    graph: nx.DiGraph
    layers: tuple[LayerStates, ...]
    transitions: tuple[Transition, ...]
    backbone: Backbone
    n_backbone_in_graph: int
    communities: Communities
    modularity_noise: Floats
    modularity_held_out: float
    centrality: Centrality
    paths: Integers

    @property
    def communities_exceed_noise(self) -> bool | None:
        """Whether the communities hold in other documents better than the search fits noise; None if unknown."""
        if not len(self.modularity_noise) or not np.isfinite(self.modularity_held_out):
            return None
        return bool(self.modularity_held_out > self.modularity_noise.max())

    def extent(self, community: int) -> tuple[list[LayerStates], float]:
        """Return the layers that have states of a community, and their mean share of tokens in them."""
        members = [labels == community for labels in self.communities.labels]
        there = [(layer, one) for layer, one in zip(self.layers, members, strict=True) if one.any()]
        shares = [float(layer.shares[one].sum()) for layer, one in there]
        return [layer for layer, _ in there], sum(shares) / len(shares)


def route_graph(
    layers: Sequence[LayerStates],
    transitions: Sequence[Transition],
    paths: Integers,
    rng: np.random.Generator,
    *,
    top_edges: int = 6,
    most_edges: int = MOST_EDGES,
) -> RouteGraph:
    """Build the graph of the backbone of all transitions, of their most frequent cells and of the dominant paths.

    Nodes are named ``"L05:12"`` for state 12 of the router L05, and have `layer`, `router`, `state`, `label`, `tokens`,
    `probability` (share in the layer), `community` (its number) and `centrality` (share of the state in the
    routes whose steps are all in the backbone; see `flow_centrality`).

    Edges have `weight` (tokens), `joint` (share of the transition's table), `probability` (target given source),
    `lift` (joint over the product of the margins) with `lift_low` and `lift_high` (95 %, from the standard error of the
    score), `score` ((lift − 1) / (lift + 1)) with its `standard_error`,
    `backbone` (whether the score exceeds the noise), `paths` (dominant paths that use the edge) and, where cells were
    tested, `z` and `log10_q` (clustered, adjusted over the cells of the transition). What is not defined is left out.

    Parameters
    ----------
    layers : sequence of LayerStates
    transitions : sequence of Transition
        One fewer than layers.
    paths : int array ``[path, layer]``
        Dominant paths, most probable first.
    rng : numpy.random.Generator
    top_edges : int
        Most frequent cells of each transition that are kept whether they are in the backbone or not.
    most_edges : int
        Edges of the backbone that are kept, over all transitions: each state's strongest first, by excess.

    Raises
    ------
    RoutestatError
        If `layers`, `transitions` and `paths` do not fit each other, or a number is negative.
    """
    _check(layers, transitions, paths, top_edges, most_edges)
    sizes = [len(layer.tokens) for layer in layers]
    backbone = backbone_of(
        [one.counts for one in transitions], [one.design_effect for one in transitions], rng
    )
    quota = most_edges // max(len(transitions), 1)
    joints, conditionals = (
        [one.joint for one in transitions],
        [_conditional(one.counts) for one in transitions],
    )
    strong = [_strongest(kept, joint, quota) for kept, joint in zip(backbone.kept, joints, strict=True)]
    communities = find_communities(joints, rng)
    if not joints:
        communities = replace(communities, labels=tuple(np.full(size, -1) for size in sizes))
    halves = [(_joint(one.halves[0]), _joint(one.halves[1])) for one in transitions if one.halves is not None]
    held_out = held_out_modularity(halves, rng) if len(halves) == len(transitions) else float("nan")
    noise = [_modularity_of_noise(transitions, rng) for _ in range(N_NOISE)] if communities.n else []
    centrality = flow_centrality(
        layers[0].shares,
        [np.where(kept, given, 0.0) for kept, given in zip(backbone.kept, conditionals, strict=True)],
    )
    in_graph = int(sum(kept.sum() for kept in strong))
    graph = nx.DiGraph(
        kind="layered transitions",
        **({"backbone_delta": _short(backbone.delta)} if np.isfinite(backbone.delta) else {}),
        backbone_edges=backbone.n_kept,
        backbone_edges_here=in_graph,
        dominant_paths=len(paths),
    )

    def node(place: int, state: int) -> str:
        layer = layers[place]
        name = f"{layer.name}:{state}"
        if name not in graph:
            known: dict[str, Any] = {
                "layer": int(layer.layer),
                "router": layer.name,
                "state": state,
                "label": str(layer.labels[state]),
                "tokens": int(layer.tokens[state]),
                "probability": _short(layer.shares[state]),
            }
            if (number := int(communities.labels[place][state])) >= 0:
                known["community"] = number
            if np.isfinite(share := centrality.shares[place][state]):
                known["centrality"] = _short(share)
            graph.add_node(name, **known)
        return name

    if not transitions:
        for state in np.unique(paths[:, 0]).tolist():
            node(0, state)
    for place, one in enumerate(transitions):
        used = np.zeros(one.counts.shape, dtype=np.int64)
        np.add.at(used, (paths[:, place], paths[:, place + 1]), 1)
        keep = strong[place] | (used > 0) | _most_frequent(one.counts, top_edges)
        columns = _columns(one, backbone, place) | {"paths": used}
        columns["probability"] = conditionals[place]
        for source, target in np.argwhere(keep).tolist():
            values = {name: _plain(column[source, target]) for name, column in columns.items()}
            graph.add_edge(
                node(place, source),
                node(place + 1, target),
                **{name: value for name, value in values.items() if value is not None},
            )
    return RouteGraph(
        graph,
        tuple(layers),
        tuple(transitions),
        backbone,
        in_graph,
        communities,
        np.array(noise),
        held_out,
        centrality,
        read_only(np.array(paths, dtype=np.int64)),
    )


def _columns(one: Transition, backbone: Backbone, place: int) -> dict[str, NDArray[Any]]:
    """Return the attributes of all cells of a transition by name, each ``[source, target]``."""
    scored = backbone.scores[place]
    low, high = scored.lift_limits(_Z)
    margins = np.outer(one.joint.sum(axis=1), one.joint.sum(axis=0))
    columns: dict[str, NDArray[Any]] = {
        "weight": one.counts,
        "joint": one.joint,
        "lift": np.divide(one.joint, margins, out=np.full(margins.shape, np.nan), where=margins > 0),
        "lift_low": low,
        "lift_high": high,
        "score": scored.score,
        "standard_error": scored.standard_error,
        "backbone": backbone.kept[place],
    }
    if one.tests is not None and not one.tests.reason:
        at = np.ix_(one.tests.rows, one.tests.columns)
        for name, values in (("z", one.tests.z), ("log10_q", one.tests.log10_q)):
            columns[name] = np.full(one.counts.shape, np.nan)
            columns[name][at] = values
    return columns


def _plain(value: Any) -> bool | int | float | None:
    """Return a plain value as files of graphs have it, None where it is not finite."""
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    return _short(value) if np.isfinite(value) else None


def _short(value: float) -> float:
    """Round to six digits, which is more than any sample of tokens determines."""
    return float(f"{value:.6g}")


def _modularity_of_noise(transitions: Sequence[Transition], rng: np.random.Generator) -> float:
    """Find communities in independent tables of the same margins; return their modularity."""
    drawn = [independent_table(one.counts, one.design_effect, rng) for one in transitions]
    return find_communities([one / max(one.sum(), 1.0) for one in drawn], rng).modularity


def _joint(counts: Integers) -> Floats:
    return np.asarray(counts / max(int(counts.sum()), 1))


def _conditional(counts: Integers) -> Floats:
    rows = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / np.maximum(rows, 1))


def _most_frequent(counts: Integers, n: int) -> NDArray[np.bool_]:
    keep = np.zeros(counts.shape, dtype=np.bool_)
    keep.flat[np.argsort(-counts, axis=None, kind="stable")[:n]] = True
    return np.asarray(keep & (counts > 0))


def _strongest(kept: NDArray[np.bool_], joint: Floats, n: int) -> NDArray[np.bool_]:
    """Return at most `n` of the kept cells: each row's and each column's largest excess first, and so on."""
    if int(kept.sum()) <= n:
        return kept
    value = np.where(kept, np.outer(joint.sum(axis=1), joint.sum(axis=0)) - joint, np.inf)
    ranks = [np.argsort(np.argsort(value, axis=axis, kind="stable"), axis=axis) for axis in (0, 1)]
    first = np.lexsort((value.ravel(), np.where(kept, np.minimum(*ranks), kept.size).ravel()))[:n]
    chosen = np.zeros(kept.shape, dtype=np.bool_)
    chosen.flat[first] = True
    return chosen


def _check(
    layers: Sequence[LayerStates],
    transitions: Sequence[Transition],
    paths: Integers,
    top_edges: int,
    most_edges: int,
) -> None:
    """Refuse layers, transitions or paths that do not fit each other."""
    sizes = [len(layer.tokens) for layer in layers]
    names = [layer.name for layer in layers]
    if not layers or len(set(names)) != len(names):
        raise RoutestatError(f"layers: expected one or more with different names, got {names}")
    if any(a.layer > b.layer for a, b in pairwise(layers)):
        raise RoutestatError(f"layers: expected rising numbers, got {[layer.layer for layer in layers]}")
    if [one.counts.shape for one in transitions] != list(pairwise(sizes)):
        raise RoutestatError(
            f"transitions: expected tables of {list(pairwise(sizes))} states, "
            f"got {[one.counts.shape for one in transitions]}"
        )
    if [len(layer.labels) for layer in layers] != sizes:
        raise RoutestatError(
            f"labels: expected {sizes} per layer, got {[len(layer.labels) for layer in layers]}"
        )
    if paths.ndim != 2 or paths.shape[1] != len(sizes) or (paths < 0).any() or (paths >= sizes).any():
        raise RoutestatError(f"paths: expected states of {len(sizes)} layers of sizes {sizes}, got others")
    if top_edges < 0 or most_edges < 0:
        raise RoutestatError(
            f"top_edges and most_edges: expected 0 or more, got {top_edges} and {most_edges}"
        )
