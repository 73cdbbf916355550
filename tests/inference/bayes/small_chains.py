"""Small chains of known distribution for the tests of full Bayes, as counts and token by token."""

from dataclasses import dataclass

import numpy as np

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.counting.strata import count_strata
from routestat.inference.bayes.likelihood import chain_evidence
from routestat.traces.synthetic import chain, to_trace


@dataclass(frozen=True)
class Counted:
    """(first, tables, triples), and the tokens' states `[token, layer]` and groups `[token]`."""

    parts: tuple
    states: np.ndarray
    group: np.ndarray

    def evidence(self):
        return chain_evidence(*self.parts)

    def tokens(self, order, unit, kept=slice(None)):
        """(row…, target) of every token, for one layer, gap or triple."""
        return [tuple(row) for row in self.states[kept, unit : unit + order + 1].tolist()]


def counted(made, groups=32):
    """A synthetic trace, counted as the study counts it."""
    trace = to_trace(made)
    counts = count(trace, groups=groups)
    routers, sample = counts.routers, take_sample(trace, None, groups)
    tables = [counts.table(Context.layer(1), router) for router in routers[1:]]
    windows = zip(routers, routers[1:], routers[2:], strict=False)
    triples = [count_strata(sample, x, z, y) for x, y, z in windows]
    rows = np.stack([sample.columns[router.name] for router in routers], axis=1)
    first = counts.table(Context(), routers[0])
    return Counted((first, tables, triples), rows, np.asarray(sample.group))


def small(distribution=chain, seed=1, layers=3, documents=24, mean_length=40, **words):
    """Four experts, one of them chosen, in three layers."""
    words = {"coupling": 0.6} if distribution is chain and not words else words
    shape = {"n_experts": 4, "top_k": 1, "documents": documents, "mean_length": mean_length}
    return counted(distribution(rng=np.random.default_rng(seed), layers=layers, **shape, **words))
