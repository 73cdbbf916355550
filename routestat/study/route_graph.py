"""The transitions of a trace as a layered graph."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.inference.smoothing.design_effect import transition_design_effect
from routestat.progress import Tick, silent
from routestat.structure.route_graph import LayerStates, RouteGraph, Transition, route_graph
from routestat.study.layer_pairs import LayerPair
from routestat.study.routes import PathFinding
from routestat.traces.metadata import Router


def graph_of_routes(
    counts: Counts,
    pairs: Sequence[LayerPair] | None,
    paths: PathFinding,
    rng: np.random.Generator,
    tick: Tick = silent,
) -> RouteGraph:
    """Build the graph of the backbone of the transitions, their most frequent cells and the dominant paths.

    Parameters
    ----------
    counts : Counts
        With the empty context and ``Context.layer(1)``.
    pairs : sequence of LayerPair, optional
        The tests of the cells; None where dependence was not computed.
    paths : PathFinding
    rng : numpy.random.Generator
    tick : callable(what, done, total)
    """
    tick("building the graph of transitions", 0, 1)
    layers = [
        LayerStates(
            router.name,
            router.layer,
            counts.table(Context(), router).sum(axis=0, dtype=np.int64),
            _labels(router, counts.states),
        )
        for router in counts.routers
    ]
    transitions = []
    for place, router in enumerate(counts.routers[1:]):
        tables = counts.table(Context.layer(1), router)
        total = tables.sum(axis=0, dtype=np.int64)
        tests = None if pairs is None else pairs[place].cells
        transitions.append(Transition(total, transition_design_effect(tables), tests, _halves(tables)))
    found = route_graph(layers, transitions, np.asarray(paths.dominant.states, dtype=np.int64), rng)
    tick("building the graph of transitions", 1, 1)
    return found


def _halves(tables: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add up every other group of documents, of those with tokens."""
    used = np.flatnonzero(tables.any(axis=(1, 2)))
    first, second = (tables[used[start::2]].sum(axis=0, dtype=np.int64) for start in (0, 1))
    return first, second


def _labels(router: Router, states: str) -> list[str]:
    """Return the experts of every state of a layer."""
    if states == "expert":
        return [str(expert) for expert in range(router.n_experts)]
    rows = router.alphabet.unrank(np.arange(router.alphabet.size)).tolist()
    return [",".join(map(str, row)) for row in rows]
