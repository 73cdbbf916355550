"""Token ids with a memory of the document: back-off over the latest ids, and what they led to earlier in the document.

Two averages go from general to special, over the token's own id, that with the id before, and with the one before that.
One is over the tokens of other folds, N; the other adds earlier tokens of the same document, D::

    N_i = (Σ choices with context i in other folds + κ N_{i−1}) / (tokens + κ),            N_0 = the layer's load
    D_i = (Σ λ^age choices with context i earlier in the document + c P_i) / (Σ λ^age + c)
    P_1 = N_1,  P_i = N_i + CARRY (D_{i−1} − N_{i−1}),  within 0 … 1

where age 0 is the latest such token, 1 the one before. A context that no other fold has changes neither. κ, c and λ are
for each fold those of least log loss on its partner, fitted without either, on a few layers; log weights then are
those of the fitted link (see `routestat.forecast.ridge_link`).

No token of the scored fold is used but the earlier ones of the same document, which are known by then.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, missing_of
from routestat.counting.kernels.one_hot import interpolate
from routestat.counting.kernels.token_cache import count_contexts, predict_from_contexts
from routestat.counting.score_sums import finished, raw_sums, score_matrix
from routestat.counting.token_contexts import LEVELS, TokenContexts, token_contexts
from routestat.forecast.made_scores import made_score
from routestat.forecast.ridge_link import Link, fit_links, plain_link
from routestat.forecast.ridge_search import partners
from routestat.forecast.scores import Cost, PredictionScore
from routestat.forecast.specification import BoardPlan, PredictorSpec
from routestat.forecast.tempered import Loads
from routestat.inference.base.tables import Floats
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router

#: What the progress of the engine is called.
SCORING = "scoring token ids within documents"
#: Candidates for κ, c and λ; the first of each where none can be chosen.
BACKED, OWN, DECAY = (2.0, 1.0, 4.0), (1.0, 0.5, 2.0), (0.7, 0.5, 0.85)
#: The share of what a context learned from the document that is carried to the next longer one.
CARRY = 0.7
#: At most so many earlier tokens of the document are read for a context: λ to this power is below .003.
MOST = 32
#: Targets, and rows of a fold, that settings and links are chosen on.
TRIAL_TARGETS, TRIAL_ROWS = 6, 400
#: Least probability in a log loss: what no data exclude.
LEAST = 1e-4


@dataclass(frozen=True, slots=True)
class Settings:
    """Constants of the predictor: strengths of back-off and of the document, and the decay with each token."""

    backed: float
    own: float
    decay: float

    def array(self) -> Floats:
        """Return them with `CARRY`, as the compiled loop takes them."""
        return np.array([self.backed, self.own, self.decay, CARRY])


PLAIN = Settings(BACKED[0], OWN[0], DECAY[0])


class CacheTables:
    """Counts of one target by context, from which folds are taken and to which they are returned.

    Parameters
    ----------
    rows : BoardRows
    target : Router
    contexts : TokenContexts
    alpha : str or float
        Dirichlet prior of the load.
    """

    def __init__(self, rows: BoardRows, target: Router, contexts: TokenContexts, alpha: str | float) -> None:
        self._rows, self._contexts = rows, contexts
        self._experts, self._missing = rows.experts(target), missing_of(target)
        self._table = np.zeros((contexts.n_contexts, target.n_experts), np.int32)
        self._tokens = np.zeros(contexts.n_contexts, np.int32)
        self._loads = Loads(rows.loads(target).astype(np.int64), alpha, target.top_k)
        self.load = self._loads.without(())[0]
        self._folds = [np.flatnonzero(rows.fold == fold) for fold in range(rows.n_folds)]
        self._change(range(rows.n_folds), 1)

    @property
    def n_counts(self) -> int:
        """How many counts are above zero."""
        return int(np.count_nonzero(self._table))

    @contextmanager
    def without(self, out: Sequence[int]) -> Iterator[None]:
        """Leave out what was counted in some folds, for as long as the context lasts."""
        self._change(out, -1)
        self.load = self._loads.without(out)[0]
        try:
            yield
        finally:
            self._change(out, 1)

    def given(self, rows: NDArray[np.int64], settings: Settings) -> Floats:
        """Return probabilities of inclusion ``[row, expert]``.

        Earlier tokens of the rows' own documents are used whether or not their folds are left out.
        """
        out = np.empty((len(rows), len(self.load)))
        links = self._contexts.contexts, self._contexts.before
        tables = self.load, settings.array(), self._table, self._tokens
        predict_from_contexts(rows, self._experts, self._missing, *links, MOST, *tables, out)
        return out

    def _change(self, folds: Sequence[int], sign: int) -> None:
        for fold in folds:
            of = self._folds[fold], self._experts, self._missing, self._contexts.contexts
            count_contexts(*of, sign, self._table, self._tokens)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen without each fold: settings and links by fold."""

    settings: tuple[Settings, ...]
    links: tuple[dict[tuple[int, int], Link], ...]

    def link(self, fold: int, target: Router) -> Link:
        """Return a fold's link of targets with so many experts."""
        key = target.n_experts, target.top_k
        return self.links[fold].get(key) or plain_link(*key)


