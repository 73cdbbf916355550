from dataclasses import replace

import numpy as np
import pytest

from routestat import RoutestatError
from routestat.counting.board_rows import board_rows, joined_rows
from routestat.counting.document_sample import rows_of
from routestat.forecast.board import make_board
from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.specification import BoardPlan
from routestat.study.transfer import in_test_set, mean_scores, notes_on_models, transfer
from routestat.traces.metadata import TraceMeta, routers_like
from tests.study.transfer_cases import sample_of

PLAN = BoardPlan(threads=1)
VIEWS = pytest.mark.parametrize("view", ["subset", "expert"])


def by_name(found):
    return {one.score.predictor: one for one in found.scores}


@VIEWS
def test_the_model_has_seen_nothing_of_the_test_set(view):
    # Half of the test documents are replaced by documents of another process: what is predicted of the others must not
    # change, whatever the predictor and its hyper-parameters.
    test, other, train = sample_of(0, 1), sample_of(5, 2), sample_of(0, 3)
    half = test.document % 2 == 0
    columns = {
        name: np.where(half, values, other.columns[name][: len(test)])
        for name, values in test.columns.items()
    }
    altered = replace(test, columns=columns)
    boards = [make_board(joined_rows(one, train), view, PLAN) for one in (test, altered)]
    assert len({score.predictor for score in boards[0]}) > 2
    cells = boards[0][0].cells
    # One document is one group, and documents keep their order.
    kept = (cells.group % 2 == 0) & (cells.group < 40)
    for one, two in zip(*boards, strict=True):
        np.testing.assert_allclose(one.sums[kept], two.sums[kept], rtol=1e-12, err_msg=one.predictor)
        assert not one.sums[cells.group >= 40].any()
        assert one.n_tokens == len(test)


@VIEWS
def test_documents_of_one_process_are_predicted_as_well_as_held_out_ones(view):
    # Intervals are over test documents: how training sets differ by chance is not in them, and small with 6,000 tokens.
    test, train = sample_of(0, 4, 150), sample_of(0, 5, 150)
    own = make_board(board_rows(test, test.routers), view, PLAN)
    found = by_name(transfer(test, train, view, PLAN, own=own, names=("A", "B")))
    assert {"uniform", "layer-1-naive-bayes"} <= set(found)
    for one in found.values():
        assert (one.train, one.test, one.is_held_out, one.n_train_tokens) == ("B", "A", False, len(train))
        if one.score.predictor != "uniform":
            assert abs(one.less_than_own("recall_at_k").value) < 0.02, one.score.predictor
        if one.score.has_probabilities:
            assert abs(one.less_than_own("log_loss_bits").value) < 0.03, one.score.predictor


@VIEWS
def test_documents_of_another_process_are_predicted_worse(view):
    test, train = sample_of(0, 6), sample_of(1, 7)
    own = make_board(board_rows(test, test.routers), view, PLAN)
    found = by_name(transfer(test, train, view, PLAN, own=own))["layer-1-naive-bayes"]
    assert found.less_than_own("recall_at_k").high < -0.05
    assert found.less_than_own("log_loss_bits").low > 0.5
    # The other way round: a predictor of the own process is worth it, one of another is not.
    uniform = by_name(transfer(test, train, view, PLAN))["uniform"].score.estimate("recall_at_k").value
    assert found.own.estimate("recall_at_k").value > uniform + 0.1


def test_popularity_by_hand():
    test, train = sample_of(2, 8), sample_of(3, 9)
    specs = [spec for spec in PREDICTORS if spec.name == "popularity"]
    found = transfer(test, train, "expert", PLAN, specs=specs)
    hits = 0
    for router in test.routers:
        loads, chosen = np.zeros(5, int), []
        for sample in (train, test):
            chosen = router.alphabet.unrank(sample.columns[router.name])
            if sample is train:
                loads = np.bincount(chosen.ravel(), minlength=5)
        best = np.argsort(-loads, kind="stable")[:2]
        hits += np.isin(chosen, best).sum()
    score = found.scores[0].score
    assert score.n_tokens == len(test) * len(test.routers)
    assert score.estimate("recall_at_k").value == pytest.approx(hits / 2 / score.n_tokens)


def test_the_same_scores_whatever_the_numbers_of_documents_and_the_domains():
    test, train = sample_of(0, 10), sample_of(0, 11)
    moved = replace(
        train, document=train.document + 1000, units=type(train.units).alone(train.document + 1000),
        domains={1003: "x"},
    )  # fmt: skip
    one, two = (transfer(test, some, "expert", PLAN).scores for some in (train, moved))
    for a, b in zip(one, two, strict=True):
        # Which fold a document is in depends on its group, the number modulo the number of groups.
        assert a.score.estimate("recall_at_k").value == pytest.approx(
            b.score.estimate("recall_at_k").value, abs=0.02
        )
        assert len(a.score.cells) == len(b.score.cells) == 40


