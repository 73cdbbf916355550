"""What every context foretells of a layer's choice on unseen documents, and the order of the chain that follows."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.strata import count_strata
from routestat.inference.association.stratified import StratifiedIndependence
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.markov.order_score_test import clustered_order
from routestat.inference.markov.order_selection import OrderChoice, choose_order
from routestat.inference.markov.order_tests import OrderTests, order_tests
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.held_out import HeldOut, NestedContexts, held_out
from routestat.study.decomposition import Tick
from routestat.traces.metadata import Router

#: Ladders of contexts by name, from the shortest on; each asks for the columns that it names.
LADDERS: Mapping[str, NestedContexts] = {
    "nothing": [()],
    "layer-1": [(), ("layer-1",)],
    "layer-2,layer-1": [(), ("layer-1",), ("layer-1", "layer-2")],
    "layer-3,layer-2,layer-1": [
        (),
        ("layer-1",),
        ("layer-1", "layer-2"),
        ("layer-1", "layer-2", "layer-3"),
    ],
    "token-1": [(), ("token-1",)],
    "token-2,token-1": [(), ("token-1",), ("token-1", "token-2")],
    "layer-1,token-1": [(), ("layer-1",), ("layer-1", "token-1")],
    "token id": [(), ("token id",)],
    "token id,layer-1": [(), ("layer-1",), ("layer-1", "token id")],
    "token id,layer-1,token-1": [
        (),
        ("layer-1",),
        ("layer-1", "token id"),
        ("layer-1", "token id", "token-1"),
    ],
}
OVER_LAYERS = ("nothing", "layer-1", "layer-2,layer-1")
OVER_TOKENS = ("nothing", "token-1", "token-2,token-1")
# More rows make the intervals no narrower that matter, and take a second per layer for every 200,000.
MOST_ROWS = 500_000
# Documents are what intervals rest on: rather parts of so many than fewer of them.
FEW_DOCUMENTS = 64
# Redrawn tables: what they say is a yes or no. Wide ones take long, and many tokens to be worth the while.
RESAMPLES, MOST_REDRAWN = 99, 64


@dataclass(frozen=True)
class LayerMemory:
    """What each context foretells of one router's choices.

    Attributes
    ----------
    target : Router
    scores : HeldOut
        Under the names of `LADDERS`, those that the trace has columns for.
    over_layers, over_tokens : OrderChoice
    known : mapping of context to float
        Share of the tokens whose whole context is known; the others were answered by a shorter one. Not told in the
        expert view.
    forward_code_gains : tuple of float
        Of each order over layers over the one below, nats: the code lengths of a forward pass through the groups
        compared.
    tests, clustered : OrderTests or None, StratifiedIndependence or None
        Of order 2 against order 1 over layers, with independent tokens and with documents as units; None for the
        first two routers, and in the expert view.
    """

    target: Router
    scores: HeldOut
    over_layers: OrderChoice
    over_tokens: OrderChoice
    forward_code_gains: tuple[float, ...]
    tests: OrderTests | None = None
    clustered: StratifiedIndependence | None = None
    known: Mapping[str, float] = field(default_factory=dict)

    def log_loss(self, context: str) -> Estimate:
        """Held-out bits per token."""
        return ratio(self.scores.bits[context], self.scores.tokens)


def score_contexts(
    sample: Sample,
    routers: Sequence[Router],
    rng: np.random.Generator,
    tick: Tick = lambda what, done, total: None,
) -> tuple[LayerMemory, ...]:
    """Score all contexts of every router of the state view.

    Parameters
    ----------
    sample : Sample
        Whole documents.
    routers : sequence of Router
        In order of depth.
    rng : numpy.random.Generator
        For resampled tables.
    """

    def one(place: int, own: np.random.Generator) -> LayerMemory:
        return _of_layer(sample, routers[: place + 1], own)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = [pool.submit(one, place, own) for place, own in enumerate(rng.spawn(len(routers)))]
        try:
            for done, _ in enumerate(as_completed(jobs)):
                tick("measuring the memory", done + 1, len(jobs))
        except BaseException:
            # Ctrl-C shall not wait for what has not begun.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tuple(job.result() for job in jobs)


def _of_layer(sample: Sample, routers: Sequence[Router], rng: np.random.Generator) -> LayerMemory:
    rows = _rows(sample, routers)
    ladders = {
        name: ladder
        for name, ladder in LADDERS.items()
        if all(column in rows.columns for column in ladder[-1])
    }
    over_layers = [name for name in OVER_LAYERS if name in ladders]
    scores = held_out(rows, ladders, forward=over_layers)
    lengths = [float(scores.forward_bits[name].sum()) * float(np.log(2.0)) for name in over_layers]
    tests = clustered = None
    if len(routers) > 2:
        strata = count_strata(sample, routers[-3], routers[-1], routers[-2])
        clusters = len(np.unique(sample.cluster))
        resamples = RESAMPLES if rows.n_targets <= MOST_REDRAWN else 0
        tests, clustered = order_tests(strata, clusters, rng, resamples=resamples), clustered_order(strata)
    known = {name: _known(rows, ladder[-1]) for name, ladder in ladders.items()}
    return LayerMemory(
        routers[-1],
        scores,
        _choice(scores, over_layers, known),
        _choice(scores, OVER_TOKENS, known),
        tuple(a - b for a, b in pairwise(lengths)),
        tests,
        clustered,
        known,
    )


def _known(rows: TokenRows, names: Sequence[str]) -> float:
    if not len(rows):
        return float("nan")
    return float(np.all([rows.columns[name] >= 0 for name in names], axis=0).mean()) if names else 1.0


def _choice(scores: HeldOut, names: Sequence[str], known: Mapping[str, float]) -> OrderChoice:
    """The order, or none where no token's context was ever known: a shorter one answered for it."""
    choice = choose_order([scores.bits[name] for name in names], scores.tokens)
    asked = [name for name in names[1:] if known[name] > 0]
    return choice if asked or len(names) < 2 else replace(choice, chosen=None)


