"""The chain's dominant paths as a layered graph."""

from collections.abc import Sequence
from itertools import pairwise

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.structure.paths import Paths, chain_marginals


def route_graph(
    layers: Sequence[int],
    initial: ArrayLike,
    transitions: Sequence[ArrayLike],
    paths: Paths | None = None,
    *,
    top_edges: int = 6,
    min_probability: float = 0.0,
    labels: Sequence[Sequence[str]] | None = None,
    names: Sequence[str] | None = None,
) -> nx.DiGraph:
    """Build a layered graph of the chain's dominant paths; the edges are not tested for significance.

    An edge is kept if one of `paths` uses it, or if it is among the `top_edges` most probable (jointly) of
    its gap and its joint probability reaches `min_probability`. Nodes are the ends of kept edges, named
    ``"L05:12"`` for state 12 of layer 5, with the attributes `layer`, `state`, `probability` (of the chain)
    and, where `labels` are given, `label`. Edges carry `probability` (target given source), `joint`,
    `lift` (joint over the product of the two nodes' probabilities) and `paths` (how many of `paths` use it).

    Parameters
    ----------
    layers : sequence of int [layer]
        The model's own numbers of the chain's layers, rising; equal where a layer has several routers.
    initial, transitions
        As for `k_best_paths`.
    paths : Paths, optional
        Dominant paths of the same chain.
    top_edges : int
        Most probable edges kept per gap, ≥ 0.
    min_probability : float
        Least joint probability of an edge that no path uses.
    labels : sequence of sequences of str [layer][state], optional
        Labels of the states, such as ``"1,7"``.
    names : sequence of str [layer], optional
        Names of the routers (``L05``); they must differ.

    Returns
    -------
    networkx.DiGraph
        All attributes are plain int, float or str.

    Raises
    ------
    RoutestatError
        If the chain is invalid, or `layers`, `paths` or `labels` do not fit it.
    """
    distributions = chain_marginals(initial, transitions)
    matrices = [np.asarray(matrix, dtype=np.float64) for matrix in transitions]
    _check_annotations(
        layers, [len(distribution) for distribution in distributions], paths, top_edges, labels
    )
    states = np.empty((0, len(distributions)), dtype=np.int64) if paths is None else paths.states
    routers = [f"L{int(layer):02d}" for layer in layers] if names is None else list(names)
    if len(set(routers)) != len(distributions):
        raise RoutestatError(
            f"layers must be rising numbers or have {len(distributions)} different names, got {routers}"
        )
    graph = nx.DiGraph(kind="layered chain", n_paths=len(states), top_edges=int(top_edges))

    def node(gap: int, state: int) -> str:
        name = f"{routers[gap]}:{state}"
        if name not in graph:
            label = {} if labels is None else {"label": str(labels[gap][state])}
            probability = float(distributions[gap][state])
            graph.add_node(name, layer=int(layers[gap]), state=state, **label, probability=probability)
        return name

    if not matrices:
        for state in np.unique(states[:, 0]).tolist():
            node(0, state)
    for gap, matrix in enumerate(matrices):
        joint = distributions[gap][:, None] * matrix
        used = np.zeros(joint.shape, dtype=np.int64)
        np.add.at(used, (states[:, gap], states[:, gap + 1]), 1)
        for source, target in _kept_edges(joint, used, top_edges, min_probability):
            graph.add_edge(
                node(gap, source),
                node(gap + 1, target),
                probability=float(matrix[source, target]),
                joint=float(joint[source, target]),
                lift=float(matrix[source, target] / distributions[gap + 1][target]),
                paths=int(used[source, target]),
            )
    return graph


def _kept_edges(
    joint: NDArray[np.float64], used: NDArray[np.int64], top_edges: int, min_probability: float
) -> list[list[int]]:
    """Return the pairs (source, target) of a gap that paths use or that are among its most probable."""
    top = np.argsort(-joint, axis=None, kind="stable")[:top_edges]
    keep = used > 0
    keep.flat[top] |= joint.flat[top] >= min_probability
    return np.argwhere(keep & (joint > 0)).tolist()


def graphml(graph: nx.DiGraph) -> str:
    """Return the graph as GraphML text."""
    return "\n".join(nx.generate_graphml(graph))


def _check_annotations(
    layers: Sequence[int],
    sizes: list[int],
    paths: Paths | None,
    top_edges: int,
    labels: Sequence[Sequence[str]] | None,
) -> None:
    """Refuse layers, paths or labels that do not fit a chain with `sizes` states per layer."""
    if len(layers) != len(sizes) or any(a > b for a, b in pairwise(layers)):
        raise RoutestatError(f"layers must be {len(sizes)} rising numbers, one per layer, got {list(layers)}")
    if top_edges < 0:
        raise RoutestatError(f"top_edges must be ≥ 0, got {top_edges}")
    if paths is not None and (
        paths.states.shape[1] != len(sizes) or (paths.states.size and (paths.states >= sizes).any())
    ):
        raise RoutestatError("paths must come from the same chain; find them with k_best_paths on it")
    if labels is not None and [len(names) for names in labels] != sizes:
        raise RoutestatError(
            f"labels must name {sizes} states per layer, got {[len(names) for names in labels]}"
        )
