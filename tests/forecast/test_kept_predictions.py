"""Kept predictions score as the board does, and hold the experts that the board ranks first."""

from dataclasses import replace

import numpy as np
import pytest

from routestat import Trace, TraceMeta
from routestat.counting import predictor_scores
from routestat.counting.score_sums import SUMS
from routestat.errors import RoutestatError
from routestat.forecast import catalogue, prediction_keeper, ridge_engine, whole_distributions
from routestat.forecast.board import make_board
from routestat.forecast.kept_predictions import (
    best_kept,
    eviction_predictors,
    keep_predictions,
    prefetch_predictors,
)
from routestat.forecast.prediction_keeper import PredictionKeeper
from routestat.forecast.specification import BoardPlan
from tests.forecast.gate_traces import ALPHABET, PAIRS, early, make_trace, registered, routers, rows_of

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


def balanced_trace(seed):
    """Every document has every pair once in every layer: many experts are equally probable."""
    rng = np.random.default_rng(seed)
    states = np.concatenate([rng.permuted(np.tile(np.arange(15), (4, 1)), axis=1).T for _ in range(8)])
    document = np.repeat(np.arange(8), 15)
    return Trace.from_arrays(
        TraceMeta(routers(LAYERS)), document, None, states.astype(ALPHABET.dtype), template="keep",
        token=np.zeros(len(document), int),
    )  # fmt: skip


@pytest.fixture(
    scope="module", params=[(view, kind) for view in ("subset", "expert") for kind in (5, None, "tied")]
)
def case(request):
    view, ids = request.param
    if ids == "tied":
        trace = balanced_trace(1)
    else:
        trace = make_trace(
            LAYERS, AHEAD, documents=10, length=14, seed=3, missing=0.06, recorded=0.9, ids=ids
        )
    rows = rows_of(trace, folds=7)
    with pytest.MonkeyPatch.context() as patch:
        # Everything is done in several parts.
        patch.setattr(whole_distributions, "HELD", 60)
        patch.setattr(prediction_keeper, "_ROWS", 5)
        patch.setattr(predictor_scores, "_ROWS", 7)
        patch.setattr(ridge_engine, "_ROWS", 11)
        kept = keep_predictions(rows, NAMES, HORIZONS, 5, view, PLAN)
    return rows, kept, board_of(rows, view)


def test_every_predictor_of_the_board_is_kept_and_scores_as_on_the_board(case):
    rows, kept, board = case
    assert {(score.predictor, score.horizon) for score in board} == set(kept)
    assert len(kept) > 9
    by_name = {router.name: router for router in rows.routers}
    predicted = {}
    for score in board:
        one, router = kept[score.predictor, score.horizon], by_name[score.router]
        predicted.setdefault((score.predictor, score.horizon), set()).add(router)
        for first, column in (
            (2, len(SUMS)),
            (5, SUMS.index("recall_at_k3")),
            (4, SUMS.index("recall_at_2k")),
        ):
            found, tokens = shares(rows, one, router, first)
            assert tokens == score.sums[:, 0].sum()
            expected = score.sums[:, column].sum() / tokens
            assert found == pytest.approx(expected, abs=1e-12), (
                score.predictor,
                score.horizon,
                router,
                first,
            )
        layer = rows.routers.index(router)
        assert one.tokens[layer] == tokens
        assert one.hits[layer] == 2 * round(score.sums[:, len(SUMS)].sum() * 2) / 2
    for key, layers in predicted.items():
        others = [at for at, router in enumerate(rows.routers) if router not in layers]
        assert (kept[key].experts[:, others] == -1).all()
        assert (kept[key].score[:, others] == 0).all()
        assert kept[key].recall == pytest.approx(kept[key].hits.sum() / (2 * kept[key].tokens.sum()))


def test_nothing_is_kept_of_tokens_without_a_choice_and_experts_differ(case):
    rows, kept, _ = case
    for one in kept.values():
        for layer in np.flatnonzero(one.tokens):
            made = one.experts[:, layer, 0] >= 0
            np.testing.assert_array_equal(made, rows.known(rows.routers[layer]))
            experts = one.experts[made, layer]
            assert (np.diff(np.sort(experts, axis=1), axis=1) > 0).all()
            assert experts.min() >= 0
            assert experts.max() < 6


def test_probabilities_are_those_of_choices(case):
    _, kept, board = case
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


