"""The board: every predictor at every target layer, scored on documents it was not fitted on."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.decisions import LinearPredictor
from routestat.forecast.scores import PredictionScore, pooled, score_table, score_uniform

#: What the predictors are, in words.
EXPLAINED = {
    "uniform": "k experts drawn blindly",
    "popularity": "the layer's own most used experts",
    "previous-token": "what usually follows the previous token's choice in the same layer",
    "repeat-previous-token": "the experts the previous token had in the same layer",
    "layer-1": "chain of order 1: what usually follows the layer before",
    "layer-1-naive-bayes": "log-lift naive Bayes on the experts of the layer before",
}


def state_board(
    counts: Counts,
    alpha: str | float = "empirical-bayes",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[PredictionScore, ...]:
    """Uniform, popularity, previous token and chain of order 1, from the tables of the state view."""
    board = []
    for place, target in enumerate(counts.routers):
        progress(place, len(counts.routers))
        alphabet = target.alphabet
        source = counts.source(target)
        loads = counts.table(Context(), target)
        tokens = loads.sum(axis=1)
        uniform = score_uniform(tokens, target.n_experts, target.top_k)
        board.append(PredictionScore("uniform", -1, target.layer, 0, uniform))
        tables = [
            ("popularity", -1, 0, loads[:, None, :]),
            ("previous-token", -1, 0, counts.table(Context.token(1), target)),
        ]
        if source is not None:
            step = counts.table(Context.layer(1), target)
            tables.append(("layer-1", source.layer, target.layer - source.layer, step))
        for name, layer, horizon, table in tables:
            sums = score_table(table, alphabet.membership, target.top_k, alpha)
            board.append(PredictionScore(name, layer, target.layer, horizon, sums))
    progress(len(counts.routers), len(counts.routers))
    return tuple(board)


def expert_board(
    counts: Counts, predictors: Sequence[LinearPredictor], sums: Mapping[tuple[str, str], NDArray[np.float64]]
) -> tuple[PredictionScore, ...]:
    """The board of the expert view, from the sums of `routestat.counting.decisions.count_decisions`."""
    board = []
    for target in counts.routers:
        tokens = counts.table(Context(), target).sum(axis=1) / target.top_k
        uniform = score_uniform(tokens, target.n_experts, target.top_k)
        board.append(PredictionScore("uniform", -1, target.layer, 0, uniform))
        for predictor in predictors:
            if predictor.target != target:
                continue
            looks = predictor.name.startswith("layer")
            source = predictor.source.layer if looks else -1
            horizon = target.layer - source if looks else 0
            scored = sums[predictor.name, target.name]
            law = predictor.link != "rank"
            board.append(PredictionScore(predictor.name, source, target.layer, horizon, scored, law))
    return tuple(board)


def mean_board(board: Sequence[PredictionScore]) -> tuple[PredictionScore, ...]:
    """One line per predictor over the target layers that all of them have.

    Each is scored on the tokens it can be asked of: a document's first token has no previous one.
    """
    names = list(dict.fromkeys(score.predictor for score in board))
    shared = set.intersection(*({s.target for s in board if s.predictor == name} for name in names))
    return tuple(
        pooled([s for s in board if s.predictor == name and s.target in shared]) for name in names if shared
    )