def test_shared_documents_are_not_trained_on():
    test = sample_of(0, 12)
    with pytest.raises(RoutestatError, match="only ones that share their text with the test set"):
        transfer(test, test, "expert", PLAN)
    first = test.document < 25
    found = transfer(rows_of(test, first), rows_of(test, test.document >= 20), "expert", PLAN)
    assert found.notes == (
        "5 of the 20 documents of the training set share their text with documents of the test set and are left out",
    )
    assert found.scores[0].n_train_tokens == (~first).sum()


def test_a_board_of_other_tokens_gives_no_differences():
    test, train = sample_of(0, 13), sample_of(0, 14)
    part = rows_of(test, test.document < 30)
    found = transfer(
        test, train, "expert", PLAN, own=make_board(board_rows(part, test.routers), "expert", PLAN)
    )
    assert "no differences" in found.notes[-1]
    assert np.isnan(found.scores[0].less_than_own("recall_at_k").value)


def test_layers_of_one_trace_only_are_noted():
    test, train = sample_of(0, 15), sample_of(0, 16)
    found = transfer(test, replace(train, routers=train.routers[:3]), "expert", PLAN)
    assert found.notes == ("layers 3 are recorded in the test set only and left out",)
    assert {score.target for score in found.board} == {0, 1, 2}


def test_models_of_other_names_are_noted():
    a, b = (
        TraceMeta(routers_like(range(3), 8, 2), model=name) for name in ("Mixtral-8x7B", "mixtral-8x7b-fp8")
    )
    assert notes_on_models(a, b) == ()
    (note,) = notes_on_models(a, replace(b, model="OLMoE"))
    assert note.startswith("the models have different names, Mixtral-8x7B and OLMoE")
    assert "in order" in notes_on_models(a, replace(a, extra={"layer_numbers": "reader"}))[0]


def test_means_are_over_the_targets_that_all_boards_have():
    test = sample_of(0, 17)
    long, short = (
        make_board(board_rows(test, some), "expert", PLAN) for some in (test.routers, test.routers[:3])
    )
    one, two = mean_scores([long, short])
    assert list(one) == list(two)
    # Of the first layer not all predictors have a score.
    assert one["popularity"].n_tokens == 2 * len(test)
    assert mean_scores([long, ()]) == [{}, {}]


def test_a_score_in_its_test_set_is_the_same_score():
    test, train = sample_of(0, 18), sample_of(0, 19)
    whole = next(
        s for s in make_board(joined_rows(test, train), "expert", PLAN) if s.predictor == "popularity"
    )
    part = in_test_set(whole)
    assert part.estimate("recall_at_k") == whole.estimate("recall_at_k")
    assert part.calibration.sum() == whole.calibration.sum()
    assert part.cells.n_groups == 40
    assert in_test_set(whole, "elsewhere").n_tokens == 0


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_ids_that_only_the_test_set_has_leave_a_predictor_what_remains(view):
    test, train = sample_of(0, 1), sample_of(0, 2)
    test = replace(test, token=np.random.default_rng(0).integers(0, 9, len(test)).astype(np.int32))
    specs = [
        spec for spec in PREDICTORS if spec.name in ("popularity", "token-id", "layer-1", "layer-1-token-id")
    ]
    found = transfer(test, train, view, PLAN, specs=specs)
    scores = {one.score.predictor: one.score for one in found.scores}
    pairs = [("token-id", "popularity"), *([("layer-1-token-id", "layer-1")] if view == "subset" else [])]
    for name, without in pairs:
        assert abs(scores[name].less(scores[without], "recall_at_k").value) < 0.02
        assert scores[name].less(scores[without], "log_loss_bits").value < 0.05
    assert any("no token ids" in note for note in found.notes)


@VIEWS
def test_one_document_is_predicted_by_what_was_fitted_to_others(view):
    test, train = sample_of(0, 1, documents=1), sample_of(0, 2)
    specs = [spec for spec in PREDICTORS if spec.name in ("uniform", "popularity", "layer-1")]
    own = make_board(board_rows(test, test.routers), view, PLAN, specs=specs)
    found = transfer(test, train, view, PLAN, specs=specs, own=own)
    scores = by_name(found)
    assert list(scores) == ["uniform", "popularity", "layer-1"]
    recall = {name: one.score.estimate("recall_at_k").value for name, one in scores.items()}
    assert recall["layer-1"] > recall["uniform"]
    # Nothing of one document can be held out, so that it has no predictor of its own.
    assert scores["layer-1"].own is None
    assert any("own board lacks" in note for note in found.notes)