def test_the_fallback_of_a_predictor_answers_though_it_is_not_kept():
    rows = rows_of(make_trace(LAYERS, {}, documents=9, length=12, seed=5, missing=0.2), folds=3)
    name = "layer-1-previous-token-factorised"
    kept = keep_predictions(rows, [name], [1], 3, "expert", PLAN)
    assert set(kept) == {(name, 1)}
    names = ("popularity", "layer-1-factorised", name)
    for score in board_of(rows, "expert", names):
        if score.predictor == name:
            router = next(one for one in rows.routers if one.name == score.router)
            assert shares(rows, kept[name, 1], router, 2)[0] == pytest.approx(
                score.sums[:, len(SUMS)].sum() / score.n_tokens
            )


def test_uniform_and_popularity_counted_by_hand():
    rows = rows_of(make_trace((0, 1), {}, documents=8, length=6, seed=2), folds=4)
    kept = keep_predictions(rows, ["uniform", "popularity"], [], 8, "expert", PLAN)
    assert list(kept) == [("uniform", 0), ("popularity", 0)]
    uniform, popularity = kept.values()
    assert uniform.experts.shape == (48, 2, 6)
    np.testing.assert_array_equal(uniform.experts, np.broadcast_to(np.arange(6), (48, 2, 6)))
    np.testing.assert_allclose(uniform.score, 1 / 3, rtol=1e-3)
    for layer, router in enumerate(rows.routers):
        for fold in range(4):
            load = np.bincount(rows.experts(router)[rows.fold != fold].ravel(), minlength=6)
            first = np.argsort(-load, kind="stable")
            own = popularity.experts[rows.fold == fold, layer]
            np.testing.assert_array_equal(load[own], np.broadcast_to(load[first], own.shape))
            assert (own == own[0]).all()
            # All six experts: the probabilities add up to the number of choices.
            assert popularity.score[rows.fold == fold, layer].astype(float).sum(1) == pytest.approx(
                2, abs=0.01
            )


def test_a_gate_that_is_always_right_is_kept_first():
    rows = rows_of(make_trace((0, 1, 2), {(0, 1): 1.0, (0, 2): 1.0}, seed=1), folds=4)
    kept = keep_predictions(rows, ["gate"], [1, 2, 3], 3, "expert", PLAN)
    assert set(kept) == {("gate", 1), ("gate", 2)}
    for horizon in (1, 2):
        one = kept["gate", horizon]
        assert one.recall == 1.0
        assert one.tokens.tolist() == [0, 120 * (horizon == 1), 120 * (horizon == 2)]
        np.testing.assert_array_equal(
            np.sort(one.experts[:, horizon, :2]), rows.experts(rows.routers[horizon])
        )
        # c has a prior, and is finite.
        assert one.score[:, horizon, 1].min() > 2 * one.score[:, horizon, 2].max()


def changed_later(view):
    """Predictions of two traces that differ in the last half of document 3, in the expert view in all of 10 too."""
    length, folds, layers = 12, 7, (0, 1, 2)
    rng = np.random.default_rng(4)
    document = np.repeat(np.arange(14), length)
    token = rng.integers(0, 6, len(document))
    own = rng.integers(0, len(PAIRS), (6, len(layers)))
    states, others = (
        np.where(
            rng.random((len(token), 3)) < 0.6, table[token], rng.integers(0, len(PAIRS), (len(token), 3))
        )
        for table in (own, rng.permuted(own, axis=0))
    )
    changed = states.copy()
    changed[3 * length + 6 : 4 * length] = others[3 * length + 6 : 4 * length]
    if view == "expert":
        # It is held out with document 3; in the state view contexts leave out the document alone.
        changed[10 * length : 11 * length] = others[10 * length : 11 * length]
    columns = {f"L{at:02d}.ahead1": early(states[:, at + 1], 0.7, rng) for at in (0, 1)}
    found = []
    for values in (states, changed):
        trace = Trace.from_arrays(
            TraceMeta(routers(layers)), document, None, values.astype(ALPHABET.dtype), columns=columns,
            template="keep", token=token,
        )  # fmt: skip
        found.append(keep_predictions(rows_of(trace, folds), NAMES, HORIZONS, 4, view, PLAN))
    return (*found, slice(3 * length, 3 * length + 6), slice(0, length))


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_no_document_is_predicted_by_a_model_that_saw_it(view):
    before, after, same, elsewhere = changed_later(view)
    assert before.keys() == after.keys()
    moved = set()
    for key, one in before.items():
        other = after[key]
        np.testing.assert_array_equal(one.experts[same], other.experts[same], err_msg=str(key))
        np.testing.assert_allclose(one.score[same].astype(float), other.score[same].astype(float), atol=2e-3)
        if (one.score[elsewhere] != other.score[elsewhere]).any():
            moved.add(key)
    # The test can fail: documents of other folds are predicted from these choices.
    assert len(moved) > len(before) / 2


