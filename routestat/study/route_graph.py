"""The transitions of the chain as a layered graph."""

from collections.abc import Sequence

import networkx as nx
import numpy as np

from routestat.counting.counts import Counts
from routestat.inference.markov.chain import Chain
from routestat.progress import Tick, silent
from routestat.structure.route_graph import route_graph
from routestat.study.layer_pairs import LayerPair
from routestat.study.routes import PathFinding
from routestat.traces.metadata import Router


def graph_of_routes(
    counts: Counts,
    pairs: Sequence[LayerPair] | None,
    paths: PathFinding,
    rng: np.random.Generator,
    tick: Tick = silent,
) -> nx.DiGraph:
    """Build the graph of the most probable transitions and the dominant paths.

    Parameters
    ----------
    counts : Counts
    pairs : sequence of LayerPair, optional
        The tests of the cells; None where dependence was not computed.
    paths : PathFinding
    rng : numpy.random.Generator
    tick : callable(what, done, total)
    """
    chain = paths.chain
    names = [router.name for router in counts.routers]
    return route_graph(
        chain.layers, chain.initial, chain.transitions, paths.dominant, labels=_labels(chain), names=names
    )


def _labels(chain: Chain) -> list[list[str]]:
    """Return the experts of every state, layer by layer."""
    labels = []
    for n_experts, top_k in zip(chain.n_experts, chain.top_k, strict=True):
        router = Router(0, n_experts, top_k)
        if chain.states == "expert":
            labels.append([str(expert) for expert in range(n_experts)])
        else:
            rows = router.alphabet.unrank(np.arange(router.alphabet.size)).tolist()
            labels.append([",".join(map(str, row)) for row in rows])
    return labels
