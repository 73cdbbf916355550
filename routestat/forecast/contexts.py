"""Contexts of the state view: one fit gives the log losses of the memory and the scores of the board."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.counting.score_sums import ScoreSums, finished
from routestat.forecast.scores import Cost, PredictionScore
from routestat.forecast.specification import BoardPlan, ContextForm, PredictorSpec
from routestat.forecast.whole_distributions import DistributionScores
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.held_out import HeldOut, held_out
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router

#: Variables of a context by name, in the order in which back-off adds them.
Columns = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class ContextFit:
    """Contexts of one target, fitted and scored on left-out groups of documents.

    Attributes
    ----------
    target : Router
    columns : mapping of name to tuple of str
        The contexts that the target has.
    scores : HeldOut
        By the same names.
    known : mapping of name to float
        Share of the tokens whose whole context is known; the others are predicted from a shorter one.
    sums : mapping of name to ScoreSums
        Of the contexts that were scored as predictors.
    costs : mapping of name to Cost
    """

    target: Router
    columns: Columns
    scores: HeldOut
    known: Mapping[str, float]
    sums: Mapping[str, ScoreSums] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)


def fit_contexts(
    rows: BoardRows,
    columns: Columns,
    *,
    scored: Collection[str] = (),
    forward: Collection[str] = (),
    plan: BoardPlan | None = None,
    tick: Tick = silent,
) -> tuple[ContextFit, ...]:
    """Fit contexts of every router.

    Parameters
    ----------
    rows : BoardRows
        Of the state view.
    columns : mapping of name to tuple of str
        ``layer-n`` and ``token-n`` are the states n layers and n tokens earlier, ``token id`` is the token itself. A
        target has the contexts of which it has all variables.
    scored : collection of str
        Which of them to score as predictors.
    forward : collection of str
        Which of them to score forward too.
    plan : BoardPlan, optional
    tick : callable(what, done, total)
    """
    plan = plan or BoardPlan()
    # Contexts are counted group by group, and cells are ordered by group: rows are put into this order once.
    order = np.argsort(rows.cell, kind="stable")
    jobs = [
        partial(_fit, rows, order, place, columns, scored, forward, plan) for place in range(len(rows.routers))
    ]
    return in_threads(jobs, plan.threads, tick, "fitting contexts")


def score_context_forms(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan, tick: Tick = silent
) -> list[PredictionScore]:
    """Fit and score the predictors that are contexts: their engine."""
    columns = columns_of(rows, specs, plan)
    return scores_of(rows, specs, plan, fit_contexts(rows, columns, scored=columns, plan=plan, tick=tick))


def columns_of(rows: BoardRows, specs: Sequence[PredictorSpec], plan: BoardPlan) -> dict[str, tuple[str, ...]]:
    """Return the variables of all contexts that predictors need at the horizons of a plan.

    Names are those of the variables, the nearest last; farther ahead, the layer before becomes the layer n before.
    """
    found = {}
    for spec in specs:
        for horizon in _horizons(spec, plan):
            own = _columns(spec, horizon)
            if own is not None:
                found[context_name(own)] = own
    return {name: own for name, own in found.items() if rows.has_token_ids or "token id" not in own}


def scores_of(
    rows: BoardRows, specs: Sequence[PredictorSpec], plan: BoardPlan, fits: Sequence[ContextFit]
) -> list[PredictionScore]:
    """Return the scores of predictors from fits that hold their contexts, scored.

    Parameters
    ----------
    rows : BoardRows
        Those of the fits.
    specs : sequence of PredictorSpec
        Those without a context in the state view are left out.
    plan : BoardPlan
    fits : sequence of ContextFit
    """
    found = []
    for fit in fits:
        by_columns = {own: name for name, own in fit.columns.items() if name in fit.sums}
        for spec in specs:
            for horizon in _horizons(spec, plan):
                own = _columns(spec, horizon)
                if own is not None and own in by_columns:
                    name = by_columns[own]
                    found.append(_score(rows, spec.name, fit.target, horizon, fit.sums[name], fit.costs[name]))
    return found
