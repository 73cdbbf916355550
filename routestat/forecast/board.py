"""The board: every predictor at every target layer, scored on documents it was not fitted on."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.further_tables import count_further_tables
from routestat.counting.predictor_scores import LinearPredictor
from routestat.forecast import catalogue
from routestat.forecast.scores import PredictionScore, pooled
from routestat.forecast.specification import ClosedForm, TablePredictor, nearest_layer
from routestat.inference.base.tables import Floats
from routestat.progress import Progress
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: Tables ``[group, context…, target]`` by context and name of the target.
Tables = Mapping[tuple[Context, str], NDArray[np.unsignedinteger]]


def further_tables(trace: Trace, counts: Counts, threads: int | None = None) -> Tables:
    """Count the tables that the registered predictors of the view read and `counts` lacks.

    One more pass over the trace, and none where all were counted.
    """
    missing = [
        context for context in catalogue.tables_needed(counts.states) if context not in counts.contexts
    ]
    wanted = [
        (context, target)
        for context in missing
        for place, target in enumerate(counts.routers)
        if all(place + layer >= 0 for layer, _ in context.sources)
    ]
    tables = count_further_tables(trace, counts, wanted, threads=threads) if wanted else iter(())
    return {(context, target.name): table for (context, target), table in zip(wanted, tables, strict=True)}


def state_board(
    counts: Counts,
    alpha: str | float = "empirical-bayes",
    progress: Progress = lambda done, total: None,
    beside: Tables | None = None,
) -> tuple[PredictionScore, ...]:
    """Score every registered predictor of the state view, from its tables.

    Parameters
    ----------
    counts : Counts
        Of the state view.
    alpha : str or float
    progress : callable(routers_done, routers_in_all)
    beside : mapping, optional
        Tables that `counts` lacks; see `further_tables`.
    """
    board = []
    for place, target in enumerate(counts.routers):
        progress(place, len(counts.routers))
        tokens = counts.table(Context(), target).sum(axis=1)
        for spec in catalogue.PREDICTORS:
            if isinstance(spec.states, ClosedForm):
                sums = spec.states.score(tokens, target)
                board.append(PredictionScore(spec.name, -1, target.layer, 0, sums, router=target.name))
            elif isinstance(spec.states, TablePredictor):
                board += _table_score(counts, beside or {}, spec.name, spec.states, target, alpha)
    progress(len(counts.routers), len(counts.routers))
    return tuple(board)


def _table_score(
    counts: Counts, beside: Tables, name: str, form: TablePredictor, target: Router, alpha: str | float
) -> list[PredictionScore]:
    """Return the score of one predictor at one target; nothing where a source does not exist."""
    offsets = [layer for context in form.contexts for layer, _ in context.sources]
    if any(layer and counts.source(target, -layer) is None for layer in offsets):
        return []
    tables = [
        beside[context, target.name] if (context, target.name) in beside else counts.table(context, target)
        for context in form.contexts
    ]
    source = nearest_layer(form.contexts, counts, target)
    layer, horizon = (source.layer, target.layer - source.layer) if source else (-1, 0)
    sums = form.score(tables, target, alpha)
    return [PredictionScore(name, layer, target.layer, horizon, sums, router=target.name)]


def expert_board(
    counts: Counts,
    predictors: Sequence[LinearPredictor],
    sums: Mapping[tuple[str, str], Floats],
    targets: Sequence[Router] | None = None,
) -> tuple[PredictionScore, ...]:
    """Assemble the board of the expert view.

    Parameters
    ----------
    counts : Counts
        Of the expert view.
    predictors : sequence of LinearPredictor
    sums : mapping of (predictor, router name) to float array ``[group, SUMS]``
        From `routestat.counting.predictor_scores.count_decisions`.
    targets : sequence of Router, optional
        Which of the counted ones (all).
    """
    board = []
    for target in counts.routers if targets is None else targets:
        tokens = counts.table(Context(), target).sum(axis=1) / target.top_k
        for spec in catalogue.PREDICTORS:
            if isinstance(spec.experts, ClosedForm):
                expected = spec.experts.score(tokens, target)
                board.append(PredictionScore(spec.name, -1, target.layer, 0, expected, router=target.name))
        for predictor in predictors:
            if predictor.target != target:
                continue
            layers = [router.layer for router, lag in predictor.sources if lag == 0]
            source = layers[0] if layers else -1
            horizon = target.layer - source if layers else 0
            board.append(
                PredictionScore(
                    predictor.name,
                    source,
                    target.layer,
                    horizon,
                    sums[predictor.name, target.name],
                    predictor.link != "rank",
                    target.name,
                )
            )
    return tuple(board)


def mean_board(board: Sequence[PredictionScore]) -> tuple[PredictionScore, ...]:
    """Pool the scores of each predictor over the target layers that all predictors have.

    In the state view each is scored on the tokens that have its sources: a document's first token has no previous
    one.
    """
    names = list(dict.fromkeys(score.predictor for score in board))
    shared = set.intersection(*({s.target for s in board if s.predictor == name} for name in names))
    return tuple(
        pooled([s for s in board if s.predictor == name and s.target in shared]) for name in names if shared
    )
