"""Predictors that are linear in the sources' experts, from tables: popularity, repetition, order 1, naive Bayes.

All are fitted fold by fold on the other folds' tables; all smoothing comes from one Dirichlet prior per gap.
"""

from dataclasses import replace

import numpy as np

from routestat.counting.context import Context
from routestat.counting.predictor_scores import LinearPredictor
from routestat.forecast.fold_tables import FoldTables


def popularity(tables: FoldTables) -> LinearPredictor:
    """Return the predictor by the target's own loads, which answers for whatever the others cannot."""
    load = tables.inclusion(Context())[:, 0]
    nothing = np.zeros((len(load), 0, tables.target.n_experts))
    found = LinearPredictor("popularity", tables.target, (), load, nothing, "inclusion")
    if tables.load_log_weights is None:
        return found
    return replace(found, bias=tables.load_log_weights, link="log-weight")


def repeat_previous_token(tables: FoldTables) -> LinearPredictor:
    """Return the predictor of the previous token's experts; popularity breaks ties among the others."""
    load, eye = tables.inclusion(Context())[:, 0], np.eye(tables.target.n_experts)
    repeat = np.broadcast_to(eye, (len(load), *eye.shape)).copy()
    ranking = replace(popularity(tables), link="rank")
    sources = ((tables.target, 1),)
    return LinearPredictor(
        "repeat-previous-token", tables.target, sources, load * 1e-3, repeat, "rank", ranking
    )


def layer_mean(tables: FoldTables, ahead: int = 1) -> LinearPredictor:
    """Return the chain of order 1: the mean over the experts of the layer so many before of P(j | i)."""
    before = tables.sources(Context.layer(ahead))
    mean = tables.inclusion(Context.layer(ahead)) / before[0][0].top_k
    still = np.zeros((len(mean), tables.target.n_experts))
    return LinearPredictor("layer-1", tables.target, before, still, mean, "inclusion", popularity(tables))


def layer_naive_bayes(tables: FoldTables) -> LinearPredictor:
    """Return naive Bayes: the log odds of expert j plus the log lift of each of the source's experts."""
    load, given = tables.inclusion(Context())[:, 0], tables.inclusion(Context.layer(1))
    odds, lift = np.log(load) - np.log1p(-load), np.log(given) - np.log(load)[:, None, :]
    before = tables.sources(Context.layer(1))
    return LinearPredictor(
        "layer-1-naive-bayes", tables.target, before, odds, lift, "log-weight", popularity(tables)
    )
