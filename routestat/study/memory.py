"""Memory: which earlier layers and tokens predict a choice, and how far the chain of order 1 holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, board_rows
from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample, at_most
from routestat.counting.further_tables import count_further_tables
from routestat.counting.score_sums import SUMS
from routestat.forecast import catalogue
from routestat.forecast.contexts import ContextFit
from routestat.forecast.scores import PredictionScore
from routestat.forecast.specification import BoardPlan
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.markov.direct_steps import DirectStep, DirectSteps, fit_direct_step, kept_horizons
from routestat.inference.markov.homogeneity import Homogeneity, homogeneity
from routestat.inference.markov.horizons import Horizons, horizons
from routestat.inference.markov.order_selection import choose_order
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.inference.smoothing.held_out import HeldOut
from routestat.progress import Tick, silent
from routestat.study.contexts import (
    MOST_ROWS,
    OVER_LAYERS,
    OVER_TOKENS,
    LayerMemory,
    context_spec,
    fit_for_study,
    score_contexts,
)
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

FARTHEST = 8


@dataclass(frozen=True)
class Memory:
    """Memory of a trace.

    Attributes
    ----------
    layers : tuple of LayerMemory
        One per router, in order of depth.
    horizons, homogeneity : Horizons or None, Homogeneity or None
        The Chapman–Kolmogorov test, and the test that all steps are alike; None in the expert view.
    direct : mapping of (int, int) to DirectStep
        Transitions between layers that are not adjacent, of the state view, for predictions that look further ahead.
    note : str
        The part of the trace that the log losses use; empty if all of it.
    reason : str
        Why something is None; empty if nothing is.
    """

    layers: tuple[LayerMemory, ...]
    horizons: Horizons | None
    homogeneity: Homogeneity | None
    note: str = ""
    reason: str = ""
    direct: DirectSteps = field(default_factory=dict)

    @property
    def orders(self) -> tuple[int, ...]:
        """The chosen order over layers of every gap; 1 where there are too few groups to choose."""
        chosen = (item.over_layers.chosen for item in self.layers[1:])
        return tuple(1 if order is None else order for order in chosen)

    @property
    def strengths(self) -> tuple[BackoffParameters | None, ...]:
        """Parameters of the back-off from two layers to one, per gap: the mean of those of two halves of documents."""
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
        """The layers that have all contexts, so that means over them are comparable."""
        # A layer without tokens has no scores and would leave all means undefined.
        scored = [item for item in self.layers if np.isfinite(item.log_loss("nothing").value)] or self.layers
        every = max((set(item.scores.bits) for item in scored), key=len, default=set())
        return tuple(item for item in scored if every <= set(item.scores.bits))

    @property
    def context_names(self) -> list[str]:
        """The contexts that all compared layers have."""
        return list(self.compared[-1].scores.bits) if self.compared else []

    def is_known(self, context: str) -> bool:
        """Return whether any token of the compared layers has the context."""
        return any(item.known.get(context) != 0 for item in self.compared)

    def share_known(self, context: str) -> float:
        """Return the share of the tokens of the compared layers that have the context."""
        tokens = [float(item.scores.tokens.sum()) for item in self.compared]
        shares = [item.known.get(context, 1.0) for item in self.compared]
        parts = [(share * n, n) for share, n in zip(shares, tokens, strict=True) if n]
        return sum(part for part, _ in parts) / sum(n for _, n in parts) if parts else float("nan")

    def mean_log_loss(self, context: str) -> Estimate:
        """Return the held-out log loss in bits per token, mean over the `compared` layers."""
        bits, tokens = self._sums(context)
        return ratio(bits, tokens)

    def mean_gain(self, context: str, over: str) -> Estimate:
        """Return the bits per token that `context` saves over the context `over`, paired, on the `compared` layers."""
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
    tick: Tick = silent,
    threads: int | None = None,
    rows: BoardRows | None = None,
    fits: Sequence[ContextFit] = (),
    alpha: str | float = "empirical-bayes",
) -> Memory:
    """Measure the memory of a trace.

    Parameters
    ----------
    trace : Trace
        Read again for layers that are not adjacent.
    counts : Counts
        With ``Context.layer(1)``.
    sample : Sample
        Whole documents.
    board : sequence of PredictionScore
        Of the expert view, whose factorised chains are compared; not used in the state view.
    rng : numpy.random.Generator
        For resampled tables.
    tick : callable(what, done, total)
    threads : int, optional
    rows : BoardRows, optional
        The rows of the sample that contexts are fitted to; by default about `MOST_ROWS` of them.
    fits : sequence of ContextFit
        Of these rows, if they were made already, as `routestat.study.contexts.fit_for_study` makes them.
    alpha : str or float
        Prior of the transitions between layers that are not adjacent.
    """
    if counts.states == "expert":
        why = (
            "the expert view's chain has single experts as states, not subsets: there is no product of its "
            "steps to compare with"
        )
        return Memory(_of_board(board, counts.routers), None, None, reason=why)
    if rows is None:
        rows = board_rows(at_most(sample, MOST_ROWS), counts.routers)
    fits = fits or fit_for_study(rows, BoardPlan(threads=threads), board=False, tick=tick)
    layers = score_contexts(fits, sample, rng, tick, threads)
    note = rows.sample.note
    if len(counts.routers) < 2:
        return Memory(layers, None, None, note, "one layer: there is no gap")
    steps = [counts.table(Context.layer(1), router) for router in counts.routers[1:]]
    numbers = [router.layer for router in counts.routers[:-1]]
    # Two routers of one layer share its number: then steps are numbered by their place.
    even = homogeneity(steps, layers=numbers if len(set(numbers)) == len(numbers) else None)
    if len(steps) < 2:
        return Memory(layers, None, even, note, "two layers are never more than one step apart")
    apart, further = _horizons(trace, counts, steps, alpha, tick, threads)
    return Memory(layers, apart, even, note, direct=further)


def _horizons(
    trace: Trace,
    counts: Counts,
    steps: Sequence[NDArray[np.integer]],
    alpha: str | float,
    tick: Tick,
    threads: int | None,
) -> tuple[Horizons, DirectSteps]:
    """Measure layers several steps apart, and keep the fitted transitions between them."""
    farthest = min(FARTHEST, len(steps))
    # In the order in which `horizons` needs them, so that no table is kept.
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
            threads=threads,
            progress=partial(tick, "counting layers further on"),
        ),
        strict=True,
    )

    further: dict[tuple[int, int], DirectStep] = {}
    kept = kept_horizons([router.alphabet.size for router in counts.routers], farthest)

    def direct(start: int, end: int) -> NDArray[np.integer]:
        pair, table = next(tables)
        if pair != (start, end):
            raise ValueError(f"tables come in the order of {pair}, not of {(start, end)}")
        if end - start <= kept:
            further[pair] = fit_direct_step(table, alpha)
        return table

    found = horizons(
        steps,
        direct,
        farthest=farthest,
        progress=partial(tick, "following the chain"),
        threads=threads,
    )
    return found, further


def _of_board(board: Sequence[PredictionScore], routers: Sequence[Router]) -> tuple[LayerMemory, ...]:
    """Return the memory of factorised chains, from their scores on the same tokens."""
    bits, tokens = SUMS.index("bits"), SUMS.index("tokens")
    found = []
    for place, router in enumerate(routers):
        sums = {
            score.predictor: score.cells.by_group(score.sums)
            for score in board
            if score.router == router.name
        }
        # With fewer layers before the target, a longer context is the shorter one again.
        known = {
            name: sums[predictor]
            for name, predictor in catalogue.memory_models().items()
            if predictor in sums and context_spec(name).n_layers <= place
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
