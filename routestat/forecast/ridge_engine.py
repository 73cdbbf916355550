"""Fit and score the ridges of the board, window by window and fold by fold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from time import perf_counter, thread_time

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.counting.kernels.one_hot import interpolate
from routestat.counting.score_sums import finished, raw_sums, score_matrix
from routestat.forecast.history import History, known_share, make_history, sampled, token_codes
from routestat.forecast.history_gram import Gram, count_gram
from routestat.forecast.history_predictor import HistoryWindow, kept_window
from routestat.forecast.made_scores import made_score
from routestat.forecast.ridge_link import Link
from routestat.forecast.ridge_plan import Designed, Model, Window, plan_designs, plan_windows, token_width
from routestat.forecast.ridge_search import PENALTIES, START, Chosen, add_blocks, choose
from routestat.forecast.scores import Cost, PredictionScore
from routestat.forecast.specification import BoardPlan, PredictorSpec
from routestat.progress import Tick, in_threads, limited_threads, over_threads, silent
from routestat.traces.metadata import Router

#: Rows that penalties and links are judged on, over all folds.
TRIAL_ROWS = 4096
#: The note of ridges whose penalty was not chosen.
PLAIN = f"with the plain penalty of {PENALTIES[START]:g} tokens, not one chosen on left-out documents"
#: Numbers of predictions that are held at a time, and the most rows.
_PREDICTIONS, _ROWS = 1 << 19, 1 << 14
# Bytes of weights that stay in a core's cache while they are added.
_CACHED = 1 << 19
_WHAT = "ridge regression"


def score_ridges(
    rows: BoardRows,
    specs: Sequence[PredictorSpec],
    view: str,
    plan: BoardPlan,
    tick: Tick = silent,
    kept: list[HistoryWindow] | None = None,
) -> list[PredictionScore]:
    """Score the predictors of the form `RidgeForm`.

    A fold is predicted by ridges fitted to the other folds, with penalties and links chosen without it. Nothing is
    scored where there are fewer than two folds or fewer tokens than two layers have experts, and nothing with token ids
    where none is known. With fewer tokens than features penalties and links are the plain ones; in several windows of
    layers penalties are.

    Parameters
    ----------
    rows : BoardRows
    specs : sequence of PredictorSpec
    view : {"subset", "expert"}
    plan : BoardPlan
    tick : callable(what, done, total)
    kept : list of HistoryWindow, optional
        What predictions of new tokens need of all documents is added to it.
    """
    usable = [spec for spec in specs if rows.has_token_ids or not spec.form(view).tokens]
    if not usable or np.unique(rows.fold).size < 2:
        return []
    windows = plan_windows(rows.routers, len(rows))
    found: list[PredictionScore] = []
    # Where a model is so wide that it is divided into windows, the search would take most of the time.
    searches = not plan.brief and len(windows) == 1
    # Folds are fitted side by side, each with one thread. Threads inside of linear algebra would gain less, and where
    # other work shares the cores they wait for each other: 17 times the processor time was seen.
    with limited_threads(plan.threads):
        for at, window in enumerate(windows):
            stage = _Stage(rows, rows.routers[window.first : window.stop], plan, searches)
            ticked = partial(_tick_of_window, tick, at, len(windows))
            found += stage.scores(
                plan_designs(usable, view, plan, rows.routers, window, rows.has_token_ids), ticked
            )
            if kept is not None:
                kept.append(stage.kept(window))
    return found


def _tick_of_window(tick: Tick, at: int, windows: int, done: int, total: int) -> None:
    tick(_WHAT, at * total + done, windows * total)


@dataclass(slots=True)
class _Tally:
    """What is summed for one model over the folds."""

    raw: NDArray[np.float64]
    parameters: int = 0
    multiply_adds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A model without one fold, ready to predict it."""

    place: int
    router: Router
    blocks: tuple[str, ...]
    weights: NDArray[np.float32]
    link: Link


