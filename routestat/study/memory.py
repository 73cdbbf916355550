"""How long the memory is: over layers, over tokens, and how far the chain's own steps carry."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample
from routestat.counting.further_tables import count_further_tables
from routestat.counting.predictor_scores import SUMS
from routestat.forecast import catalogue
from routestat.forecast.scores import PredictionScore
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.markov.homogeneity import Homogeneity, homogeneity
from routestat.inference.markov.horizons import Horizons, horizons
from routestat.inference.markov.order_selection import choose_order
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.inference.smoothing.held_out import HeldOut
from routestat.study.contexts import MOST_ROWS, OVER_LAYERS, OVER_TOKENS, LayerMemory, score_contexts
from routestat.study.decomposition import Tick
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

FARTHEST = 8


@dataclass(frozen=True)
class Memory:
    """How far the past reaches.

    Attributes
    ----------
    layers : tuple of LayerMemory
        One per router, in order of depth.
    horizons, homogeneity : Horizons or None, Homogeneity or None
        How far the chain of order 1 holds, and whether the gaps are alike; None in the expert view.
    note : str
        What part of the trace the log losses rest on; empty if all.
    reason : str
        Why something is None; empty if nothing is.
    """

    layers: tuple[LayerMemory, ...]
    horizons: Horizons | None
    homogeneity: Homogeneity | None
    note: str = ""
    reason: str = ""

    @property
    def orders(self) -> tuple[int, ...]:
        """The chosen order over layers of every gap; 1 where there are too few groups to choose."""
        chosen = (item.over_layers.chosen for item in self.layers[1:])
        return tuple(1 if order is None else order for order in chosen)

    @property
    def strengths(self) -> tuple[BackoffParameters | None, ...]:
        """Of the back-off from two layers to one, of every gap, between those of the two halves of the documents."""
        found: list[BackoffParameters | None] = []
        for item in self.layers[1:]:
            halves = item.scores.fitted.get(OVER_LAYERS[2], ())
            middle = (
                [
                    float(np.exp(np.mean(np.log([half.strength for half in halves])))),
                    float(np.mean([half.discount for half in halves])),
                ]
                if halves
                else []
            )
            found.append(BackoffParameters(*middle) if middle else None)
        return tuple(found)

    @property
    def compared(self) -> tuple[LayerMemory, ...]:
        """The layers with tokens that have all contexts of the deepest such: means over them compare like with like."""
        # A layer without tokens, which has no scores, would leave all means undefined.
        scored = [item for item in self.layers if np.isfinite(item.log_loss("nothing").value)] or self.layers
        every = max((set(item.scores.bits) for item in scored), key=len, default=set())
        return tuple(item for item in scored if every <= set(item.scores.bits))

    def mean_log_loss(self, context: str) -> Estimate:
        """Held-out bits per token over the `compared` layers, with the documents' interval."""
        bits, tokens = self._sums(context)
        return ratio(bits, tokens)

    def mean_gain(self, context: str, over: str) -> Estimate:
        """By how many bits per token `context` foretells more than `over`, paired, over the `compared` layers."""
        more, tokens = self._sums(context)
        return ratio(self._sums(over)[0] - more, tokens)

    def _sums(self, context: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        known = [item.scores for item in self.compared]
        return np.sum([one.bits[context] for one in known], axis=0), np.sum(
            [one.tokens for one in known], axis=0
        )


def measure_memory(
    trace: Trace,
    counts: Counts,
    sample: Sample,
    board: Sequence[PredictionScore],
    rng: np.random.Generator,
    tick: Tick = lambda what, done, total: None,
) -> Memory:
    """Measure the memory of a trace.

    Parameters
    ----------
    trace : Trace
        Read again for layers that are no neighbours.
    counts : Counts
        With ``Context.layer(1)``.
    sample : Sample
        Whole documents of it.
    board : sequence of PredictionScore
        Of the expert view, whose factorised chains are compared; not used in the state view.
    rng : numpy.random.Generator
        For resampled tables.
    """
    if counts.states == "expert":
        why = "the expert view's chain walks experts, not states: there is no product of its steps to compare with"
        return Memory(_of_board(board, counts.routers), None, None, reason=why)
    layers = score_contexts(sample, counts.routers, rng, tick)
    kept = float(layers[0].scores.tokens.sum()) if layers else 0.0
    note = sample.note
    if len(sample) > MOST_ROWS:
        note = f"on {kept:,.0f} tokens: documents taken at random, or the beginnings of all if they are few"
    if len(counts.routers) < 2:
        return Memory(layers, None, None, note, "one layer: there is no gap")
    steps = [counts.table(Context.layer(1), router) for router in counts.routers[1:]]
    numbers = [router.layer for router in counts.routers[:-1]]
    # Routers of one layer have no numbers of their own: their steps are told apart by place.
    even = homogeneity(steps, layers=numbers if len(set(numbers)) == len(numbers) else None)
    if len(steps) < 2:
        return Memory(layers, None, even, note, "two layers are never more than one step apart")
    return Memory(layers, _horizons(trace, counts, steps, tick), even, note)


def _horizons(trace: Trace, counts: Counts, steps: list[NDArray], tick: Tick) -> Horizons:
    farthest = min(FARTHEST, len(steps))
    # In the order in which `horizons` asks for them, so that none has to be kept.
    pairs = [
        (start, end)
        for start in range(len(steps))
        for end in range(start + 2, min(start + farthest, len(steps)) + 1)
    ]
    tables = zip(
        pairs,
        count_further_tables(
            trace,
            counts,
            [(Context.layer(end - start), counts.routers[end]) for start, end in pairs],
            progress=lambda done, total: tick("counting layers further on", done, total),
        ),
        strict=True,
    )

    def direct(start: int, end: int) -> NDArray:
        pair, table = next(tables)
        if pair != (start, end):
            raise ValueError(f"tables come in the order of {pair}, not of {(start, end)}")
        return table

    return horizons(
        steps,
        direct,
        farthest=farthest,
        progress=lambda done, total: tick("following the chain", done, total),
    )


def _of_board(board: Sequence[PredictionScore], routers: Sequence[Router]) -> tuple[LayerMemory, ...]:
    """The memory of factorised chains, from their scores on the same tokens."""
    bits, tokens = SUMS.index("bits"), SUMS.index("tokens")
    found = []
    for place, router in enumerate(routers):
        sums = {score.predictor: score.sums for score in board if score.router == router.name}
        # Where there are not so many layers before, a longer one is the shorter one again.
        known = {
            name: sums[scored]
            for name, scored in catalogue.memory_models().items()
            if scored in sums and name.count("layer-") <= place
        }
        if not known:
            continue
        scores = HeldOut({name: one[:, bits] for name, one in known.items()}, {}, known["nothing"][:, tokens])
        over = [
            choose_order([scores.bits[name] for name in names if name in known], scores.tokens)
            for names in (OVER_LAYERS, OVER_TOKENS)
        ]
        found.append(LayerMemory(router, scores, over[0], over[1], ()))
    return tuple(found)
