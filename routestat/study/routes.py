"""Routes through the layers: dominant paths of the chain, and frequent observed paths."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample
from routestat.counting.paths import PathCounts, count_given
from routestat.inference.markov.chain import Chain
from routestat.progress import Tick, silent
from routestat.structure.paths import Paths, k_best_paths, path_log2_probability
from routestat.study.memory import Memory
from routestat.study.structure_plan import StructurePlan
from routestat.traces.store import Trace


@dataclass(frozen=True)
class PathFinding:
    """Dominant paths of the chain, and the most frequent observed paths.

    Attributes
    ----------
    chain : Chain
        Of which these are the dominant paths.
    dominant : Paths
    dominant_tokens, dominant_documents : int array ``[path]``
        Tokens and documents that took each dominant path.
    observed : PathCounts
    expected : float array ``[path]``
        Expected count of each observed path under the chain; NaN in the expert view, where the chain has single
        experts as states and tokens choose subsets.
    """

    chain: Chain
    dominant: Paths
    dominant_tokens: NDArray[np.int64]
    dominant_documents: NDArray[np.int64]
    observed: PathCounts
    expected: NDArray[np.float64]

    @property
    def dominant_expected(self) -> NDArray[np.float64]:
        """Expected count of each dominant path under the chain ``[path]``."""
        return self.observed.n_tokens * self.dominant.probability

    @property
    def observed_share(self) -> NDArray[np.float64]:
        """Share of the tokens that took each observed path ``[path]``."""
        return self.observed.tokens / self.observed.n_tokens


def find_paths(
    trace: Trace,
    counts: Counts,
    sample: Sample,
    chain: Chain,
    memory: Memory | None,
    observed: PathCounts,
    plan: StructurePlan,
    tick: Tick = silent,
    threads: int | None = None,
) -> PathFinding:
    """Find the most probable paths of a chain and count them in the trace.

    Parameters
    ----------
    trace : Trace
        Read once more.
    counts : Counts
    sample : Sample
        Whole documents.
    chain : Chain
    memory : Memory, optional
    observed : PathCounts
    plan : StructurePlan
    tick : callable(what, done, total)
    threads : int, optional
    """
    initial, transitions = chain.initial, chain.transitions
    dominant = k_best_paths(initial, transitions, plan.n_paths)
    tokens, documents = count_given(trace, chain.layers, dominant.states, chain.states)
    expected = np.full(len(observed.tokens), np.nan)
    if chain.states == "subset" and len(expected):
        expected = observed.n_tokens * 2.0 ** path_log2_probability(initial, transitions, observed.states)
    return PathFinding(chain, dominant, tokens, documents, observed, expected)
