"""Fit the registered predictors of the expert view that read count tables."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.predictor_scores import LinearPredictor
from routestat.forecast import catalogue
from routestat.forecast.fold_tables import FoldTables
from routestat.forecast.specification import LinearForm
from routestat.inference.base.tables import Floats
from routestat.traces.metadata import Router


def linear_predictors(
    counts: Counts,
    folds: NDArray[np.int64],
    alpha: str | float,
    *,
    targets: Sequence[Router] | None = None,
    tempered: Mapping[str, Floats] | None = None,
    beside: Mapping[tuple[Context, str], NDArray[np.unsignedinteger]] | None = None,
) -> list[LinearPredictor]:
    """Fit every registered `LinearForm` to every target that has its sources.

    Popularity answers for whatever the others cannot, so that all are scored on the same tokens.

    Parameters
    ----------
    counts : Counts
        In the expert view, with the contexts nothing, layer −1 and token −1.
    folds : int array ``[group]``
    alpha : str or float
    targets : sequence of Router, optional
        Which of the counted ones (all).
    tempered : mapping of router name to float array ``[fold, j]``, optional
        Log weights that popularity has (see `fit_load`); the logits of the loads as counted unless given.
    beside : mapping of (Context, router name) to counts, optional
        Tables that `counts` lacks.
    """
    predictors = []
    for target in counts.routers if targets is None else targets:
        tables = FoldTables(counts, target, folds, alpha, (tempered or {}).get(target.name), beside)
        for spec in catalogue.PREDICTORS:
            form = spec.experts
            if isinstance(form, LinearForm) and all(tables.has(context) for context in form.contexts):
                predictors.append(form.fit(tables))
    return predictors
