"""Predictors that are linear in the sources' experts: the expert view's popularity, repetition, chain, naive Bayes.

All are fitted fold by fold on the other folds' tables; all smoothing comes from one Dirichlet prior per gap.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.predictor_scores import LinearPredictor
from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.prior import resolve_alpha
from routestat.traces.metadata import Router

FOLDS = 10


def assign_folds(counts: Counts, folds: int = FOLDS) -> NDArray[np.int64]:
    """Deal the groups that hold tokens to folds in turn ``[group]``; empty groups get fold 0."""
    used = np.flatnonzero(counts.tokens)
    assigned = np.zeros(counts.groups, np.int64)
    assigned[used] = np.arange(len(used)) % max(1, min(folds, len(used)))
    return assigned


def linear_predictors(
    counts: Counts,
    folds: NDArray[np.int64],
    alpha: str | float,
    progress: Callable[[int, int], None] = lambda done, total: None,
    targets: Sequence[Router] | None = None,
    tempered: Mapping[str, Floats] | None = None,
) -> list[LinearPredictor]:
    """Popularity, previous token, order 1 (mean of conditionals) and naive Bayes for every target layer.

    Popularity answers for whatever the others cannot, so that all are scored on the same tokens.

    Parameters
    ----------
    counts : Counts
        In the expert view, with the contexts nothing, layer −1 and token −1.
    folds : int array ``[group]``
    alpha : str or float
    progress : callable(routers_done, routers_in_all)
    targets : sequence of Router, optional
        Which of the counted ones (all).
    tempered : mapping of router name to float array ``[fold, j]``, optional
        Log weights that popularity has (see `fit_load`); the logits of the loads as counted unless given.
    """
    predictors = []
    chosen = counts.routers if targets is None else targets
    for place, target in enumerate(chosen):
        progress(place, len(chosen))
        loads = _inclusions(counts.table(Context(), target)[:, None, :], folds, alpha, target.top_k)
        popular = loads[:, 0]
        nothing = np.zeros((len(popular), 0, target.n_experts))
        popularity = LinearPredictor("popularity", target, (), popular, nothing, "inclusion")
        if tempered is not None and target.name in tempered:
            popularity = replace(popularity, bias=tempered[target.name], link="log-weight")
        predictors.append(popularity)
        # Popularity breaks ties among the experts that the previous token did not have.
        eye = np.eye(target.n_experts)
        repeat = np.broadcast_to(eye, (len(popular), *eye.shape)).copy()
        ranking = replace(popularity, link="rank")
        predictors.append(
            LinearPredictor(
                "repeat-previous-token", target, ((target, 1),), popular * 1e-3, repeat, "rank", ranking
            )
        )
        if (source := counts.source(target)) is None:
            continue
        # The chain of order 1: the mean over the source's experts of P(j | i).
        given = _inclusions(counts.table(Context.layer(1), target), folds, alpha, target.top_k)
        mean, still, before = given / source.top_k, np.zeros_like(popular), ((source, 0),)
        predictors.append(LinearPredictor("layer-1", target, before, still, mean, "inclusion", popularity))
        # Naive Bayes: the log odds of expert j plus the log lift of each of the source's experts.
        odds, lift = np.log(popular) - np.log1p(-popular), np.log(given) - np.log(popular)[:, None, :]
        predictors.append(
            LinearPredictor("layer-1-naive-bayes", target, before, odds, lift, "log-weight", popularity)
        )
    progress(len(chosen), len(chosen))
    return predictors


def _inclusions(
    tables: NDArray, folds: NDArray[np.int64], alpha: str | float, top_k: int
) -> NDArray[np.float64]:
    """P(expert j is chosen | row) ``[fold, row, expert]``, each fold's fitted on the other folds' tables.

    It is k times the posterior mean share of the row's choices. A learned prior comes from the folds of the
    other parity, so that no fold ever scores itself.
    """
    n_folds = int(folds.max()) + 1
    parts = np.array([tables[folds == fold].sum(axis=0, dtype=np.int64) for fold in range(n_folds)])
    total = parts.sum(axis=0)
    rule = "perks" if len(total) == 1 and isinstance(alpha, str) else alpha
    priors = [resolve_alpha(parts[1 - parity :: 2].sum(axis=0), rule) for parity in (0, 1)]
    found = []
    for fold in range(n_folds):
        rows, prior = total - parts[fold], priors[fold % 2]
        found.append(top_k * (rows + prior) / (rows.sum(axis=1, keepdims=True) + prior.sum()))
    return np.clip(np.array(found), 1e-9, 1 - 1e-9)
