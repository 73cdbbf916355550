"""Scores of predictors that are linear in the experts of their sources.

In the state view scores follow from the tables. In the expert view a prediction depends on all experts of all sources
jointly, so a second pass scores the predictors, fitted from the `moments` of a first one, into one small additive
table of sums per group, each with weights fitted without that group.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.distributed import TraceOnWorkers
from routestat.counting.expert_batches import ExpertBatch, Source, feed_expert_batches, missing_of
from routestat.counting.kernels.predictors import complete_rows, score_predictions
from routestat.progress import Progress
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: Columns of the sums, in order.
SUMS = ("tokens", "exact_set", "recall_at_k", "hit_rate", "top1_hit", "recall_at_2k", "bits")
LINKS = {"rank": 0, "inclusion": 1, "log-weight": 2}


@dataclass(frozen=True, slots=True)
class LinearPredictor:
    """A predictor that scores expert j of `target` by ``bias[fold, j] + Σ weights[fold, feature, j]``.

    The sum runs over a token's features: the experts of all sources, numbered consecutively.

    Attributes
    ----------
    name : str
    target : Router
    sources : tuple of (Router, lag in tokens)
        If empty, the score is the bias.
    bias : float array ``[fold, j]``
    weights : float array ``[fold, feature, j]``
    link : {"rank", "inclusion", "log-weight"}
        Meaning of a score: a rank, a probability of inclusion, a log weight of the conditional Bernoulli distribution.
    fallback : LinearPredictor, optional
        Predicts for the tokens that lack one of the sources (a document's first token has no previous one; a choice
        is missing); without it they are left out.
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
        """The predictor, its fallback, the fallback of that, and so on."""
        at: LinearPredictor | None = self
        while at is not None:
            yield at
            at = at.fallback


def count_decisions(
    trace: Trace,
    predictors: Sequence[LinearPredictor],
    folds: NDArray[np.int64],
    threads: int | None = None,
    progress: Progress | None = None,
) -> Mapping[tuple[str, str], NDArray[np.float64]]:
    """Return the sums ``[group, SUMS]`` of every predictor, keyed by (name, target router name).

    Parameters
    ----------
    trace : Trace
    predictors : sequence of LinearPredictor
        A fallback without sources predicts for all remaining tokens, so that all predictors of a
        target are scored on the same tokens.
    folds : int array ``[group]``
        The fold whose fit scores each group; a document's group is its number modulo the length.
    threads : int, optional
    progress : callable(rows_done, rows_in_all), optional
    """
    if isinstance(trace, TraceOnWorkers):
        of_part = partial(count_decisions, predictors=predictors, folds=folds, threads=1)
        return trace.over_parts(of_part, _added, progress)
    predicted: dict[str, _Scores] = {}
    for predictor in predictors:
        own = predicted.setdefault(predictor.target.name, _Scores(predictor.target, folds))
        own.add(predictor)
    sources = [s for predictor in predictors for p in predictor.answering for s in p.sources]
    routers = [*(p.target for p in predictors), *(router for router, _ in sources)]
    reach = max((lag for _, lag in sources), default=0)
    tasks = list(predicted.values())
    feed_expert_batches(trace, routers, reach, len(folds), tasks, _Scores.feed, threads, progress)
    return {
        (predictor.name, predictor.target.name): predicted[predictor.target.name].sums[predictor.name]
        for predictor in predictors
    }


def _added(
    first: Mapping[tuple[str, str], NDArray[np.float64]],
    second: Mapping[tuple[str, str], NDArray[np.float64]],
) -> Mapping[tuple[str, str], NDArray[np.float64]]:
    return {key: sums + second[key] for key, sums in first.items()}


class _Scores:
    """The sums of the predictors of one target, which share the features of their sources."""

    def __init__(self, target: Router, folds: NDArray[np.int64]) -> None:
        self.target, self.folds = target, folds
        self.sums: dict[str, NDArray[np.float64]] = {}
        self._predictors: list[LinearPredictor] = []
        # Of log weights: of a predictor that is the fallback of several, once.
        self._factors: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def add(self, predictor: LinearPredictor) -> None:
        self._predictors.append(predictor)
        self.sums[predictor.name] = np.zeros((len(self.folds), len(SUMS)))
        for p in predictor.answering:
            if id(p) not in self._factors:
                log = p.link == "log-weight"
                # What overflows is scored from its logarithms.
                with np.errstate(over="ignore"):
                    self._factors[id(p)] = (np.exp(p.bias), np.exp(p.weights)) if log else (p.bias, p.weights)

    def feed(self, piece: ExpertBatch) -> None:
        target, runs = piece.columns[self.target.name], piece.runs
        # Runs of one fold after the other, so that its weights stay in the cache.
        order = np.argsort(self.folds[runs.groups], kind="stable")
        where = (
            runs.starts[order],
            runs.stops[order],
            runs.groups[order],
            piece.first,
            missing_of(self.target),
        )
        rows, group = np.empty(len(target), np.int64), np.empty(len(target), np.int64)
        features: dict[tuple[Source, ...], NDArray[np.int32]] = {}
        for predictor in self._predictors:
            waiting = np.ones(len(target), np.bool_)
            for p in predictor.answering:
                if p.sources not in features:
                    features[p.sources] = piece.features(p.sources)
                x = features[p.sources]
                n = complete_rows(x, target, *where, waiting, rows, group)
                score_predictions(
                    rows[:n], group[:n], self.folds, x, target, p.bias, p.weights, *self._factors[id(p)],
                    LINKS[p.link], self.sums[predictor.name],
                )  # fmt: skip
