"""Averages over tokens that were routed alike so far: the engine, for traces with token ids and for those without.

What the two average is in `routestat.forecast.same_id` and `routestat.forecast.same_history`. Their constants are for
each fold those of least log loss on its partner, without either; log weights then are those of the link that is
fitted there (see `routestat.forecast.ridge_link`). A target needs an earlier layer.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.counting.kernels.one_hot import interpolate
from routestat.counting.score_sums import finished, raw_sums, score_matrix
from routestat.forecast.made_scores import made_score
from routestat.forecast.ridge_link import Link, fit_links, plain_link
from routestat.forecast.ridge_search import partners
from routestat.forecast.same_history import LEAST_FOLDS, SameHistory
from routestat.forecast.same_id import SameId
from routestat.forecast.scores import Cost, PredictionScore
from routestat.forecast.specification import BoardPlan, PredictorSpec
from routestat.forecast.token_cache import LEAST, spread
from routestat.progress import Tick, in_threads, limited_threads, silent
from routestat.traces.metadata import Router

#: What the progress of the engine is called.
SCORING = "scoring similar tokens"
#: Choices of a fold's partner that a link is fitted to.
LINK_CHOICES = 1000
#: Numbers of predictions that are held at a time.
_PREDICTIONS = 1 << 24

#: Gives the averages ``[row, expert of any router]`` with some constants.
Averages = Callable[[Mapping[str, float]], NDArray[np.float32]]


class Average(Protocol):
    """What the engine needs of either average."""

    @property
    def tried(self) -> Mapping[str, Sequence[float]]:
        """Return the candidates for each constant; the first is where the search begins."""

    @property
    def trial_rows(self) -> int:
        """Return how many rows of a partner constants are chosen on."""

    @property
    def note(self) -> str:
        """Return what a reader has to know."""

    def without(self, out: Sequence[int], fold: int) -> AbstractContextManager[None]:
        """Leave out folds, as `fold` is scored."""

    def prepared(self, rows: NDArray[np.int64]) -> Averages:
        """Return the averages of some rows."""

    def cost(self, target: Router) -> tuple[int, float]:
        """Return stored numbers and multiply-adds per token."""


def score_similar_tokens(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan, tick: Tick = silent
) -> list[PredictionScore]:
    """Score the average over similar tokens: the engine of `SimilarTokensForm`.

    Arguments are those of every engine (`routestat.forecast.board.Engine`).

    Returns
    -------
    list of PredictionScore
        Of all targets but the first layer. Empty where nothing can be held out, and unless the plan has `similar`.
    """
    if not plan.similar or rows.n_folds < 2 or len(rows.routers) < 2:
        return []
    if not rows.has_token_ids and rows.n_folds < LEAST_FOLDS:
        return []
    with limited_threads(plan.threads, plan.threads or os.cpu_count()):
        begin = time.perf_counter()
        average: Average = SameId(rows, plan) if rows.has_token_ids else SameHistory(rows, plan)
        stage = _Stage(rows, average, plan, specs)
        return stage.scores(tick, begin)


class _Stage:
    """The predictions of all targets, fold by fold."""

    def __init__(
        self, rows: BoardRows, average: Average, plan: BoardPlan, specs: Sequence[PredictorSpec]
    ) -> None:
        self._rows, self._average, self._plan, self._specs = rows, average, plan, specs
        self._offsets = np.cumsum([0, *(router.n_experts for router in rows.routers)])
        self._plain = {name: tried[0] for name, tried in average.tried.items()}

    def scores(self, tick: Tick, begin: float) -> list[PredictionScore]:
        """Score every target but the first."""
        rows, folds = self._rows, self._rows.tested_folds
        raws = [raw_sums(len(rows.cells), r.top_k, self._plan.calibrate) for r in rows.routers]
        for done, fold in enumerate(folds):
            tick(SCORING, done, len(folds))
            constants, links = self._choose(fold)
            with self._average.without((fold,), fold):
                self._add(np.flatnonzero(rows.fold == fold), constants, links, raws)
        tick(SCORING, len(folds), len(folds))
        seconds = (time.perf_counter() - begin) / (len(rows.routers) - 1)
        found = []
        for target, raw in zip(rows.routers[1:], raws[1:], strict=True):
            sums = finished(raw, target.top_k, target.n_experts)
            cost = Cost(*self._average.cost(target), seconds)
            note = self._average.note
            found += [made_score(rows, s.name, target, 1, sums, cost, note=note) for s in self._specs]
        return found

    def _add(
        self,
        chosen: NDArray[np.int64],
        constants: Mapping[str, float],
        links: Sequence[Link],
        raws: Sequence[NDArray[np.float64]],
    ) -> None:
        """Add the scores of some rows."""
        step = max(1, _PREDICTIONS // int(self._offsets[-1]))
        for at in range(0, len(chosen), step):
            rows = chosen[at : at + step]
            predicted = self._average.prepared(rows)(constants)
            jobs = [
                partial(self._add_target, place, rows, predicted, links[place], raws[place])
                for place in range(1, len(raws))
            ]
            in_threads(jobs, self._plan.threads)

    def _add_target(
        self,
        place: int,
        rows: NDArray[np.int64],
        predicted: NDArray[np.float32],
        link: Link,
        raw: NDArray[np.float64],
    ) -> None:
        target = self._rows.routers[place]
        scores = np.empty((len(rows), target.n_experts))
        interpolate(predicted, int(self._offsets[place]), link.low, link.step, link.knots(), scores)
        known = self._rows.known(target)[rows]
        rows, scores = rows[known], scores[known]
        score_matrix(scores, self._rows.experts(target)[rows], self._rows.cell[rows], "log-weight", raw)
        self._plan.keep(self._specs, 1, target, rows, scores, "log-weight")

    def _choose(self, fold: int) -> tuple[dict[str, float], list[Link]]:
        """Choose the constants and the links of a fold on its partner, without both."""
        best, routers = dict(self._plain), self._rows.routers
        plain = [plain_link(router.n_experts, router.top_k) for router in routers]
        if self._rows.n_folds < 3:
            return best, plain
        other = partners(self._rows.n_folds)[fold]
        rows = spread(np.flatnonzero(self._rows.fold == other), self._average.trial_rows)
        with self._average.without((fold, other), fold):
            averages = self._average.prepared(rows)
            found = averages(best)
            least = self._loss(rows, found)
            for name, tried in self._average.tried.items():
                for value in tried[1:]:
                    predicted = averages(best | {name: value})
                    if (loss := self._loss(rows, predicted)) < least:
                        best, least, found = best | {name: value}, loss, predicted
        return best, self._links(rows, found, plain)

    def _loss(self, rows: NDArray[np.int64], predicted: NDArray[np.float32]) -> float:
        """Return the log loss of all targets, one chosen expert at a time."""
        total = 0.0
        for place, target in enumerate(self._rows.routers[1:], start=1):
            known = self._rows.known(target)[rows]
            actual = self._offsets[place] + self._rows.experts(target)[rows[known]].astype(np.intp)
            given = np.take_along_axis(predicted[known], actual, 1)
            total -= float(np.log(np.maximum(given, LEAST), dtype=np.float64).sum())
        return total

    def _links(
        self, rows: NDArray[np.int64], predicted: NDArray[np.float32], links: list[Link]
    ) -> list[Link]:
        """Fit one link to some rows of all targets with the same numbers of experts."""
        routers, found = self._rows.routers, list(links)
        for key in dict.fromkeys((router.n_experts, router.top_k) for router in routers[1:]):
            places = [
                at for at in range(1, len(routers)) if (routers[at].n_experts, routers[at].top_k) == key
            ]
            step = max(1, len(rows) * len(places) // LINK_CHOICES)
            given, actual = [], []
            for nth, place in enumerate(places):
                some = np.arange(nth % step, len(rows), step)
                some = some[self._rows.known(routers[place])[rows[some]]]
                given.append(predicted[some, self._offsets[place] : self._offsets[place + 1]])
                actual.append(self._rows.experts(routers[place])[rows[some]])
            values, target = np.concatenate(given).astype(np.float64), np.concatenate(actual)
            (link,) = fit_links(values, target, np.zeros(len(target), np.int64), 1)
            for place in places:
                found[place] = link
        return found
