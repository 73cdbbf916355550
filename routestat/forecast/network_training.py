"""One network for each part of the documents that is scored: what it learns from, and the scores of its predictions."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, missing_of
from routestat.counting.score_sums import finished, raw_sums, score_matrix
from routestat.forecast import network_model
from routestat.forecast.made_scores import made_score
from routestat.forecast.network_history import NetworkHistory
from routestat.forecast.network_start import LogWeights, RidgeStart
from routestat.forecast.scores import Cost, PredictionScore
from routestat.forecast.specification import BoardPlan, PredictorSpec
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router

#: Hidden units; epochs without improvement after which training ends.
WIDTH, PATIENCE = 160, 2
#: Epochs, at most, and at least where there are too many tokens.
EPOCHS, LEAST_EPOCHS = 6, 3
#: Log weights that a network is trained on, at most: that many numbers of two bytes are kept.
MOST_NUMBERS = 1 << 27
#: Choices that a network is trained on, at most, over all epochs.
MOST_CHOICES = 20_000_000
#: Share of the training tokens whose documents are kept back to choose the epoch, and how many of them at most.
KEPT_BACK, MOST_KEPT_BACK = 0.08, 4096
# Numbers of predictions that are held at a time.
_PREDICTIONS = 1 << 22
_WHAT = "training the network"


@dataclass(frozen=True, slots=True)
class Trained:
    """One part's network, the ridges it adds to, and the epoch that was kept; 0 is the ridge."""

    network: network_model.Network
    start: LogWeights
    epoch: int


