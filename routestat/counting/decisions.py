"""How right a predictor's decisions are, counted: what tables of experts cannot say.

In the state view every score follows from the tables. In the expert view a decision depends on all k experts of
the source together, so predictors that are linear in the source's experts are scored in a second pass, into one
small additive table of sums per group. Each group is scored with weights that were fitted without it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.gram import expert_rows
from routestat.counting.kernels import decide
from routestat.counting.runs import find_runs
from routestat.errors import RoutestatError
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: Columns of the sums, in order.
SUMS = ("tokens", "exact_set", "recall_at_k", "hit_rate", "top1_hit", "recall_at_2k", "bits")
LINKS = {"rank": 0, "inclusion": 1, "log-weight": 2}


@dataclass(frozen=True)
class LinearPredictor:
    """Scores the experts of `target` by ``bias[fold, j] + Σ_i weights[fold, i, j]`` over the source's experts i.

    `lag` is how many tokens back the source is read; `link` says what a score is: "rank" (an order only),
    "inclusion" (a probability of inclusion) or "log-weight" (of the conditional-Bernoulli law).
    """

    name: str
    source: Router
    target: Router
    lag: int
    bias: NDArray[np.float64]
    weights: NDArray[np.float64]
    link: str


def count_decisions(
    trace: Trace,
    predictors: Sequence[LinearPredictor],
    folds: NDArray[np.int64],
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Mapping[tuple[str, str], NDArray[np.float64]]:
    """Sums ``[group, SUMS]`` of every predictor, keyed by (name, target router name).

    Parameters
    ----------
    trace : Trace
    predictors : sequence of LinearPredictor
    folds : int array ``[group]``
        Which fitted fold scores each group; a document's group is its number modulo the length.
    threads : int, optional
    progress : callable(rows_done, rows_in_all), optional
    """
    for predictor in predictors:
        if predictor.lag > 1:
            raise RoutestatError(
                f"decisions look back one token at most, {predictor.name} looks {predictor.lag}"
            )
    tasks = [(predictor, np.zeros((len(folds), len(SUMS)))) for predictor in predictors]
    routers = {r.name: r for p in predictors for r in (p.source, p.target)}
    done, last = 0, None
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for batch in trace.batches(list(routers)):
            names = list(routers)
            rows = list(pool.map(expert_rows, (batch.columns[n] for n in names), routers.values()))
            whole = _Piece(batch.document, batch.position, dict(zip(names, rows, strict=True)), 0)
            pieces = [whole] if last is None else [last.seam(whole), whole]
            for piece in pieces:
                list(pool.map(partial(_score, piece=piece, folds=folds, window=trace.meta.window), tasks))
            last = whole.last_row()
            done += len(batch)
            if progress is not None:
                progress(done, trace.n_tokens)
    return {(predictor.name, predictor.target.name): sums for predictor, sums in tasks}


@dataclass(frozen=True)
class _Piece:
    """Consecutive rows as expert rows; `least_lag` keeps a seam from counting what its batches count."""

    document: NDArray[np.int32]
    position: NDArray[np.int32]
    columns: dict[str, NDArray]
    least_lag: int

    def last_row(self) -> "_Piece":
        columns = {name: rows[-1:].copy() for name, rows in self.columns.items()}
        return _Piece(self.document[-1:].copy(), self.position[-1:].copy(), columns, 1)

    def seam(self, following: "_Piece") -> "_Piece":
        columns = {
            name: np.concatenate([rows, following.columns[name][:1]]) for name, rows in self.columns.items()
        }
        document = np.append(self.document, following.document[:1])
        return _Piece(document, np.append(self.position, following.position[:1]), columns, 1)


def _score(
    task: tuple[LinearPredictor, NDArray], piece: _Piece, folds: NDArray[np.int64], window: int
) -> None:
    predictor, sums = task
    if predictor.lag < piece.least_lag:
        return
    runs = find_runs(piece.document, piece.position, window, len(folds))
    missing = [np.iinfo(r.alphabet.expert_dtype).max for r in (predictor.source, predictor.target)]
    decide(
        piece.columns[predictor.source.name],
        piece.columns[predictor.target.name],
        runs.starts,
        runs.stops,
        runs.groups,
        folds,
        predictor.lag,
        np.array(missing, np.int64),
        predictor.bias,
        predictor.weights,
        LINKS[predictor.link],
        sums,
    )