def score_token_cache(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan, tick: Tick = silent
) -> list[PredictionScore]:
    """Score token ids with a memory of the document at every target: the engine of `TokenCacheForm`.

    Arguments are those of every engine (`routestat.forecast.board.Engine`).

    Returns
    -------
    list of PredictionScore
        Empty without token ids, where nothing can be held out, or unless the plan has `similar`.
    """
    if not plan.similar or rows.n_folds < 2 or not rows.has_token_ids:
        return []
    contexts = token_contexts(rows)
    chosen = choose_settings(rows, contexts, plan)
    jobs = [partial(_score, rows, target, contexts, chosen, specs, plan) for target in rows.routers]
    return [score for scores in in_threads(jobs, plan.threads, tick, SCORING) for score in scores]


def choose_settings(rows: BoardRows, contexts: TokenContexts, plan: BoardPlan) -> Chosen:
    """Choose settings and links of each scored fold on its partner, with counts without both."""
    settings = [PLAIN] * rows.n_folds
    links: list[dict[tuple[int, int], Link]] = [{} for _ in settings]
    if rows.n_folds < 3:
        return Chosen(tuple(settings), tuple(links))
    grid = [Settings(*one) for one in product(BACKED, OWN, DECAY)]
    step = max(1, -(-len(rows.routers) // TRIAL_TARGETS))
    trials = [_Trial(rows, target, contexts, plan.alpha) for target in rows.routers[step // 2 :: step]]
    losses = np.sum(in_threads([partial(trial.losses, grid) for trial in trials], plan.threads), axis=0)
    for fold in rows.tested_folds:
        settings[fold] = grid[int(np.argmin(losses[fold]))]
    for key in dict.fromkeys((trial.target.n_experts, trial.target.top_k) for trial in trials):
        same = [trial for trial in trials if (trial.target.n_experts, trial.target.top_k) == key]
        parts = in_threads([partial(trial.predictions, settings) for trial in same], plan.threads)
        for fold in rows.tested_folds:
            given, actual = (np.concatenate(part) for part in zip(*(own[fold] for own in parts), strict=True))
            # One fold at a time, so that nothing of its link depends on others.
            (links[fold][key],) = fit_links(given, actual, np.zeros(len(given), np.int64), 1)
    return Chosen(tuple(settings), tuple(links))


class _Trial:
    """One target, predicted on some rows of each scored fold's partner."""

    def __init__(self, rows: BoardRows, target: Router, contexts: TokenContexts, alpha: str | float) -> None:
        self.target, self._rows = target, rows
        self._tables, self._experts = CacheTables(rows, target, contexts, alpha), rows.experts(target)
        known, self._of = rows.known(target), partners(rows.n_folds)
        own = {fold: np.flatnonzero(known & (rows.fold == self._of[fold])) for fold in rows.tested_folds}
        self._chosen = {fold: spread(chosen) for fold, chosen in own.items()}

    def losses(self, grid: Sequence[Settings]) -> Floats:
        """Return the log loss of each settings ``[fold, settings]``, one chosen expert at a time."""
        found = np.zeros((self._rows.n_folds, len(grid)))
        for fold, chosen in self._chosen.items():
            actual = self._experts[chosen].astype(np.intp)
            with self._tables.without((fold, self._of[fold])):
                for at, settings in enumerate(grid):
                    given = np.take_along_axis(self._tables.given(chosen, settings), actual, 1)
                    found[fold, at] = -np.log(np.maximum(given, LEAST)).sum()
        return found

    def predictions(self, settings: Sequence[Settings]) -> dict[int, tuple[Floats, NDArray[np.integer]]]:
        """Return, for each scored fold, the predictions with its settings and the choices."""
        found: dict[int, tuple[Floats, NDArray[np.integer]]] = {}
        for fold, chosen in self._chosen.items():
            with self._tables.without((fold, self._of[fold])):
                found[fold] = self._tables.given(chosen, settings[fold]), self._experts[chosen]
        return found


def spread(rows: NDArray[np.int64], number: int = TRIAL_ROWS) -> NDArray[np.int64]:
    """Return about so many of some rows, evenly spaced."""
    return rows[:: max(1, -(-len(rows) // number))]


def _score(
    rows: BoardRows,
    target: Router,
    contexts: TokenContexts,
    chosen: Chosen,
    specs: Sequence[PredictorSpec],
    plan: BoardPlan,
) -> list[PredictionScore]:
    begin = time.perf_counter()
    tables, known = CacheTables(rows, target, contexts, plan.alpha), rows.known(target)
    seconds, actual = time.perf_counter() - begin, rows.experts(target)
    raw = raw_sums(len(rows.cells), target.top_k, plan.calibrate)
    for fold in rows.tested_folds:
        scored = np.flatnonzero(known & (rows.fold == fold))
        begin = time.perf_counter()
        with tables.without((fold,)):
            given = tables.given(scored, chosen.settings[fold])
        seconds += time.perf_counter() - begin
        link = chosen.link(fold, target)
        interpolate(given, 0, link.low, link.step, link.knots(), given)
        score_matrix(given, actual[scored], rows.cell[scored], "log-weight", raw)
        plan.keep(specs, 0, target, scored, given, "log-weight")
    sums = finished(raw, target.top_k, target.n_experts)
    cost = Cost(tables.n_counts, float(2 * LEVELS * target.n_experts), seconds)
    return [made_score(rows, spec.name, target, 0, sums, cost) for spec in specs]
