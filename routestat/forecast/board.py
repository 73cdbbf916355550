"""The board: every predictor at every target layer, scored on documents it was not fitted on."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.predictor_scores import LinearPredictor
from routestat.forecast.scores import PredictionScore, pooled, score_table, score_uniform
from routestat.traces.metadata import Router

#: What the predictors are, in words.
EXPLAINED = {
    "uniform": "k experts drawn blindly",
    "popularity": "the layer's own most used experts",
    "previous-token": "what usually follows the previous token's choice in the same layer",
    "repeat-previous-token": "the experts the previous token had in the same layer",
    "layer-1": "chain of order 1: what usually follows the layer before",
    "layer-1-naive-bayes": "log-lift naive Bayes on the experts of the layer before",
    "layer-1-tempered-bayes": "the same, with an exponent for experts that say the same",
    "layers-2-tempered-bayes": "tempered naive Bayes on the last two layers",
    "previous-token-tempered-bayes": "tempered naive Bayes on the previous token's experts in the same layer",
    "layer-1-previous-token-tempered-bayes": "tempered naive Bayes on both: the layer before, the previous token",
    "layer-1-ridge": "ridge regression on the experts of the layer before",
    "layers-2-ridge": "ridge regression on the last two layers",
    "layers-4-ridge": "ridge regression on the last four layers",
    "layer-1-previous-token-ridge": "ridge regression on the layer before and the previous token",
    "layer-1-factorised": "factorised chain of order 1: tempered naive Bayes and ridge together",
    "layers-2-factorised": "factorised chain of order 2",
    "layers-4-factorised": "factorised chain of order 4",
    "previous-token-factorised": "the same on the previous token's experts in the same layer",
    "previous-two-tokens-factorised": "the same on those of the previous two tokens",
    "layer-1-previous-token-factorised": "the same on the layer before and the previous token",
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
        board.append(PredictionScore("uniform", -1, target.layer, 0, uniform, router=target.name))
        tables = [
            ("popularity", -1, 0, loads[:, None, :]),
            ("previous-token", -1, 0, counts.table(Context.token(1), target)),
        ]
        if source is not None:
            step = counts.table(Context.layer(1), target)
            tables.append(("layer-1", source.layer, target.layer - source.layer, step))
        for name, layer, horizon, table in tables:
            sums = score_table(table, alphabet.membership, target.top_k, alpha)
            board.append(PredictionScore(name, layer, target.layer, horizon, sums, router=target.name))
    progress(len(counts.routers), len(counts.routers))
    return tuple(board)


def expert_board(
    counts: Counts,
    predictors: Sequence[LinearPredictor],
    sums: Mapping[tuple[str, str], NDArray[np.float64]],
    targets: Sequence[Router] | None = None,
) -> tuple[PredictionScore, ...]:
    """The board of the expert view, from the sums of `routestat.counting.predictor_scores.count_decisions`."""
    board = []
    for target in counts.routers if targets is None else targets:
        tokens = counts.table(Context(), target).sum(axis=1) / target.top_k
        uniform = score_uniform(tokens, target.n_experts, target.top_k)
        board.append(PredictionScore("uniform", -1, target.layer, 0, uniform, router=target.name))
        for predictor in predictors:
            if predictor.target != target:
                continue
            looked_at = [router.layer for router, lag in predictor.sources if lag == 0]
            source = looked_at[0] if looked_at else -1
            horizon = target.layer - source if looked_at else 0
            scored = sums[predictor.name, target.name]
            distribution = predictor.link != "rank"
            board.append(
                PredictionScore(
                    predictor.name, source, target.layer, horizon, scored, distribution, target.name
                )
            )
    return tuple(board)


def mean_board(board: Sequence[PredictionScore]) -> tuple[PredictionScore, ...]:
    """One line per predictor over the target layers that all of them have.

    In the state view each is scored on the tokens it can be asked of: a document's first token has no previous one.
    """
    names = list(dict.fromkeys(score.predictor for score in board))
    shared = set.intersection(*({s.target for s in board if s.predictor == name} for name in names))
    return tuple(
        pooled([s for s in board if s.predictor == name and s.target in shared]) for name in names if shared
    )