def test_predictors_of_the_next_token_know_no_more_than_the_layer_itself():
    assert eviction_predictors() == (
        "popularity", "repeat-previous-token", "previous-token", "previous-two-tokens",
    )  # fmt: skip


def test_predictors_of_later_layers_are_those_that_the_trace_allows():
    alone = rows_of(make_trace((0, 1), {}, documents=4, length=4))
    assert prefetch_predictors(alone, "expert") == ("layer-1", "ridge-1", "ridge-4", "ridge-all")
    whole = rows_of(make_trace((0, 1), {(0, 1): 0.5}, documents=4, length=4, ids=3))
    assert prefetch_predictors(whole, "subset") == (
        "layer-1", "ridge-1", "ridge-4", "ridge-all", "ridge-all-token-id", "gate",
    )  # fmt: skip


def test_the_best_is_the_best_on_layers_that_all_predict():
    rows = rows_of(make_trace((0, 1, 2), {(0, 1): 1.0, (1, 1): 0.9, (0, 2): 0.95}, seed=1), folds=4)
    kept = keep_predictions(rows, ["popularity", "gate"], [1, 2], 2, "expert", PLAN)
    assert best_kept(kept) is kept["gate", 2]
    assert best_kept(kept, [("gate", 1), ("popularity", 0)]) is kept["gate", 1]
    assert best_kept(kept, [("popularity", 0), ("no such", 0)]) is kept["popularity", 0]
    # Over all of its layers the first horizon is better than the second; at the last layer it is not.
    assert kept["gate", 1].recall > kept["gate", 2].recall - 0.05
    with pytest.raises(RoutestatError, match="expected kept predictions to choose from, got none"):
        best_kept(kept, [("no such", 0)])


def test_what_cannot_be_fitted_is_absent():
    rows = rows_of(make_trace((0, 1), {}, documents=6, length=5), folds=3)
    names = ["token-id", "gate", "layers-2", "token-id-cache", "ridge-2"]
    # No ids, no recorded gate, no form in the view; ridge-2 is made for one layer ahead only.
    assert keep_predictions(rows, names, [2], 3, "expert", PLAN) == {}
    assert keep_predictions(rows, ["layer-1"], [], 3, "expert", PLAN) == {}
    one = rows_of(make_trace((0, 1), {}, documents=1, length=9))
    assert keep_predictions(one, ["popularity", "layer-1"], [1], 3, "expert", PLAN) == {}


def test_bad_input():
    rows = rows_of(make_trace((0, 1), {}, documents=4, length=3), folds=2)
    for names, horizons, places, words in (
        (["ridge-9"], [1], 3, "predictor 'ridge-9' is not registered; choose from uniform, popularity"),
        (["layer-1"], [0], 3, "layers ahead: expected 1 or more, got 0"),
        (["layer-1"], [1], 0, "places: expected 1 or more, got 0"),
    ):
        with pytest.raises(RoutestatError, match=words):
            keep_predictions(rows, names, horizons, places, "expert", PLAN)


def test_only_rows_that_are_scored_are_predicted():
    trace = make_trace((0, 1), {}, documents=8, length=6, seed=2)
    rows = replace(rows_of(trace, folds=4), scored_folds=(1,))
    for view in ("subset", "expert"):
        kept = keep_predictions(rows, ["uniform", "popularity", "layer-1", "ridge-1"], [1], 2, view, PLAN)
        assert len(kept) == 4
        for key, one in kept.items():
            np.testing.assert_array_equal(one.experts[:, 1, 0] >= 0, rows.fold == 1, err_msg=str(key))


def test_the_network_is_kept_as_it_scores():
    pytest.importorskip("torch")
    rows = rows_of(make_trace((0, 1, 2), {}, documents=9, length=8, seed=6, missing=0.1, ids=4), folds=6)
    keeper = PredictionKeeper([("network", 1)], rows.routers, len(rows), 4)
    plan = replace(PLAN, network=True, kept=keeper)
    board = make_board(rows, "expert", plan, specs=registered("network"))
    assert [score.router for score in board] == ["L01", "L02"]
    for score in board:
        router = rows.routers[1 if score.router == "L01" else 2]
        for first, column in ((2, len(SUMS)), (4, SUMS.index("recall_at_2k"))):
            found, tokens = shares(rows, keeper.found["network", 1], router, first)
            assert tokens == score.n_tokens
            assert found == pytest.approx(score.sums[:, column].sum() / tokens, abs=1e-12)
