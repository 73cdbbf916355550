"""Routes through the layers: dominant paths of the chain, frequent observed paths, and biclusters of transitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.paths import PathCounts, count_given
from routestat.inference.markov.chain import Chain
from routestat.progress import Tick, in_threads, silent
from routestat.structure.bicluster_checks import NullShare, Stability, null_share, stability
from routestat.structure.biclusters import Blocks, spectral_blocks
from routestat.structure.paths import Paths, k_best_paths, path_log2_probability
from routestat.structure.route_graph import route_graph
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

RESAMPLES, NULL_DRAWS = 10, 5


@dataclass(frozen=True)
class BlockFinding:
    """Biclusters of one transition, their stability, and the share of information that they explain in noise.

    `table` ``[source, target]`` holds the counts of the transition.
    """

    source: Router
    target: Router
    table: NDArray[np.int64]
    blocks: Blocks
    stability: Stability
    null: NullShare


@dataclass(frozen=True)
class PathFinding:
    """Dominant paths of the chain, and the most frequent observed paths.

    Attributes
    ----------
    dominant : Paths
    dominant_tokens, dominant_documents : int array ``[path]``
        Tokens and documents that took each dominant path.
    observed : PathCounts
    expected : float array ``[path]``
        Expected count of each observed path under the chain; NaN in the expert view, where the chain has single
        experts as states and tokens choose subsets.
    graph : networkx.DiGraph
    """

    dominant: Paths
    dominant_tokens: NDArray[np.int64]
    dominant_documents: NDArray[np.int64]
    observed: PathCounts
    expected: NDArray[np.float64]
    graph: nx.DiGraph

    @property
    def dominant_expected(self) -> NDArray[np.float64]:
        """Expected count of each dominant path under the chain ``[path]``."""
        return self.observed.n_tokens * self.dominant.probability

    @property
    def observed_share(self) -> NDArray[np.float64]:
        """Share of the tokens that took each observed path ``[path]``."""
        return self.observed.tokens / self.observed.n_tokens


def find_blocks(
    counts: Counts,
    n_blocks: int,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> tuple[BlockFinding, ...]:
    """Cluster the states of every transition.

    Parameters
    ----------
    counts : Counts
        With ``Context.layer(1)``.
    n_blocks : int
    rng : numpy.random.Generator
        Starts, resamples and null draws; each transition has its own stream.
    tick : callable(what, done, total)
    threads : int, optional
    """
    pairs = list(zip(counts.routers, counts.routers[1:], strict=False))

    def of_pair(source: Router, target: Router, own: np.random.Generator) -> BlockFinding:
        table = counts.table(Context.layer(1), target)
        total = table.sum(axis=0, dtype=np.int64)
        slots = source.top_k * target.top_k if counts.states == "expert" else 1
        blocks = spectral_blocks(total, n_blocks, own, slots=slots)
        stable = stability(table, blocks, own, n_resamples=RESAMPLES)
        null = null_share(total, n_blocks, own, n_draws=NULL_DRAWS, slots=slots)
        return BlockFinding(source, target, total, blocks, stable, null)

    streams = rng.spawn(len(pairs))
    jobs = [partial(of_pair, *pair, own) for pair, own in zip(pairs, streams, strict=True)]
    tick("finding blocks", 0, len(pairs))
    return in_threads(jobs, threads, tick, "finding blocks")


def clearest_blocks(found: Sequence[BlockFinding]) -> int | None:
    """Return the transition whose blocks explain most beyond the share in noise; None if none is defined."""
    beyond = [item.blocks.share_of_mi - item.null.mean_share for item in found]
    known = [place for place, share in enumerate(beyond) if share == share]
    return max(known, key=lambda place: beyond[place]) if known else None


def find_paths(trace: Trace, chain: Chain, observed: PathCounts, n_paths: int) -> PathFinding:
    """Find the most probable paths of a chain and count them in the trace.

    Parameters
    ----------
    trace : Trace
        Read once more.
    chain : Chain
    observed : PathCounts
    n_paths : int
    """
    initial, transitions = chain.initial, chain.transitions
    dominant = k_best_paths(initial, transitions, n_paths)
    tokens, documents = count_given(trace, chain.layers, dominant.states, chain.states)
    expected = np.full(len(observed.tokens), np.nan)
    if chain.states == "subset" and len(expected):
        expected = observed.n_tokens * 2.0 ** path_log2_probability(initial, transitions, observed.states)
    names = [router.name for router in observed.routers]
    graph = route_graph(chain.layers, initial, transitions, dominant, labels=_labels(chain), names=names)
    return PathFinding(dominant, tokens, documents, observed, expected, graph)


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