class _Stage:
    """One window of layers: its features, their table of pairs, and the scores of its models."""

    def __init__(
        self, rows: BoardRows, routers: Sequence[Router], plan: BoardPlan, searches: bool = True
    ) -> None:
        self._rows, self._routers, self._plan, self._searches = rows, routers, plan, searches
        self._chosen: list[tuple[Designed, Chosen]] = []

    def kept(self, window: Window) -> HistoryWindow:
        """Return what predictions of new tokens need, once the models were scored."""
        token = self._rows.token[:0]
        codes: NDArray[np.integer] = token
        if self._width:
            token, codes = self._rows.token, token_codes(self._rows.token, self._width)[0]
        return kept_window(window, self._gram, self._chosen, self._folds, (token, codes), self._routers)

    def scores(self, designs: Sequence[Designed], tick: partial[None]) -> list[PredictionScore]:
        """Fit and score all models of some designs."""
        rows, began = self._rows, perf_counter()
        tokens = any("token id" in designed.design.head for designed in designs)
        self._width = token_width(self._routers) if tokens else 0
        history = make_history(rows, self._routers, self._width)
        folds = [
            f for f in rows.scored_folds or range(rows.n_folds) if history.bounds[f] < history.bounds[f + 1]
        ]
        gram = self._gram = count_gram(history, self._plan.threads)
        judged = self._folds = folds if len(history.rows) >= history.offsets[-1] else []
        trial, counted = sampled(history, TRIAL_ROWS), perf_counter() - began
        steps = len(designs) * (1 + len(folds))
        found: list[PredictionScore] = []
        for nth, designed in enumerate(designs):
            began = perf_counter()
            tallies = [self._tally(designed, at, history) for at in range(len(designed.models))]
            chosen = choose(
                designed, gram, trial, self._routers, judged, self._plan.threads, search=self._searches
            )
            self._chosen.append((designed, chosen))
            seconds = perf_counter() - began + counted / len(designs)
            fits = (partial(self._fitted, designed, gram, history, fold, chosen) for fold in folds)
            for done, (fitted, spent) in enumerate(over_threads(fits, self._plan.threads)):
                tick(nth * (1 + len(folds)) + 1 + done, steps)
                seconds += spent
                fold, tiles = folds[done], list(_tiles(fitted))
                models = designed.models
                jobs = [partial(self._score_tile, history, fold, tile, tallies, models) for tile in tiles]
                in_threads(jobs, self._plan.threads)
            parameters = sum(tally.parameters for tally in tallies)
            for model, tally in zip(designed.models, tallies, strict=True):
                tally.seconds = seconds * tally.parameters / parameters
                found.append(self._score(model, tally))
        tick(steps, steps)
        return found

    def _tally(self, designed: Designed, at: int, history: History) -> _Tally:
        regression = designed.design.regressions[at]
        target = self._routers[regression.target]
        blocks = [history.block(name) for name in regression.blocks]
        raw = raw_sums(len(self._rows.cells), target.top_k, self._calibrates(designed.models[at]))
        return _Tally(
            raw,
            sum(block.size for block in blocks) * target.n_experts + 2,
            sum(np.count_nonzero(block.members >= 0) for block in blocks)
            / max(len(history.rows), 1)
            * target.n_experts,
        )

    def _calibrates(self, model: Model) -> bool:
        return self._plan.calibrate and model.horizon <= 1

    def _fitted(
        self, designed: Designed, gram: Gram, history: History, fold: int, chosen: Chosen
    ) -> tuple[list[_Fitted], float]:
        """Fit all models of a design without a fold; return them and the seconds that it took."""
        began = thread_time()
        pairs = gram.without((fold,))
        fitted, regressions = [], designed.design.regressions
        for penalty in np.unique(chosen.penalties[fold]).tolist():
            own = np.flatnonzero(chosen.penalties[fold] == penalty).tolist()
            for at, weights in designed.design.fit(pairs, penalty, own):
                target = self._routers[regressions[at].target]
                # Tokens without the target's choice were counted as choosing none of its experts.
                share = known_share(history, target.name, (fold,))
                one = (weights / max(share, 1e-9)).astype(np.float32)
                fitted.append(_Fitted(at, target, regressions[at].blocks, one, chosen.links[fold][at]))
        return fitted, thread_time() - began

    def _score_tile(
        self,
        history: History,
        fold: int,
        tile: "Sequence[_Fitted]",
        tallies: Sequence[_Tally],
        models: Sequence[Model],
    ) -> None:
        """Predict and score the rows of a fold with models whose blocks begin alike."""
        longest = max(tile, key=lambda one: len(one.blocks))
        edges = np.cumsum([0, *(one.router.n_experts for one in tile)]).tolist()
        weights = np.zeros((len(longest.weights), edges[-1]), np.float32)
        for one, (start, stop) in zip(tile, pairwise(edges), strict=True):
            weights[: len(one.weights), start:stop] = one.weights
        first, last = history.bounds[fold : fold + 2].tolist()
        step = min(_ROWS, max(256, _PREDICTIONS // edges[-1]))
        knots = [one.link.knots() for one in tile]
        for start in range(first, last, step):
            rows = history.rows[start : min(start + step, last)]
            out, cell = np.zeros((len(rows), edges[-1]), np.float32), self._rows.cell[rows]
            add_blocks(history, longest.blocks, start, weights, out)
            for one, column, knot in zip(tile, edges[:-1], knots, strict=True):
                known = history.block(one.router.name).members[start : start + len(rows), 0] >= 0
                scores = np.empty((len(rows), one.router.n_experts))
                interpolate(out, column, one.link.low, one.link.step, knot, scores)
                target = self._rows.experts(one.router)[rows]
                each = scores, target, cell, rows
                if not known.all():
                    each = scores[known], target[known], cell[known], rows[known]
                score_matrix(*each[:3], "log-weight", tallies[one.place].raw)
                if self._plan.kept is not None:
                    model = models[one.place]
                    self._plan.kept.add(model.name, model.horizon, one.router, each[3], each[0], "log-weight")

    def _score(self, model: Model, tally: _Tally) -> PredictionScore:
        target = self._rows.routers[model.target]
        sums = finished(tally.raw, target.top_k, target.n_experts)
        cost = Cost(tally.parameters, tally.multiply_adds, tally.seconds)
        searched = self._searches and self._folds and self._rows.n_folds > 2
        plain = "" if searched else PLAIN
        note = "; ".join(part for part in (model.note, plain) if part)
        return made_score(self._rows, model.name, target, model.horizon, sums, cost, note=note)


def _tiles(fitted: Sequence[_Fitted]) -> Iterator[list[_Fitted]]:
    """Divide models into tiles: the blocks of each begin those of the longest, and its weights fit in the cache."""
    tile: list[_Fitted] = []
    size = 0
    for one in sorted(fitted, key=lambda one: (one.blocks, one.router.name), reverse=True):
        longest = tile[0] if tile else one
        more = len(longest.weights) * one.router.n_experts * 4
        if tile and (size + more > _CACHED or longest.blocks[: len(one.blocks)] != one.blocks):
            yield tile
            tile, size = [], 0
            more = one.weights.nbytes
        tile.append(one)
        size += more
    if tile:
        yield tile