def _rows(sample: Sample, routers: Sequence[Router]) -> TokenRows:
    target = _states(sample, routers[-1])
    columns = {
        "token-1": _before(target, sample.follows, 1),
        "token-2": _before(target, sample.follows, 2),
    }
    for back in (1, 2, 3):
        if back < len(routers):
            columns[f"layer-{back}"] = _states(sample, routers[-1 - back])
    if (sample.token >= 0).any():
        columns["token id"] = sample.token.astype(np.int64)
    keep = (target >= 0) & _few_enough(sample)
    return TokenRows(
        target[keep],
        routers[-1].alphabet.size,
        sample.group[keep],
        {name: column[keep] for name, column in columns.items()},
        sample.groups,
    )


def _few_enough(sample: Sample) -> NDArray[np.bool_]:
    """Which rows to take: whole documents by a hash of their number, or the beginnings of all where they are few."""
    every = -(-len(sample) // MOST_ROWS)
    if every < 2:
        return np.ones(len(sample), bool)
    share = np.uint64((1 << 31) // every)
    kept = sample.document.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33) < share
    if len(np.unique(sample.document[kept])) >= min(FEW_DOCUMENTS, len(np.unique(sample.document))):
        return np.asarray(kept)
    _, first, length = np.unique(sample.document, return_index=True, return_counts=True)
    place = np.arange(len(sample)) - np.repeat(first, length)
    return np.asarray(place < np.repeat(-(-length // every), length))


def _states(sample: Sample, router: Router) -> NDArray[np.int64]:
    """States ``[row]``, −1 where missing."""
    states = sample.columns[router.name].astype(np.int64)
    return np.where(states < router.alphabet.size, states, -1)


def _before(states: NDArray[np.int64], follows: NDArray[np.bool_], back: int) -> NDArray[np.int64]:
    """The state `back` tokens earlier in the same document; −1 where there is none."""
    known = follows.copy()
    for step in range(1, back):
        known[step:] &= follows[:-step]
        known[:step] = False
    earlier = np.concatenate([np.full(back, -1), states[:-back]])[: len(states)]
    return np.where(known, earlier, -1)
