"""Averages over similar tokens: against explicit loops, and what may not change a prediction."""

import numpy as np
import pytest

from routestat.counting.board_rows import joined_rows
from routestat.forecast import catalogue, same_history, same_id
from routestat.forecast.board import make_board
from routestat.forecast.left_out_ridges import LeftOutRidges
from routestat.forecast.ridge_search import PENALTIES, START
from routestat.forecast.same_history import SameHistory
from routestat.forecast.same_id import SameId
from routestat.forecast.specification import BoardPlan
from tests.forecast.similar_traces import ALPHABET, choices_of, copied_histories, make_arrays, rows_of
from tests.oracle import similar_oracle

PLAN = BoardPlan(alpha=0.5, similar=True, threads=1)


def board(rows, *names, view="expert", plan=PLAN):
    specs = [catalogue.specification(name) for name in names]
    return {(score.predictor, score.target): score for score in make_board(rows, view, plan, specs=specs)}


def similar(rows, **options):
    return {target: score for (_, target), score in board(rows, "similar-tokens", **options).items()}


@pytest.mark.parametrize(("missing", "window"), [(0.0, 0), (0.2, 6)])
def test_tokens_of_the_same_id_against_explicit_loops(missing, window):
    rows = rows_of(*make_arrays(6, 16, 3, ids=4, decided=0.4, missing=missing), folds=3, window=window)
    constants = {"slope": 2.5, "strength": 1.5, "previous": 3.0}
    fixed = same_id.PER_ID, same_id.OWN, same_id.AGE, same_id.KEPT, same_id.NEUTRAL
    average, chosen = SameId(rows, PLAN), np.flatnonzero(rows.fold == 1)
    for out in ((1,), (1, 0)):
        with average.without(out, 1):
            prepared = average.prepared(chosen)
            prior, found = prepared.args[1], prepared(constants)
        for given, before, t in zip(found, prior, chosen.tolist(), strict=True):
            of = before.astype(float).reshape(3, 6)
            slow = similar_oracle.same_id(t, rows, choices_of(rows), of, out, 64, constants, fixed)
            np.testing.assert_allclose(given, slow, rtol=1e-5)


@pytest.mark.parametrize(("missing", "window"), [(0.0, 0), (0.15, 6)])
def test_similar_histories_against_explicit_loops(missing, window):
    document, _, states = copied_histories(10, 12, 3, patterns=4)
    states = np.where(np.random.default_rng(2).random(states.shape) < missing, ALPHABET.missing, states)
    rows = rows_of(document, None, states.astype(ALPHABET.dtype), folds=5, window=window)
    constants = {"gamma": 5.0, "strength": 0.4, "previous": 0.3}
    fixed = same_history.KEPT, same_history.NEUTRAL, same_history.MIDDLE, same_history.LEAST
    average, chosen = SameHistory(rows, PLAN), np.flatnonzero(rows.fold == 0)
    pair, candidates = frozenset((0, 1)), np.flatnonzero(rows.fold > 1)
    ridges = LeftOutRidges(rows, [pair, pair | {2, 3}, pair | {4}], 1)
    prior = np.empty((len(rows), 18))
    prior[rows.fold < 2] = ridges.predict(np.flatnonzero(rows.fold < 2), pair)
    for folds in ((2, 3), (4,)):
        own = np.flatnonzero(np.isin(rows.fold, folds))
        prior[own] = ridges.predict(own, pair | set(folds))
    with average.without((0,), 0):
        found = average.prepared(chosen)(constants)
    for given, t in zip(found, chosen.tolist(), strict=True):
        arguments = choices_of(rows), prior.reshape(-1, 3, 6), candidates.tolist(), constants, fixed
        slow = similar_oracle.same_history(t, rows, *arguments)
        np.testing.assert_allclose(given, slow, rtol=1e-4, atol=1e-5)


def test_ridges_without_folds_against_the_normal_equations():
    rows = rows_of(*copied_histories(10, 12, 3), folds=5)
    ridges = LeftOutRidges(rows, [frozenset((0, 1))], 1)
    chosen = np.flatnonzero(rows.fold == 0)
    found = ridges.predict(chosen, frozenset((0, 1)))
    one_hot = [np.eye(6)[rows.experts(router)].sum(axis=1) for router in rows.routers]
    before = [np.where(rows.follows[:, None], np.roll(one, 1, axis=0), 0.0) for one in one_hot]
    features = np.column_stack([np.ones(len(rows)), ~rows.follows, *before])
    for place, target in enumerate(one_hot):
        train = rows.fold > 1
        penalty = np.diag([0.0, *np.full(features.shape[1] - 1, PENALTIES[START])])
        system = features[train].T @ features[train] + penalty
        weights = np.linalg.solve(system, features[train].T @ target[train])
        slow = features[chosen] @ weights
        np.testing.assert_allclose(found[:, 6 * place : 6 * place + 6], slow, atol=1e-5)
        features = np.column_stack([features, target])


