"""Contexts: how well each predicts a layer's choice on held-out documents, and the order of the chain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import numpy as np

from routestat.counting.board_rows import BoardRows
from routestat.counting.document_sample import Sample
from routestat.counting.strata import count_strata
from routestat.forecast.catalogue import predictors
from routestat.forecast.contexts import ContextFit, columns_of, fit_contexts
from routestat.forecast.specification import BoardPlan
from routestat.inference.association.stratified import StratifiedIndependence
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.markov.order_score_test import clustered_order
from routestat.inference.markov.order_selection import OrderChoice, choose_order
from routestat.inference.markov.order_tests import OrderTests, order_tests
from routestat.inference.smoothing.held_out import HeldOut
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
    return ContextSpec(name, columns, _words(columns), max(shorter, key=lambda spec: len(spec.columns)).name)


def _words(columns: tuple[str, ...]) -> str:
    """Return words for variables: those of the context that has the same ones, or one after the other."""
    same = (spec.words for spec in CONTEXTS.values() if set(spec.columns) == set(columns))
    return next(same, ", ".join(_variable(column) for column in reversed(columns)))


def _variable(column: str) -> str:
    kind, _, back = column.partition("-")
    if not back:
        return kind
    return f"{kind} before" if back == "1" else f"{kind} {back} before"


#: The contexts of the chain over layers and over tokens, by order.
OVER_LAYERS = ("nothing", "layer-1", "layer-2,layer-1")
OVER_TOKENS = ("nothing", "token-1", "token-2,token-1")
#: The contexts of the state view's memory, those whose variables a trace has: none looks four layers back.
STATE_CONTEXTS = tuple(name for name, spec in CONTEXTS.items() if "layer-4" not in spec.columns)
#: More rows hardly narrow the intervals, and take a second per layer for every 200,000.
MOST_ROWS = 500_000
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


def fit_for_study(
    rows: BoardRows, plan: BoardPlan, *, memory: bool = True, board: bool = True, tick: Tick = silent
) -> tuple[ContextFit, ...]:
    """Fit the contexts of the memory, of the board, or of both: what both have is fitted once.

    Parameters
    ----------
    rows : BoardRows
        Of the state view.
    plan : BoardPlan
    memory, board : bool
    tick : callable(what, done, total)
    """
    scored = columns_of(rows, predictors(plan), plan) if board else {}
    wanted = {name: CONTEXTS[name].columns for name in STATE_CONTEXTS} if memory else {}
    names = {columns: name for name, columns in wanted.items()}
    # One name for each context: that of the memory, where it has the context.
    scored = {names.get(columns, name): columns for name, columns in scored.items()}
    forward = OVER_LAYERS if memory else ()
    return fit_contexts(rows, wanted | scored, scored=scored, forward=forward, plan=plan, tick=tick)


def score_contexts(
    fits: Sequence[ContextFit],
    sample: Sample,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> tuple[LayerMemory, ...]:
    """Compare the contexts of every router of the state view, and test the order of the chain.

    Parameters
    ----------
    fits : sequence of ContextFit
        One of each router, in order of depth, with the contexts of the memory.
    sample : Sample
        Whole documents.
    rng : numpy.random.Generator
        For resampled tables; each router has its own stream.
    tick : callable(what, done, total)
    threads : int, optional
    """
    routers = [fit.target for fit in fits]
    jobs = [
        partial(_of_layer, fit, sample, routers[: place + 1], own)
        for place, (fit, own) in enumerate(zip(fits, rng.spawn(len(fits)), strict=True))
    ]
    return in_threads(jobs, threads, tick, "measuring the memory")


def _of_layer(
    fit: ContextFit, sample: Sample, routers: Sequence[Router], rng: np.random.Generator
) -> LayerMemory:
    names = [name for name in STATE_CONTEXTS if name in fit.columns]
    over_layers = [name for name in OVER_LAYERS if name in names]
    bits, forward = fit.scores.bits, fit.scores.forward_bits
    scores = replace(
        fit.scores,
        bits={name: bits[name] for name in names},
        fitted={name: fit.scores.fitted[name] for name in names if name in fit.scores.fitted},
    )
    lengths = [float(forward[name].sum()) * float(np.log(2.0)) for name in over_layers]
    tests = clustered = None
    if len(routers) > 2:
        strata = count_strata(sample, routers[-3], routers[-1], routers[-2])
        clusters = len(np.unique(sample.cluster))
        resamples = RESAMPLES if routers[-1].alphabet.size <= MOST_REDRAWN else 0
        tests, clustered = order_tests(strata, clusters, rng, resamples=resamples), clustered_order(strata)
    known = {name: fit.known[name] for name in names}
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


def _choice(scores: HeldOut, names: Sequence[str], known: Mapping[str, float]) -> OrderChoice:
    """Choose the order; None where no token has any of the longer contexts."""
    choice = choose_order([scores.bits[name] for name in names], scores.tokens)
    scored = [name for name in names[1:] if known[name] > 0]
    return choice if scored or len(names) < 2 else replace(choice, chosen=None)
