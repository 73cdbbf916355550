"""Ridge regressions on everything before, without some folds: what they predict for rows of those folds.

Wide models are divided into windows of layers (see `routestat.forecast.ridge_plan.plan_windows`), as on the board. All
have the same penalty: errors that are left by another one are corrected by similar tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.counting.kernels.one_hot import add_weights
from routestat.forecast.history import History, known_share, make_history, previous
from routestat.forecast.history_gram import count_gram
from routestat.forecast.history_ridge import NestedDesign
from routestat.forecast.ridge_plan import Window, plan_windows
from routestat.forecast.ridge_search import PENALTIES, START
from routestat.progress import in_threads

#: Targets that are predicted together, and rows.
_TARGETS, _ROWS = 4, 1024


@dataclass(frozen=True, eq=False)
class _WindowFits:
    """The fits of one window: ``weights[folds][target]``, for the targets of the window in order."""

    window: Window
    history: History
    design: NestedDesign
    #: Where each row of the board is in the history, −1 if it has no choice.
    place: NDArray[np.int64]
    weights: dict[frozenset[int], list[NDArray[np.float32]]]


class LeftOutRidges:
    """Ridges without each of some sets of folds.

    Parameters
    ----------
    rows : BoardRows
    outs : iterable of frozenset of int
        The sets of folds that are left out, each not all of them.
    threads : int, optional
    """

    def __init__(self, rows: BoardRows, outs: Iterable[frozenset[int]], threads: int | None = None) -> None:
        self._routers, self._threads, outs = rows.routers, threads, list(outs)
        self._offsets = np.cumsum([0, *(router.n_experts for router in rows.routers)])
        self._windows = [
            _fit(rows, window, outs, threads) for window in plan_windows(rows.routers, len(rows))
        ]

    @property
    def n_weights(self) -> int:
        """How many weights the predictions of all targets have."""
        return sum(sum(w.size for w in next(iter(fits.weights.values()))) for fits in self._windows)

    def predict(self, rows: NDArray[np.int64], out: frozenset[int]) -> NDArray[np.float32]:
        """Return predictions ``[row, expert of any router]`` of some rows; the first router has its mean."""
        found = np.zeros((len(rows), self._offsets[-1]), np.float32)
        jobs = [
            partial(self._predict, fits, rows[at : at + _ROWS], out, first, found[at : at + _ROWS])
            for fits in self._windows
            for first in range(fits.window.targets, fits.window.stop, _TARGETS)
            for at in range(0, len(rows), _ROWS)
        ]
        in_threads(jobs, self._threads)
        return found

    def _predict(
        self,
        fits: _WindowFits,
        rows: NDArray[np.int64],
        out: frozenset[int],
        first: int,
        found: NDArray[np.float32],
    ) -> None:
        last = min(first + _TARGETS, fits.window.stop)
        start, stop = self._offsets[first], self._offsets[last]
        own = fits.weights[out][first - fits.window.targets : last - fits.window.targets]
        weights = np.zeros((max(map(len, own)), stop - start), np.float32)
        for place, one in zip(range(first, last), own, strict=True):
            weights[: len(one), self._offsets[place] - start : self._offsets[place + 1] - start] = one
        known = fits.place[rows] >= 0
        part, at = np.zeros((int(known.sum()), stop - start), np.float32), 0
        at_rows = fits.place[rows[known]]
        for name in fits.design.regressions[last - 1 - fits.window.targets].blocks:
            block = fits.history.block(name)
            add_weights(block.members[at_rows], 0, len(part), weights, at, part)
            at += block.size
        found[known, start:stop] = part


def _fit(rows: BoardRows, window: Window, outs: Sequence[frozenset[int]], threads: int | None) -> _WindowFits:
    routers = rows.routers[window.first : window.stop]
    history = make_history(rows, routers)
    gram, layers = count_gram(history, threads), tuple(router.name for router in routers)
    head = ("constant", "no previous token", *map(previous, layers))
    reach = tuple((to - window.first, to - window.first) for to in range(window.targets, window.stop))
    design = NestedDesign(head, layers, reach)
    place = np.full(len(rows), -1, np.int64)
    place[history.rows] = np.arange(len(history.rows))
    weights = {}
    for out in outs:
        fitted = design.fit(gram.without(sorted(out)), PENALTIES[START], range(len(reach)))
        own: dict[int, NDArray[np.float32]] = {}
        for at, one in fitted:
            # Tokens without the target's choice were counted as choosing none of its experts.
            share = known_share(history, layers[reach[at][0]], out)
            own[at] = (one / max(share, 1e-9)).astype(np.float32)
        weights[out] = [own[at] for at in range(len(reach))]
    return _WindowFits(window, history, design, place, weights)
