"""Scores of predictors that are linear in the experts of their sources.

A prediction depends on all experts of all sources jointly, so that scores do not follow from tables: the predictors,
fitted from the `moments` of the rows, are scored row by row, each with weights fitted without the row's fold.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, Source, missing_of
from routestat.counting.kernels.predictors import combine_rows, complete_rows, score_predictions
from routestat.counting.score_sums import BINS, LINKS, ScoreSums, finished, raw_sums
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router

#: Rows whose predictions are held at a time.
_ROWS = 1 << 14
#: Takes the predictions of some rows: ``keep(rows, scores[i, expert], link, order=order[i, expert])``; experts are
#: ordered by `order`, and `link` says what scores mean.
Keep = Callable[..., None]


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
    rows: BoardRows,
    predictors: Sequence[LinearPredictor],
    *,
    calibrate: bool = False,
    threads: int | None = None,
    tick: Tick = silent,
    what: str = "scoring predictors",
    keep: Mapping[tuple[str, str], Keep] | None = None,
) -> Mapping[tuple[str, str], ScoreSums]:
    """Return the sums of every predictor, keyed by (name, target router name).

    Parameters
    ----------
    rows : BoardRows
    predictors : sequence of LinearPredictor
        A fallback without sources predicts for all remaining tokens, so that all predictors of a
        target are scored on the same tokens.
    calibrate : bool
        Whether to collect squared errors and reliability curves too.
    threads : int, optional
    tick : callable(what, done, total)
    what : str
        Name of this stage.
    keep : mapping of (name, target router name) to Keep, optional
        Each is called with all predictions of its predictor.
    """
    targets = list(dict.fromkeys(predictor.target for predictor in predictors))
    own = [[p for p in predictors if p.target == target] for target in targets]
    jobs = [partial(_scored, rows, some, calibrate, keep or {}) for some in own]
    found = in_threads(jobs, threads, tick, what)
    return {key: sums for one in found for key, sums in one.items()}


def _scored(
    rows: BoardRows,
    predictors: Sequence[LinearPredictor],
    calibrate: bool,
    keep: Mapping[tuple[str, str], Keep],
) -> dict[tuple[str, str], ScoreSums]:
    """Score the predictors of one target, which share the features of their sources."""
    target = predictors[0].target
    chosen, missing = rows.experts(target), missing_of(target)
    features: dict[tuple[Source, ...], NDArray[np.int32]] = {}
    # Of log weights: of a predictor that is the fallback of several, once.
    factors: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    found, place = {}, np.empty(len(rows), np.int64)
    for predictor in predictors:
        raw = raw_sums(len(rows.cells), target.top_k, calibrate)
        waiting = rows.scored.copy()
        for p in predictor.answering:
            if p.sources not in features:
                features[p.sources] = rows.features(p.sources)
            if id(p) not in factors:
                log = p.link == "log-weight"
                # What overflows is scored from its logarithms.
                with np.errstate(over="ignore"):
                    factors[id(p)] = (np.exp(p.bias), np.exp(p.weights)) if log else (p.bias, p.weights)
            x = features[p.sources]
            n = complete_rows(x, chosen, rows.runs.starts, rows.runs.stops, missing, waiting, place)
            score_predictions(
                place[:n], rows.cell[place[:n]], rows.fold_of_cell, x, chosen, p.bias, p.weights, *factors[id(p)],
                LINKS[p.link], BINS if calibrate else 0, raw,
            )  # fmt: skip
            if (to := keep.get((predictor.name, target.name))) is not None:
                # What only ranks has no probabilities, whoever answers for it.
                link = "rank" if predictor.link == "rank" else p.link
                for start in range(0, n, _ROWS):
                    some = place[start : min(start + _ROWS, n)].copy()
                    scores, order = _combined(rows, p, some, x, factors[id(p)])
                    to(some, scores, link, order=order)
        found[predictor.name, target.name] = finished(raw, target.top_k, target.n_experts)
    return found


def _combined(
    rows: BoardRows,
    predictor: LinearPredictor,
    chosen: NDArray[np.int64],
    features: NDArray[np.int32],
    factors: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scores and what experts are ordered by ``[i, expert]``, of some rows."""
    target = predictor.target
    scores, order = (np.empty((len(chosen), target.n_experts)) for _ in range(2))
    combine_rows(
        chosen, rows.cell, rows.fold_of_cell, features, rows.experts(target), predictor.bias, predictor.weights,
        *factors, LINKS[predictor.link], order, scores,
    )  # fmt: skip
    return scores, order