class Trainer:
    """Trains a network for every part that is scored.

    Parameters
    ----------
    rows : BoardRows
        With parts as folds; see `routestat.forecast.network_start.in_parts`.
    plan : BoardPlan
    tick : callable(what, done, total)
    """

    _specs: Sequence[PredictorSpec] = ()

    def __init__(self, rows: BoardRows, plan: BoardPlan, tick: Tick = silent) -> None:
        self._began = time.perf_counter()
        self._rows, self._plan, self._tick = rows, plan, tick
        self._targets = rows.routers[1:]
        self._epochs, self._most, self._share = *plan_training(len(rows), rows.n_folds, self._targets), 1.0
        self._steps = len(rows.tested_folds) * (self._epochs + 2) + 1
        self._tick(_WHAT, 0, self._steps)
        self._start = RidgeStart(rows, plan)
        self._history = NetworkHistory(rows)
        self._sums = [raw_sums(len(rows.cells), router.top_k, plan.calibrate) for router in self._targets]

    def scores(self, rows: BoardRows, specs: Sequence[PredictorSpec]) -> list[PredictionScore]:
        """Return the scores, in cells of the rows as they were before their folds were joined."""
        self._specs, epochs, parameters = specs, [], 0
        with network_model.torch_threads(self._plan.threads):
            for nth, part in enumerate(self._rows.tested_folds):
                trained = self.trained(part, partial(self._report, nth))
                epochs.append(trained.epoch)
                costs = trained.start.costs
                parameters = trained.network.n_parameters
                self._score(part, trained)
                self._report(nth, self._epochs + 2)
        self._tick(_WHAT, self._steps, self._steps)
        seconds = (time.perf_counter() - self._began) / len(self._targets)
        note, found = self._note(epochs), []
        for at, (target, raw) in enumerate(zip(self._targets, self._sums, strict=True)):
            own, adds = costs[at + 1]
            cost = Cost(
                own + parameters // len(self._targets),
                adds + self._history.multiply_adds(at, WIDTH),
                seconds,
            )
            sums = finished(raw, target.top_k, target.n_experts)
            found += [made_score(rows, spec.name, target, 1, sums, cost, note=note) for spec in specs]
        return found

    def _report(self, nth: int, done: int) -> None:
        self._tick(_WHAT, 1 + nth * (self._epochs + 2) + done, self._steps)

    def trained(self, part: int, tick: Callable[[int], None] = lambda done: None) -> Trained:
        """Train the network that predicts a part; `tick` is called with the steps done."""
        rng = np.random.default_rng([self._plan.seed, part])
        learned, judged = self._divided(part, rng)
        start = self._out_of_part(part, np.concatenate([learned, judged]))
        tokens = self._history.batch(learned, start[: len(learned)])
        test = self._history.batch(judged, start[len(learned) :])
        shape = network_model.Shape(
            self._history.features,
            tuple(router.n_experts for router in self._targets),
            tuple(router.top_k for router in self._targets),
            WIDTH,
        )
        tick(1)
        network = network_model.Network(shape, rng)
        epoch = network_model.train(
            network,
            tokens,
            partial(self._loss, network, test),
            self._epochs,
            PATIENCE,
            rng,
            lambda done: tick(done + 1),
        )
        return Trained(network, self._start.without((part,), part), epoch)

    def _divided(
        self, part: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Return the rows that a part's network learns from, and those of the groups that are kept back."""
        rows, known = self._rows, self._history.known
        usable = np.flatnonzero((rows.fold != part) & known)
        groups, counts = np.unique(rows.held_out[usable], return_counts=True)
        order = rng.permutation(len(groups))
        before = np.cumsum(counts[order]) - counts[order]
        # The last group is never kept back: something has to be learned from.
        back = groups[order[:-1][before[:-1] < KEPT_BACK * len(usable)]]
        is_back = np.isin(rows.held_out[usable], back)
        learned = _thinned(usable[~is_back], self._most, rng)
        self._share = min(self._share, len(learned) / max(int((~is_back).sum()), 1))
        return learned, _thinned(usable[is_back], MOST_KEPT_BACK, rng)

    @property
    def _numbers(self) -> int:
        """Log weights of a token."""
        return len(self._targets) * max(router.n_experts for router in self._targets)

    def _out_of_part(self, part: int, chosen: NDArray[np.integer]) -> NDArray[np.float16]:
        """Return the log weights of ridges that were fitted without each token's own part and the scored one."""
        out = self._zeros(len(chosen), np.float16)
        fold = self._rows.fold[chosen]
        for other in np.unique(fold).tolist():
            own = np.flatnonzero(fold == other)
            held = np.zeros((len(own), *out.shape[1:]), np.float16)
            self._start.without((part, other), part).of(chosen[own], held)
            out[own] = held
        return out

    def _zeros(self, rows: int, dtype: type) -> NDArray[np.floating]:
        return np.zeros((rows, len(self._targets), self._numbers // len(self._targets)), dtype)

    def _loss(self, network: network_model.Network, test: network_model.Batch) -> float:
        """Return the mean loss of the tokens that were kept back, in bits."""
        scores = network_model.log_weights(network, test)
        jobs = []
        sums = [raw_sums(1, router.top_k, False) for router in self._targets]
        for at, (target, raw) in enumerate(zip(self._targets, sums, strict=True)):
            known = test.chosen[:, at, 0] >= 0
            chosen = test.chosen[known, at, : target.top_k].astype(np.uint16)
            cell = np.zeros(len(chosen), np.int64)
            values = scores[at, known, : target.n_experts]
            jobs.append(partial(score_matrix, values, chosen, cell, "log-weight", raw))
        in_threads(jobs, self._plan.threads)
        tokens, bits = (sum(float(raw[0, column]) for raw in sums) for column in (0, 3))
        return bits / max(tokens, 1.0)

    def log_weights(self, trained: Trained, chosen: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return a network's log weights ``[target, row, expert]`` of some rows; the first layer is no target."""
        start = self._zeros(len(chosen), np.float32)
        trained.start.of(chosen, start)
        return network_model.log_weights(trained.network, self._history.batch(chosen, start))

    def _score(self, part: int, trained: Trained) -> None:
        rows = self._rows
        chosen = np.flatnonzero((rows.fold == part) & self._history.known)
        step = max(1, _PREDICTIONS // self._numbers)
        for begin in range(0, len(chosen), step):
            block = chosen[begin : begin + step]
            scores = self.log_weights(trained, block)
            jobs = [partial(self._add, at, block, scores[at]) for at in range(len(self._targets))]
            in_threads(jobs, self._plan.threads)

    def _add(self, at: int, block: NDArray[np.integer], scores: NDArray[np.float32]) -> None:
        target = self._targets[at]
        experts = self._rows.experts(target)[block]
        known = experts[:, 0] != missing_of(target)
        rows, own = block[known], scores[known, : target.n_experts]
        score_matrix(own, experts[known], self._rows.cell[rows], "log-weight", self._sums[at])
        self._plan.keep(self._specs, 1, target, rows, own, "log-weight")

    def _note(self, epochs: Sequence[int]) -> str:
        words, parts = [], self._rows.n_folds
        if not self._rows.scored_folds:
            words.append(f"fitted to {parts - 1} of {parts} parts of the documents at a time")
        if not any(epochs):
            words.append(
                "no epoch was better than the ridge on left-out documents: the scores are the ridge's"
            )
        if self._share < 1.0:
            words.append(f"trained on {self._share:.0%} of their tokens")
        if self._start.note:
            words.append(f"its ridges are {self._start.note}")
        return "; ".join(words)


def plan_training(rows: int, parts: int, targets: Sequence[Router]) -> tuple[int, int]:
    """Return the number of epochs of a network, and of how many tokens at most.

    Parameters
    ----------
    rows : int
        Tokens of all parts.
    parts : int
        Of which one is left out.
    targets : sequence of Router
    """
    tokens = max(1, int(rows * (1.0 - 1.0 / parts) * (1.0 - KEPT_BACK)))
    epochs = min(EPOCHS, max(LEAST_EPOCHS, MOST_CHOICES // (tokens * len(targets))))
    numbers = len(targets) * max(router.n_experts for router in targets)
    return epochs, max(1, min(MOST_NUMBERS // numbers, MOST_CHOICES // (max(epochs, 1) * len(targets))))


def _thinned(rows: NDArray[np.integer], most: int, rng: np.random.Generator) -> NDArray[np.integer]:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, max(most, 1), replace=False))
