"""Kept predictions score as the board does, and hold the experts that the board ranks first."""

import numpy as np
import pytest

from routestat.counting.score_sums import SUMS
from routestat.errors import RoutestatError
from routestat.forecast import catalogue
from routestat.forecast.board import make_board
from routestat.forecast.kept_predictions import (
    best_kept,
    eviction_predictors,
    keep_predictions,
    prefetch_predictors,
)
from routestat.forecast.prediction_keeper import PredictionKeeper
from routestat.forecast.specification import BoardPlan, RidgeForm
from routestat.inference.conditional_bernoulli.distribution import inclusion_probabilities
from tests.forecast.gate_traces import PAIRS, make_trace, registered, routers, rows_of

LAYERS = (0, 1, 2, 4)
AHEAD = {(0, 1): 0.8, (1, 1): 0.7, (0, 2): 0.6, (2, 2): 0.5}
#: Neither trained here, for it takes seconds, nor one order: the board scores the mean over all of them.
LEFT_OUT = ("network", "uniform")
NAMES = tuple(spec.name for spec in catalogue.PREDICTORS if spec.name not in LEFT_OUT)
HORIZONS = (1, 2)
PLAN = BoardPlan(threads=1, timed=False)


def board_of(rows, view, names=NAMES, horizons=HORIZONS):
    plan = BoardPlan(horizons=horizons, similar=True, threads=1, timed=False, calibrate=False)
    return make_board(rows, view, plan, specs=registered(*names))


def shares(rows, one, router, first):
    """Share of the chosen experts among the first so many, counted token by token."""
    layer = rows.routers.index(router)
    known = np.flatnonzero(rows.known(router) & rows.scored)
    chosen = rows.experts(router)
    found = [len(set(one.experts[t, layer, :first]) & set(chosen[t].tolist())) for t in known]
    return sum(found) / (router.top_k * len(found)), len(found)


@pytest.fixture(scope="module", params=[("subset", 5), ("expert", 5), ("expert", None), ("subset", None)])
def case(request):
    view, ids = request.param
    trace = make_trace(LAYERS, AHEAD, documents=10, length=14, seed=3, missing=0.06, recorded=0.9, ids=ids)
    rows = rows_of(trace, folds=7)
    return rows, view, keep_predictions(rows, NAMES, HORIZONS, 5, view, PLAN)


def test_every_predictor_of_the_board_is_kept_and_scores_as_on_the_board(case):
    rows, view, kept = case
    board = board_of(rows, view)
    assert {(score.predictor, score.horizon) for score in board} == set(kept)
    assert len(kept) > 12
    by_name = {router.name: router for router in rows.routers}
    predicted = {}
    for score in board:
        one, router = kept[score.predictor, score.horizon], by_name[score.router]
        predicted.setdefault((score.predictor, score.horizon), set()).add(router)
        for first, column in ((2, len(SUMS)), (5, SUMS.index("recall_at_k3")), (4, SUMS.index("recall_at_2k"))):
            found, tokens = shares(rows, one, router, first)
            assert tokens == score.sums[:, 0].sum()
            expected = score.sums[:, column].sum() / tokens
            assert found == pytest.approx(expected, abs=1e-12), (score.predictor, score.horizon, router, first)
        layer = rows.routers.index(router)
        assert one.tokens[layer] == tokens
        assert one.hits[layer] == 2 * round(score.sums[:, len(SUMS)].sum() * 2) / 2
    for key, layers in predicted.items():
        others = [at for at, router in enumerate(rows.routers) if router not in layers]
        assert (kept[key].experts[:, others] == -1).all()
        assert (kept[key].score[:, others] == 0).all()
        assert kept[key].recall == pytest.approx(kept[key].hits.sum() / (2 * kept[key].tokens.sum()))


def test_nothing_is_kept_of_tokens_without_a_choice_and_experts_differ(case):
    rows, _, kept = case
    for one in kept.values():
        for layer in np.flatnonzero(one.tokens):
            made = one.experts[:, layer, 0] >= 0
            np.testing.assert_array_equal(made, rows.known(rows.routers[layer]))
            experts = one.experts[made, layer]
            assert (np.diff(np.sort(experts, axis=1), axis=1) > 0).all()
            assert experts.min() >= 0
            assert experts.max() < 6


def test_probabilities_are_those_of_choices(case):
    rows, view, kept = case
    board = board_of(rows, view)
    ranked = {score.predictor for score in board if not score.has_probabilities}
    for (name, _), one in kept.items():
        for layer in np.flatnonzero(one.tokens):
            score = one.score[one.experts[:, layer, 0] >= 0, layer].astype(float)
            if name in ranked:
                np.testing.assert_allclose(score, np.tile(1 / np.arange(1, 6), (len(score), 1)), rtol=1e-3)
                continue
            # Five of six experts: the sixth has what is missing to two.
            assert (score.sum(axis=1) < 2.01).all()
            assert (score.sum(axis=1) > 2 * 5 / 6 - 0.01).all() or name in ("gate", "layer-1")
            if name != "gate":
                assert (np.diff(score, axis=1) <= 0).all()
