"""The board: every predictor at every target layer, scored on documents it was not fitted on."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from routestat.counting.board_rows import BoardRows
from routestat.counting.score_sums import ScoreSums
from routestat.forecast import catalogue
from routestat.forecast.contexts import score_context_forms
from routestat.forecast.factorised_fit import score_linear
from routestat.forecast.gate import score_gate
from routestat.forecast.made_scores import made_score
from routestat.forecast.network import score_networks
from routestat.forecast.ridge_engine import score_ridges
from routestat.forecast.scores import Cost, PredictionScore, pooled
from routestat.forecast.similar_tokens import score_similar_tokens
from routestat.forecast.specification import (
    BoardPlan,
    ClosedForm,
    ContextForm,
    GateForm,
    LinearForm,
    NetworkForm,
    PredictorSpec,
    RidgeForm,
    SimilarTokensForm,
    TemperedModel,
    TokenCacheForm,
    TokenForm,
)
from routestat.forecast.token_cache import score_token_cache
from routestat.forecast.token_id import score_token_ids
from routestat.progress import Tick, silent

#: What an engine is: it scores some predictors of its form, ``engine(rows, specs, view, plan, tick)``, with the rows of
#: the board, the registered predictors, the view ("subset" or "expert"), the plan, and ``tick(what, done, total)``.
Engine = Callable[[BoardRows, Sequence[PredictorSpec], str, BoardPlan, Tick], list[PredictionScore]]


def engines() -> dict[tuple[type, ...], Engine]:
    """Return the engine of every form, or of several forms together."""
    return {
        (ClosedForm,): score_closed_forms,
        (ContextForm,): score_context_forms,
        (LinearForm, TemperedModel): score_linear,
        (RidgeForm,): score_ridges,
        (TokenForm,): score_token_ids,
        (TokenCacheForm,): score_token_cache,
        (SimilarTokensForm,): score_similar_tokens,
        (GateForm,): score_gate,
        (NetworkForm,): score_networks,
    }


def make_board(
    rows: BoardRows,
    view: str,
    plan: BoardPlan | None = None,
    *,
    specs: Sequence[PredictorSpec] = catalogue.PREDICTORS,
    known: Sequence[PredictionScore] = (),
    tick: Tick = silent,
) -> tuple[PredictionScore, ...]:
    """Fit and score predictors.

    Parameters
    ----------
    rows : BoardRows
    view : {"subset", "expert"}
        Whether choices are counted as states or as single experts.
    plan : BoardPlan, optional
    specs : sequence of PredictorSpec
        All that are registered by default; those without a form in the view, or for which the trace lacks something,
        are absent.
    known : sequence of PredictionScore
        Scores of predictors that were fitted already, on the same rows; they are not fitted again.
    tick : callable(what, done, total)

    Returns
    -------
    tuple of PredictionScore
        In the order of targets, and for each in the order of `specs`; all of a target have the same tokens.
    """
    plan = plan or BoardPlan()
    found, fitted = list(known), {score.predictor for score in known}
    for forms, engine in engines().items():
        own = [spec for spec in specs if isinstance(spec.form(view), forms) and spec.name not in fitted]
        if own:
            found += engine(rows, own, view, plan, tick)
    if not plan.timed:
        found = [replace(score, cost=replace(score.cost, seconds=np.nan)) for score in found]
    order = {spec.name: place for place, spec in enumerate(specs)}
    places = {router.name: place for place, router in enumerate(rows.routers)}
    return tuple(
        sorted(found, key=lambda score: (places[score.router], score.horizon, order[score.predictor]))
    )


def score_closed_forms(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan, tick: Tick = silent
) -> list[PredictionScore]:
    """Score predictors that need no data."""
    found = []
    for target in rows.routers:
        scored = np.flatnonzero(rows.known(target) & rows.scored)
        tokens = np.bincount(rows.cell[scored], minlength=len(rows.cells))
        alike = np.full((1, target.n_experts), target.top_k / target.n_experts)
        plan.keep(specs, 0, target, scored, alike, "inclusion", place=np.zeros(len(scored), np.intp))
        for spec in specs:
            form = spec.form(view)
            found.append(
                made_score(
                    rows, spec.name, target, 0, ScoreSums(form.score(tokens, target)), Cost(0, 0.0, 0.0)
                )
            )
    return found


def mean_board(board: Sequence[PredictionScore], horizon: int = 1) -> tuple[PredictionScore, ...]:
    """Pool the scores of each predictor over the target layers that all predictors of a horizon have.

    Parameters
    ----------
    board : sequence of PredictionScore
    horizon : int
        Layers ahead; predictors that use no earlier layer belong to every horizon.
    """
    chosen = [score for score in board if score.horizon in (0, horizon)]
    names = list(dict.fromkeys(score.predictor for score in chosen))
    if not names:
        return ()
    shared = set.intersection(*({s.router for s in chosen if s.predictor == name} for name in names))
    return tuple(
        pooled([s for s in chosen if s.predictor == name and s.router in shared]) for name in names if shared
    )
