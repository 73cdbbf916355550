"""Fit the predictors that are linear in the experts of their sources and come from tables alone."""

from collections.abc import Mapping, Sequence

from routestat.counting.board_rows import BoardRows
from routestat.counting.predictor_scores import LinearPredictor
from routestat.forecast.fold_tables import FoldTables
from routestat.forecast.linear_predictors import popularity
from routestat.forecast.specification import BoardPlan, LinearForm, PredictorSpec
from routestat.inference.base.tables import Floats
from routestat.traces.metadata import Router


def linear_predictors(
    rows: BoardRows,
    specs: Sequence[PredictorSpec],
    view: str,
    alpha: str | float,
    *,
    targets: Sequence[Router] | None = None,
    tempered: Mapping[str, Floats] | None = None,
) -> dict[str, list[LinearPredictor]]:
    """Fit every `LinearForm` to every target that has its sources, by the name of the target.

    Popularity answers for whatever the others cannot, so that all are scored on the same tokens; it is the first of
    every target, whether it is among `specs` or not.

    Parameters
    ----------
    rows : BoardRows
    specs : sequence of PredictorSpec
    view : {"subset", "expert"}
    alpha : str or float
    targets : sequence of Router, optional
        Which ones (all).
    tempered : mapping of router name to float array ``[fold, j]``, optional
        Log weights that popularity has (see `fit_load`); the logits of the loads as counted unless given.
    """
    found: dict[str, list[LinearPredictor]] = {}
    for target in rows.routers if targets is None else targets:
        tables = FoldTables(rows, target, alpha, (tempered or {}).get(target.name))
        found[target.name] = [popularity(tables)]
        for spec in specs:
            form = spec.form(view)
            if isinstance(form, LinearForm) and all(tables.has(context) for context in form.contexts):
                predictor = form.fit(tables)
                if predictor.name != "popularity":
                    found[target.name].append(predictor)
    return found


def further_predictors(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan
) -> dict[int, list[LinearPredictor]]:
    """Fit the predictors that look further ahead, by the number of layers ahead, from two on.

    Parameters
    ----------
    rows : BoardRows
    specs : sequence of PredictorSpec
    view : {"subset", "expert"}
    plan : BoardPlan
    """
    found: dict[int, list[LinearPredictor]] = {}
    for spec in specs:
        form = spec.form(view)
        if not isinstance(form, LinearForm) or form.further is None:
            continue
        for ahead in (n for n in plan.horizons_of(spec) if n > 1):
            for target in rows.routers[ahead:]:
                tables = FoldTables(rows, target, plan.alpha)
                found.setdefault(ahead, []).append(form.further(tables, ahead))
    return found
