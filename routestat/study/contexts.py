"""Contexts: how well each predicts a layer's choice on held-out documents, and the order of the chain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
from routestat.inference.smoothing.held_out import HeldOut, held_out
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router


@dataclass(frozen=True)
class ContextSpec:
    """One context that a choice is predicted from.

    Attributes
    ----------
    name : str
        In results.json.
    columns : tuple of str
        The variables of the context, in the order in which back-off adds them.
    words : str
        For tables and legends, after "given".
    shorter : str
        The context that it is compared with: the longest shorter one of its kind; empty for the empty context.
    subject : str
        What it adds to `shorter`, as the subject of a sentence; empty if no sentence reports it in this way.
    """

    name: str
    columns: tuple[str, ...]
    words: str
    shorter: str = ""
    subject: str = ""

    @property
    def nested(self) -> list[tuple[str, ...]]:
        """The contexts that back-off passes through, the empty one first."""
        return [self.columns[:n] for n in range(len(self.columns) + 1)]

    @property
    def n_layers(self) -> int:
        """How many earlier layers the context has."""
        return sum(column.startswith("layer-") for column in self.columns)

    @property
    def has_tokens(self) -> bool:
        """Whether the context has an earlier token or the token id."""
        return any(column.startswith("token") for column in self.columns)


_SPECS = (
    ContextSpec("nothing", (), "nothing"),
    ContextSpec("layer-1", ("layer-1",), "layer before", "nothing"),
    ContextSpec(
        "layer-2,layer-1", ("layer-1", "layer-2"), "two layers before", "layer-1",
        "the layer two before",
    ),
    ContextSpec(
        "layer-3,layer-2,layer-1", ("layer-1", "layer-2", "layer-3"), "three layers before", "layer-2,layer-1",
        "the layer three before",
    ),
    ContextSpec(
        "layer-4,layer-3,layer-2,layer-1", ("layer-1", "layer-2", "layer-3", "layer-4"), "four layers before",
        "layer-2,layer-1", "the pair of layers three and four before",
    ),
    ContextSpec("token-1", ("token-1",), "token before", "nothing"),
    ContextSpec(
        "token-2,token-1", ("token-1", "token-2"), "two tokens before", "token-1",
    ),
    ContextSpec(
        "layer-1,token-1", ("layer-1", "token-1"), "layer and token before", "layer-1",
    ),
    ContextSpec("token id", ("token id",), "token id", "nothing"),
    ContextSpec("token id,layer-1", ("layer-1", "token id"), "token id, layer before", "token id"),
    ContextSpec(
        "token id,layer-1,token-1", ("layer-1", "token id", "token-1"), "token id, layer and token before",
        "token id,layer-1",
    ),
)  # fmt: skip
#: All contexts by name, in the order of tables and legends.
CONTEXTS: Mapping[str, ContextSpec] = {spec.name: spec for spec in _SPECS}


def context_spec(name: str) -> ContextSpec:
    """Return the description of a context, made from its name if it is not in `CONTEXTS`."""
    if name in CONTEXTS:
        return CONTEXTS[name]
    columns = tuple(name.split(","))[::-1]
    shorter = [spec for spec in CONTEXTS.values() if set(spec.columns) < set(columns)]
    return ContextSpec(name, columns, name, max(shorter, key=lambda spec: len(spec.columns)).name)


#: The contexts of the chain over layers and over tokens, by order.
OVER_LAYERS = ("nothing", "layer-1", "layer-2,layer-1")
OVER_TOKENS = ("nothing", "token-1", "token-2,token-1")
#: More rows hardly narrow the intervals, and take a second per layer for every 200,000.
MOST_ROWS = 500_000
#: Intervals come from documents: below so many, the beginnings of all are taken instead of fewer documents.
FEW_DOCUMENTS = 64
#: Resampled tables of the order test, and the widest alphabet for which they are drawn.
RESAMPLES, MOST_REDRAWN = 99, 64


@dataclass(frozen=True)
class LayerMemory:
    """Held-out scores of every context for one router.

    Attributes
    ----------
    target : Router
    scores : HeldOut
        By the names of `CONTEXTS`, those whose columns the trace has.
    over_layers, over_tokens : OrderChoice
    forward_code_gains : tuple of float
        Code length gained by each order over layers over the order below, in nats, on a forward pass through the
        groups.
    tests, clustered : OrderTests, StratifiedIndependence, optional
        Order 2 against order 1 over layers, with tokens and with documents as the units; None for the first two
        routers and in the expert view.
    known : mapping of context to float
        Share of the tokens whose whole context is known; the others are predicted from a shorter one. Empty in the
        expert view.
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
        """Return the held-out log loss in bits per token."""
        return ratio(self.scores.bits[context], self.scores.tokens)