@pytest.mark.parametrize("ids", [True, False])
def test_only_earlier_tokens_of_a_document_of_the_fold_are_used(ids):
    documents, length = 15, 16
    document, token, states = make_arrays(documents, length, 3, decided=0.6)
    phase = np.tile(np.repeat(["prefill", "decode"], length // 2), documents)
    before = similar(rows_of(document, token if ids else None, states, folds=5, phase=phase))
    # Document 0 is in fold 0 with documents 5 and 10: change those, and its own second half.
    other = np.isin(document, (5, 10)) | ((document == 0) & (phase == "decode"))
    rng = np.random.default_rng(1)
    token = np.where(other, rng.integers(0, 9, len(token)), token)
    states = np.where(other[:, None], rng.integers(0, ALPHABET.size, states.shape), states).astype(
        states.dtype
    )
    rows = rows_of(document, token if ids else None, states, folds=5, phase=phase)
    words = rows.cells.phase
    cell = [at for at, g in enumerate(rows.cells.group) if g == 0 and words[at] == "prefill"]
    after = similar(rows)
    assert set(after) == {1, 2}
    for layer, one in before.items():
        assert one.sums[cell, 0].sum() == length // 2
        assert np.array_equal(one.sums[cell], after[layer].sums[cell])
        assert not np.array_equal(one.sums, after[layer].sums)


def test_finds_copied_histories_that_a_ridge_does_not():
    rows = rows_of(*copied_histories(20, 40, 4, patterns=24), folds=5)
    found = board(rows, "ridge-all", "similar-tokens")
    gain = found["similar-tokens", 3].less(found["ridge-all", 3], "exact_set")
    assert gain.low > 0.02
    assert found["similar-tokens", 3].less(found["ridge-all", 3], "log_loss_bits").high < 0.0
    assert found["similar-tokens", 3].estimate("exact_set").low > 0.9


@pytest.mark.parametrize("ids", [True, False])
def test_gains_nothing_on_independent_choices(ids):
    document, token, states = make_arrays(30, 60, 3)
    found = board(rows_of(document, token if ids else None, states, folds=5), "popularity", "similar-tokens")
    for layer in (1, 2):
        score, other = found["similar-tokens", layer], found["popularity", layer]
        gain = score.less(other, "recall_at_k")
        assert gain.low < 0.01
        assert gain.high > -0.03
        assert score.estimate("log_loss_bits").value < other.estimate("log_loss_bits").value + 0.1


@pytest.mark.parametrize("ids", [True, False])
def test_all_known_targets_are_scored_and_both_views_are_the_same(ids):
    document, token, states = make_arrays(10, 20, 3, decided=0.7, missing=0.1)
    rows = rows_of(document, token if ids else None, states, folds=5)
    one, other = similar(rows, view="subset"), similar(rows, view="expert")
    for router in rows.routers[1:]:
        score = one[router.layer]
        assert np.array_equal(score.sums, other[router.layer].sums)
        assert score.n_tokens == rows.known(router).sum()
        assert (score.horizon, score.source) == (1, router.layer - 1)
        assert np.isfinite(score.sums).all()
        assert score.cost.parameters > 0


@pytest.mark.parametrize("ids", [True, False])
def test_trained_on_one_sample_and_scored_on_another(ids):
    document, token, states = make_arrays(14, 20, 3, ids=4, decided=0.8)
    test = rows_of(document[:80], token[:80] if ids else None, states[:80], folds=1).sample
    train = rows_of(document[:200], token[80:] if ids else None, states[80:], folds=1).sample
    rows = joined_rows(test, train, folds=6)
    for score in (found := similar(rows)).values():
        assert score.n_tokens == 80
        assert score.estimate("exact_set").value > (0.5 if ids else 0.2)
    # Rows of the test set's documents that follow, and other test documents, change nothing of its first document.
    states = np.where((np.arange(280) >= 20)[:, None] & (np.arange(280) < 80)[:, None], 0, states)
    test = rows_of(document[:80], token[:80] if ids else None, states[:80], folds=1).sample
    changed = similar(joined_rows(test, train, folds=6))
    cell = rows.cell[0]
    for layer, score in found.items():
        assert score.sums[cell, 0] == 20
        assert np.array_equal(score.sums[cell], changed[layer].sums[cell])


def test_threads_and_blocks_change_nothing(monkeypatch):
    for token_ids in (True, False):
        document, token, states = make_arrays(10, 30, 3, decided=0.5)
        rows = rows_of(document, token if token_ids else None, states, folds=5)
        one = similar(rows)
        monkeypatch.setattr("routestat.forecast.similar_tokens._PREDICTIONS", 18 * 7)
        two = similar(rows, plan=BoardPlan(alpha=0.5, similar=True, threads=3))
        monkeypatch.undo()
        for layer, score in one.items():
            np.testing.assert_allclose(score.sums, two[layer].sums, rtol=1e-9)


def test_a_note_where_candidates_are_bounded(monkeypatch):
    rows = rows_of(*copied_histories(10, 30, 3), folds=5)
    assert not similar(rows)[1].note
    monkeypatch.setattr(same_history, "CANDIDATES", 100)
    assert "sought among 100 of" in similar(rows)[1].note


def test_absent_where_nothing_can_be_held_out_and_unless_on_request():
    document, token, states = make_arrays(8, 10, 2)
    assert not similar(rows_of(document, token, states, folds=1))
    assert not similar(rows_of(document, None, states, folds=4))
    assert not similar(rows_of(document, token, states[:, :1], folds=4))
    assert not similar(rows_of(document, token, states, folds=4), plan=BoardPlan())
