"""What the network starts from: log weights of ridge regressions, fitted without some parts of the documents.

The network learns on tokens that its ridges were not fitted to. Ridges describe their own training tokens too well,
and a network on top of those predictions learns that nothing is left to improve.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.counting.kernels.one_hot import interpolate
from routestat.forecast.history import History, known_share, make_history, sampled
from routestat.forecast.history_gram import Gram, count_gram
from routestat.forecast.ridge_link import Link
from routestat.forecast.ridge_plan import Designed, plan_designs, plan_windows, token_width
from routestat.forecast.ridge_search import Chosen, add_blocks, choose
from routestat.forecast.specification import BoardPlan, PredictorSpec, RidgeForm
from routestat.progress import in_threads

#: Parts of the documents that are left out in turn, at most; three are needed.
PARTS, LEAST_PARTS = 5, 3
#: Rows that penalties and links are judged on, over all parts.
TRIAL_ROWS = 4096


def in_parts(rows: BoardRows) -> BoardRows:
    """Return the same rows with folds joined to at most `PARTS`, so that fewer networks are trained.

    Folds without rows are left out. Where only some folds are scored, each of them is a part of its own.
    """
    used = np.unique(rows.fold)
    scored = used[np.isin(used, rows.scored_folds)]
    others = used[~np.isin(used, scored)]
    parts = max(1, min(PARTS - len(scored), len(others)))
    part = np.zeros(rows.n_folds, np.int64)
    part[scored] = np.arange(len(scored))
    part[others] = len(scored) + np.arange(len(others)) * parts // max(len(others), 1)
    return replace(rows, folds=part[rows.folds], scored_folds=tuple(range(len(scored))))


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A ridge for one target."""

    target: int
    blocks: tuple[str, ...]
    weights: NDArray[np.float32]
    link: Link


@dataclass(frozen=True, eq=False)
class _Window:
    """Consecutive layers whose ridges share a table of pairs."""

    first: int
    history: History
    gram: Gram
    designed: Designed
    chosen: Chosen
    #: Place of each row of the board among those of the history; −1 where it is not.
    place: NDArray[np.int64]

    def fitted(self, rows: BoardRows, out: Sequence[int], part: int) -> list[_Fitted]:
        """Fit without some parts, with the penalties and links that were chosen for one of them."""
        pairs, found = self.gram.without(out), []
        penalties, design = self.chosen.penalties[part], self.designed.design
        for penalty in np.unique(penalties).tolist():
            own = np.flatnonzero(penalties == penalty).tolist()
            for at, weights in design.fit(pairs, penalty, own):
                target = self.first + design.regressions[at].target
                # Tokens without the target's choice were counted as choosing none of its experts.
                share = max(known_share(self.history, rows.routers[target].name, out), 1e-9)
                one = (weights / share).astype(np.float32)
                found.append(_Fitted(target, design.regressions[at].blocks, one, self.chosen.links[part][at]))
        return found


class RidgeStart:
    """Ridges on everything before, for every target that has an earlier layer.

    Parameters
    ----------
    rows : BoardRows
        With the parts that are left out as folds.
    plan : BoardPlan
    """

    def __init__(self, rows: BoardRows, plan: BoardPlan) -> None:
        form = RidgeForm(-1, previous=True, tokens=rows.has_token_ids)
        spec = PredictorSpec("start", "", "ridge", (), states=form)
        one_ahead = replace(plan, horizons=(1,))
        self._rows, self._threads = rows, plan.threads
        self._windows, self.note = [], ""
        for window in plan_windows(rows.routers, len(rows)):
            (designed,) = plan_designs([spec], "subset", one_ahead, rows.routers, window, rows.has_token_ids)
            self.note = next((model.note for model in designed.models if model.note), self.note)
            routers = rows.routers[window.first : window.stop]
            history = make_history(rows, routers, token_width(routers) if form.tokens else 0)
            gram = count_gram(history, plan.threads)
            trial = sampled(history, TRIAL_ROWS)
            chosen = choose(designed, gram, trial, routers, rows.tested_folds, plan.threads)
            place = np.full(len(rows), -1)
            place[history.rows] = np.arange(len(history.rows))
            self._windows.append(_Window(window.first, history, gram, designed, chosen, place))

    def without(self, out: Sequence[int], part: int) -> "LogWeights":
        """Return the ridges fitted without some parts.

        Parameters
        ----------
        out : sequence of int
            The parts.
        part : int
            The one of them that penalties and links were chosen for.
        """
        fitted = [(window, window.fitted(self._rows, out, part)) for window in self._windows]
        return LogWeights(self._rows, fitted, self._threads)


class LogWeights:
    """Log weights of some ridges for any rows."""

    def __init__(
        self, rows: BoardRows, fitted: Sequence[tuple[_Window, list[_Fitted]]], threads: int | None
    ) -> None:
        self._rows, self._fitted, self._threads = rows, fitted, threads

    @property
    def costs(self) -> dict[int, tuple[int, float]]:
        """Parameters, and multiply-adds per token, by the place of the target."""
        found = {}
        for window, ridges in self._fitted:
            blocks = {block.name: block for block in window.history.blocks}
            slots = {
                name: float((block.members >= 0).mean()) * block.members.shape[1]
                for name, block in blocks.items()
            }
            for one in ridges:
                width = one.weights.shape[1]
                found[one.target] = (one.weights.size + 2, width * sum(slots[name] for name in one.blocks))
        return found

    def of(self, chosen: NDArray[np.integer], out: NDArray[np.floating]) -> None:
        """Write the log weights of some rows to ``out[row, target − 1, expert]``; further experts stay as they are.

        Rows that lack the choices of a whole window of layers keep what `out` has there.
        """
        jobs = []
        for window, ridges in self._fitted:
            place = window.place[chosen]
            has = np.flatnonzero(place >= 0)
            order = has[np.argsort(place[has])]
            history = window.history.take(place[order])
            jobs += [partial(self._write, history, one, order, out) for one in ridges]
        in_threads(jobs, self._threads)

    def _write(
        self, history: History, one: _Fitted, order: NDArray[np.integer], out: NDArray[np.floating]
    ) -> None:
        predicted = np.zeros((len(order), one.weights.shape[1]), np.float32)
        add_blocks(history, one.blocks, 0, one.weights, predicted)
        scores = np.empty(predicted.shape)
        interpolate(predicted, 0, one.link.low, one.link.step, one.link.knots(), scores)
        # Only differences of log weights mean something; centred, they are small enough for half precision.
        scores -= scores.mean(axis=1, keepdims=True)
        out[order, one.target - 1, : predicted.shape[1]] = scores