def score_contexts(
    sample: Sample,
    routers: Sequence[Router],
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> tuple[LayerMemory, ...]:
    """Score all contexts of every router of the state view on held-out groups.

    Parameters
    ----------
    sample : Sample
        Whole documents.
    routers : sequence of Router
        In order of depth.
    rng : numpy.random.Generator
        For resampled tables; each router has its own stream.
    tick : callable(what, done, total)
    threads : int, optional
    """
    # Contexts are counted group by group: the rows are put into this order once for all routers.
    order = np.argsort(sample.group, kind="stable")

    def one(place: int, own: np.random.Generator) -> LayerMemory:
        return _of_layer(sample, order, routers[: place + 1], own)

    jobs = [partial(one, place, own) for place, own in enumerate(rng.spawn(len(routers)))]
    return in_threads(jobs, threads, tick, "measuring the memory")


def _of_layer(
    sample: Sample, order: NDArray[np.intp], routers: Sequence[Router], rng: np.random.Generator
) -> LayerMemory:
    rows = _rows(sample, order, routers)
    known_contexts = {
        name: spec for name, spec in CONTEXTS.items() if all(one in rows.columns for one in spec.columns)
    }
    over_layers = [name for name in OVER_LAYERS if name in known_contexts]
    nested = {name: spec.nested for name, spec in known_contexts.items()}
    scores = held_out(rows, nested, forward=over_layers)
    lengths = [float(scores.forward_bits[name].sum()) * float(np.log(2.0)) for name in over_layers]
    tests = clustered = None
    if len(routers) > 2:
        strata = count_strata(sample, routers[-3], routers[-1], routers[-2])
        clusters = len(np.unique(sample.cluster))
        resamples = RESAMPLES if rows.n_targets <= MOST_REDRAWN else 0
        tests, clustered = order_tests(strata, clusters, rng, resamples=resamples), clustered_order(strata)
    known = {name: _share_known(rows, spec.columns) for name, spec in known_contexts.items()}
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


def _share_known(rows: TokenRows, names: Sequence[str]) -> float:
    """Return the share of tokens whose whole context is known."""
    if not len(rows):
        return float("nan")
    return float(np.all([rows.columns[name] >= 0 for name in names], axis=0).mean()) if names else 1.0


def _choice(scores: HeldOut, names: Sequence[str], known: Mapping[str, float]) -> OrderChoice:
    """Choose the order; None where no token has any of the longer contexts."""
    choice = choose_order([scores.bits[name] for name in names], scores.tokens)
    scored = [name for name in names[1:] if known[name] > 0]
    return choice if scored or len(names) < 2 else replace(choice, chosen=None)


def _rows(sample: Sample, order: NDArray[np.intp], routers: Sequence[Router]) -> TokenRows:
    """Collect the target states and the columns of all contexts in this order of rows, with −1 where unknown."""
    target = _states(sample, routers[-1])
    columns = {
        "token-1": _before(target, sample.follows, 1),
        "token-2": _before(target, sample.follows, 2),
    }
    for back in (1, 2, 3):
        if back < len(routers):
            columns[f"layer-{back}"] = _states(sample, routers[-1 - back])
    if (sample.token >= 0).any():
        columns["token id"] = sample.token
    keep = ((target >= 0) & _few_enough(sample))[order]
    kept = order if keep.all() else order[keep]
    return TokenRows(
        target[kept],
        routers[-1].alphabet.size,
        sample.group[kept],
        {name: column[kept] for name, column in columns.items()},
        sample.groups,
    )


def _few_enough(sample: Sample) -> NDArray[np.bool_]:
    """Select rows ``[row]``: whole documents by a hash of their number, or the beginnings of all if they are few."""
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


def _states(sample: Sample, router: Router) -> NDArray[np.signedinteger]:
    """Return the states ``[row]``, −1 where missing."""
    states = sample.columns[router.name]
    # Half the memory of 64 bits, and what the counts of contexts take.
    kind: type[np.signedinteger] = np.int32 if states.itemsize < np.int32().itemsize else np.int64
    signed: NDArray[np.signedinteger] = states.astype(kind)
    signed[states >= router.alphabet.size] = -1
    return signed


def _before(
    states: NDArray[np.signedinteger], follows: NDArray[np.bool_], back: int
) -> NDArray[np.signedinteger]:
    """Return the state `back` tokens earlier in the same document ``[row]``, −1 where there is none."""
    known = follows.copy()
    for step in range(1, back):
        known[step:] &= follows[:-step]
        known[:step] = False
    earlier = np.full_like(states, -1)
    earlier[back:][known[back:]] = states[:-back][known[back:]]
    return earlier
