"""Predictors that are linear in the experts of their sources: what they are fitted from, and how right they are.

In the state view both follow from the tables. In the expert view a decision depends on all experts of all sources
together, so a first pass counts how often they go together, per fold of documents, and a second one scores the
predictors into one small additive table of sums per group, each with weights that were fitted without it.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.counting.gram import expert_rows
from routestat.counting.kernels import add_moments, decide, line_up, temper
from routestat.counting.runs import Runs, Tail, find_runs
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: Columns of the sums, in order.
SUMS = ("tokens", "exact_set", "recall_at_k", "hit_rate", "top1_hit", "recall_at_2k", "bits")
LINKS = {"rank": 0, "inclusion": 1, "log-weight": 2}
#: Tokens kept as they are, to fit the few numbers that tables of pairs cannot say.
SAMPLE = 4096
_GOLDEN = (5**0.5 - 1) / 2

#: A router, and how many tokens back its choice is read.
Source = tuple[Router, int]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LinearPredictor:
    """Scores the experts of `target` by ``bias[fold, j] + Σ weights[fold, feature, j]`` over a token's features.

    Features are the experts of the sources, numbered through: those of the first source, then of the second, …

    Attributes
    ----------
    name : str
    target : Router
    sources : tuple of (Router, lag in tokens)
        None at all: the bias alone decides.
    bias : float array ``[fold, j]``
    weights : float array ``[fold, feature, j]``
    link : {"rank", "inclusion", "log-weight"}
        What a score is: an order only, a probability of inclusion, a log weight of the conditional-Bernoulli law.
    fallback : LinearPredictor, optional
        Answers for the tokens that lack one of the sources (a document's first token has no previous one; a choice
        is missing); with none they are left out.
    """

    name: str
    target: Router
    sources: tuple[Source, ...]
    bias: NDArray[np.float64]
    weights: NDArray[np.float64]
    link: str
    fallback: "LinearPredictor | None" = None

    @property
    def answering(self) -> Iterator["LinearPredictor"]:
        """This predictor, its fallback, the fallback of that, …"""
        at: LinearPredictor | None = self
        while at is not None:
            yield at
            at = at.fallback


@dataclass(frozen=True, slots=True)
class Design:
    """What a family of predictors of `target` may look at: its `sources`, in order."""

    target: Router
    sources: tuple[Source, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where the features of each source begin, and where the last ones end."""
        return tuple(np.cumsum([0, *(router.n_experts for router, _ in self.sources)]).tolist())


@dataclass(frozen=True, slots=True)
class Moments:
    """How often the features of a design go together, per fold, over the tokens that have them all.

    Attributes
    ----------
    design : Design
    within : int array ``[fold, feature, feature]``
        Tokens with both; symmetric, each feature's own tokens on the diagonal.
    across : int array ``[fold, feature, j]``
        Tokens with the feature whose target has expert j.
    features, targets, folds : int arrays ``[row, slot]``, ``[row, k]``, ``[row]``
        Some of those tokens, evenly spread over the trace, as they are.
    """

    design: Design
    within: NDArray[np.unsignedinteger]
    across: NDArray[np.unsignedinteger]
    features: NDArray[np.int32]
    targets: NDArray[np.int64]
    folds: NDArray[np.int64]


def count_moments(
    trace: Trace,
    designs: Sequence[Design],
    folds: NDArray[np.int64],
    *,
    sample: int = SAMPLE,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Moments]:
    """Count every design in one pass: Σ (slots² / 2 + slots · k) additions a token.

    Tables take 4 · folds · Σ features · (features + experts) bytes.

    Parameters
    ----------
    trace : Trace
    designs : sequence of Design
    folds : int array ``[group]``
        A document's group is its number modulo the length.
    sample : int
        About how many tokens to keep as they are; all if there are no more.
    threads : int, optional
    progress : callable(rows_done, rows_in_all), optional
    """
    share = min(1.0, sample / max(trace.n_tokens, 1))
    dtype = np.dtype(np.uint32 if trace.n_tokens < 1 << 32 else np.uint64)
    tasks = [_MomentTask.make(design, int(folds.max()) + 1, dtype) for design in designs]

    def feed(task: "_MomentTask", piece: _Piece) -> None:
        task.feed(piece, folds, share)

    routers = [r for d in designs for r in (d.target, *(router for router, _ in d.sources))]
    reach = max((lag for d in designs for _, lag in d.sources), default=0)
    _run(trace, routers, reach, len(folds), tasks, feed, threads, progress)
    return [task.finished() for task in tasks]


def count_decisions(
    trace: Trace,
    predictors: Sequence[LinearPredictor],
    folds: NDArray[np.int64],
    threads: int | None = None,
    progress: Progress | None = None,
) -> Mapping[tuple[str, str], NDArray[np.float64]]:
    """Sums ``[group, SUMS]`` of every predictor, keyed by (name, target router name).

    Parameters
    ----------
    trace : Trace
    predictors : sequence of LinearPredictor
        A fallback that needs no source at all answers whatever the others cannot, so that all predictors of a
        target are scored on the same tokens.
    folds : int array ``[group]``
        Which fitted fold scores each group; a document's group is its number modulo the length.
    threads : int, optional
    progress : callable(rows_done, rows_in_all), optional
    """
    tasks = [(predictor, np.zeros((len(folds), len(SUMS)))) for predictor in predictors]
    sources = [s for predictor in predictors for p in predictor.answering for s in p.sources]
    routers = [*(p.target for p in predictors), *(router for router, _ in sources)]
    reach = max((lag for _, lag in sources), default=0)
    _run(trace, routers, reach, len(folds), tasks, partial(_score, folds=folds), threads, progress)
    return {(predictor.name, predictor.target.name): sums for predictor, sums in tasks}


def tempered_likelihood(
    moments: Moments,
    models: NDArray[np.int64],
    parts: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
    exponents: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Log likelihood of the sampled tokens in nats ``[model]``, its slope ``[model, part]`` and minus its curvature.

    Parameters
    ----------
    moments : Moments
    models : int array ``[row]``
        The model that each sampled token is scored by.
    parts
        What log weights are made of: ``base[model, j]``; ``bias[name, model, j]``, ``weights[name, model, feature,
        j]``; and for each further part ``spans[part, (name, first slot, slot to stop at)]``, the features it takes.
    exponents : float array ``[model, 1 + part]``
        What the parts are multiplied by.
    """
    n, c = exponents.shape
    value, slope, curve = np.zeros(n), np.zeros((n, c)), np.zeros((n, c, c))
    temper(moments.features, moments.targets, models, *parts, exponents, value, slope, curve)
    return value, slope, curve


@dataclass(frozen=True, slots=True)
class _Piece:
    """The rows of a batch as expert rows, after the last rows of the batch before: those are context only."""

    columns: dict[str, NDArray]
    runs: Runs
    first: int
    row: int

    def features(self, sources: Sequence[Source]) -> NDArray[np.int32]:
        """Features ``[row, slot]`` of the sources, −1 where there is none."""
        rows = len(next(iter(self.columns.values())))
        out = np.empty((rows, sum(router.top_k for router, _ in sources)), np.int32)
        slot = offset = 0
        for router, lag in sources:
            here = out[:, slot : slot + router.top_k]
            line_up(
                self.columns[router.name],
                self.runs.starts,
                self.runs.stops,
                lag,
                _missing(router),
                offset,
                here,
            )
            slot, offset = slot + router.top_k, offset + router.n_experts
        return out


def _missing(router: Router) -> int:
    return int(np.iinfo(router.alphabet.expert_dtype).max)


def _run(
    trace: Trace,
    routers: Sequence[Router],
    reach: int,
    groups: int,
    tasks: Sequence[Any],
    feed: Callable[..., None],
    threads: int | None,
    progress: Progress | None,
) -> None:
    """Feed every piece of the trace to every task; no task is touched by two threads at once."""
    chosen = {router.name: router for router in routers}
    tail, done = Tail.empty(), 0
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for batch in trace.batches(list(chosen)) if chosen else ():
            first = len(tail.document)
            whole = tail.seam(batch, len(batch)) if first else batch
            rows = pool.map(expert_rows, (whole.columns[n] for n in chosen), chosen.values())
            columns = dict(zip(chosen, rows, strict=True))
            runs = find_runs(whole.document, whole.position, trace.meta.window, groups)
            list(pool.map(partial(feed, piece=_Piece(columns, runs, first, done)), tasks))
            tail = tail.after(batch, reach) if reach else tail
            done += len(batch)
            if progress is not None:
                progress(done, trace.n_tokens)


def _score(task: tuple[LinearPredictor, NDArray], piece: _Piece, folds: NDArray[np.int64]) -> None:
    predictor, sums = task
    target, runs = piece.columns[predictor.target.name], piece.runs
    where = (runs.starts, runs.stops, runs.groups, folds, piece.first, _missing(predictor.target))
    waiting = np.ones(len(target), np.bool_)
    for p in predictor.answering:
        decide(piece.features(p.sources), target, *where, p.bias, p.weights, LINKS[p.link], waiting, sums)


@dataclass(frozen=True, slots=True)
class _MomentTask:
    """The tables of one design, filled piece by piece, and the rows it keeps."""

    design: Design
    within: NDArray[np.unsignedinteger]
    across: NDArray[np.unsignedinteger]
    kept: list[tuple[NDArray, NDArray, NDArray]] = field(default_factory=list)

    @classmethod
    def make(cls, design: Design, n_folds: int, dtype: np.dtype) -> "_MomentTask":
        features = design.offsets[-1]
        return cls(
            design,
            np.zeros((n_folds, features, features), dtype),
            np.zeros((n_folds, features, design.target.n_experts), dtype),
        )

    def feed(self, piece: _Piece, folds: NDArray[np.int64], share: float) -> None:
        features, target = piece.features(self.design.sources), piece.columns[self.design.target.name]
        runs, missing = piece.runs, _missing(self.design.target)
        fold = folds[runs.groups]
        where = (runs.starts, runs.stops, fold, piece.first, missing)
        add_moments(features, target, *where, self.within, self.across)
        # Multiples of the golden ratio are spread evenly, but beat with no length of documents.
        place = piece.row + np.arange(len(target) - piece.first)
        rows = piece.first + np.flatnonzero((place * _GOLDEN) % 1.0 < share)
        rows = rows[(features[rows] >= 0).all(axis=1) & (target[rows, 0] != missing)]
        of_row = np.empty(len(target), np.int64)
        order = np.argsort(runs.starts)
        of_row[:] = np.repeat(fold[order], (runs.stops - runs.starts)[order])
        self.kept.append((features[rows], target[rows].astype(np.int64), of_row[rows]))

    def finished(self) -> Moments:
        self.within[:] |= np.tril(self.within, -1).swapaxes(1, 2)
        slots = sum(router.top_k for router, _ in self.design.sources)
        empty = (np.empty((0, slots), np.int32), np.empty((0, self.design.target.top_k), np.int64))
        kept = [*self.kept, (*empty, np.empty(0, np.int64))]
        features, targets, folds = (np.concatenate(column) for column in zip(*kept, strict=True))
        for array in (self.within, self.across):
            array.flags.writeable = False
        return Moments(self.design, self.within, self.across, features, targets, folds)
