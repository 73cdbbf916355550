"""The token id backed off to the load: held-out scores against the slow way, and the strength of the back-off."""

import dataclasses
import itertools
from math import log

import numpy as np
import pytest

from routestat.counting.score_sums import SUMS
from routestat.forecast import token_id
from routestat.forecast.board import make_board
from routestat.forecast.exponents import log_odds, near_log_weights
from routestat.forecast.specification import BoardPlan
from routestat.inference.conditional_bernoulli.distribution import inclusion_probabilities
from tests.forecast.gate_traces import experts_of, make_trace, registered, rows_of
from tests.oracle import gate_oracle

PLAN = BoardPlan(alpha=0.5, threads=1)
SPECS = registered("token-id")


def scored(rows):
    return {score.router: score for score in make_board(rows, "expert", PLAN, specs=SPECS)}


def of_layer(rows, layer):
    return experts_of(rows.sample.columns[layer]), rows.token.tolist(), rows.fold.tolist()


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_held_out_scores_against_the_slow_way(missing):
    rows = rows_of(make_trace((0, 1), {}, ids=9, missing=missing, seed=1))
    unknown = np.where(np.arange(len(rows)) % 11 == 3, -1, rows.token).astype(np.int32)
    rows = dataclasses.replace(rows, sample=dataclasses.replace(rows.sample, token=unknown))
    board = scored(rows)
    at = [SUMS.index(name) for name in ("tokens", "exact_set", "hit_rate", "top1_hit", "bits")]
    for layer, score in board.items():
        actual, token, fold = of_layer(rows, layer)
        slow, strengths = gate_oracle.token_sums(
            token, actual, fold, rows.n_folds, 6, 2, 0.5, token_id.STRENGTHS
        )
        total = score.sums.sum(axis=0)
        np.testing.assert_allclose(np.concatenate([total[at], total[len(SUMS) :]]), slow, rtol=1e-9)
        assert len(set(strengths) & set(token_id.STRENGTHS[1:-1])) > 0
        assert score.horizon == 0
        assert score.source == -1
        assert score.has_probabilities


def test_counts_without_folds_by_hand():
    rows = rows_of(make_trace((0, 1), {}, ids=5, seed=2))
    target = rows.routers[1]
    tables = token_id.TokenTables(rows, target, token_id.TokenIds.of_rows(rows), 0.5)
    actual, token, fold = of_layer(rows, "L01")
    counts, tokens, _ = tables.without((0, 2), np.array([-1, 3]))
    kept = [a for a, t, f in zip(actual, token, fold, strict=True) if t == 3 and f not in (0, 2)]
    assert tokens.ravel().tolist() == [0, len(kept)]
    assert counts[0].tolist() == [0] * 6
    assert counts[1].tolist() == [sum(j in pair for pair in kept) for j in range(6)]
    everywhere = {(t, j) for a, t in zip(actual, token, strict=True) for j in a}
    assert tables.n_counts == len(everywhere)


def test_an_id_that_the_other_folds_lack_is_predicted_by_the_load():
    rows = rows_of(make_trace((0, 1), {}, ids=3, seed=3))
    token = np.array(rows.token)
    token[rows.fold == 0] = 70_000
    rows = dataclasses.replace(rows, sample=dataclasses.replace(rows.sample, token=token))
    target = rows.routers[0]
    tables = token_id.TokenTables(rows, target, token_id.TokenIds.of_rows(rows), 0.5)
    given = token_id.inclusion_given_id(*tables.without((0,), np.array([3, -1])), 4.0)
    load = tables.loads.without((0,))[0]
    np.testing.assert_allclose(given, [load, load])


@pytest.mark.parametrize(("counts", "strength"), [((0, 0), 2.0), ((3, 1), 0.5), ((5, 0), 8.0)])
def test_inclusion_is_the_count_and_the_load_weighed(counts, strength):
    n, load = 5.0, np.array([0.6, 0.4])
    found = token_id.inclusion_given_id(np.array([counts], float), np.array([[n]]), load, strength)
    wanted = [(c + strength * p) / (n + strength) for c, p in zip(counts, load, strict=True)]
    np.testing.assert_allclose(found[0], wanted)
    assert found.sum() == pytest.approx((sum(counts) + strength) / (n + strength))


def test_the_search_finds_the_strength_of_least_loss_wherever_it_begins():
    rows = rows_of(make_trace((0, 1), {}, ids=40, documents=40, seed=4))
    target, ids = rows.routers[1], token_id.TokenIds.of_rows(rows)
    tables = token_id.TokenTables(rows, target, ids, 0.5)
    own = np.flatnonzero(rows.fold == 1)
    actual = rows.experts(target)[own]
    counts, tokens, load = tables.without((0, 1), ids.number[own])
    losses = []
    for s in token_id.STRENGTHS:
        p = token_id.inclusion_given_id(counts, tokens, load, s)
        losses.append(-sum(log(p[row, j]) for row, pair in enumerate(actual) for j in pair))
    best = token_id.STRENGTHS[int(np.argmin(losses))]
    assert token_id.STRENGTHS[0] < best < token_id.STRENGTHS[-1]
    for start in token_id.STRENGTHS:
        assert token_id.choose_strength(tables, ids.number[own], actual, (0, 1), start) == best


def test_every_fold_s_search_begins_alike(monkeypatch):
    begun = []

    def watched(*arguments, start=1.0):
        begun.append((len(arguments), start))
        return 4.0

    monkeypatch.setattr(token_id, "choose_strength", watched)
    scored(rows_of(make_trace((0, 1), {}, ids=6, documents=20)))
    assert set(begun) == {(4, 1.0)}


def test_ids_that_decide_nothing_gain_nothing_and_ids_that_decide_half_gain_much():
    specs = registered("token-id", "popularity")
    gains = []
    for shuffled in (True, False):
        rows = rows_of(make_trace((0, 1), {}, ids=20, documents=80, length=40, seed=5), folds=10)
        if shuffled:
            token = np.random.default_rng(0).permutation(rows.token)
            rows = dataclasses.replace(rows, sample=dataclasses.replace(rows.sample, token=token))
        board = {s.predictor: s for s in make_board(rows, "expert", PLAN, specs=specs) if s.router == "L01"}
        gains.append(board["popularity"].less(board["token-id"], "log_loss_bits"))
    # 20 ids have 15 times 20 probabilities to learn from 3,200 tokens, which the back-off keeps cheap.
    assert abs(gains[0].value) < 0.02
    assert gains[1].low > 0.5


def test_probabilities_are_calibrated():
    """Where experts are about p likely they are chosen about as often: 4 standard errors of independent tokens."""
    rows = rows_of(make_trace((0, 1), {}, ids=20, documents=100, length=60, seed=6), folds=10)
    calibration = scored(rows)["L01"].calibration.sum(axis=0)
    n, predicted, chosen = calibration[calibration[:, 0] > 500].T
    p = predicted / n
    assert len(n) > 4
    assert (np.abs(chosen / n - p) < 4 * np.sqrt(p * (1 - p) / n) + 0.02).all()


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_near_log_weights_give_the_probabilities_closely_and_keep_ties(top_k):
    exact = np.random.default_rng(9).normal(size=(200, 9))
    exact[:, 3] = exact[:, 5]
    wanted = inclusion_probabilities(exact, top_k)
    wanted[:, 5] = wanted[:, 3]
    found = near_log_weights(wanted, top_k)
    off = np.abs(inclusion_probabilities(found, top_k) - wanted)
    begun = np.abs(inclusion_probabilities(log_odds(wanted, top_k), top_k) - wanted)
    assert off.max() < 0.01
    assert off.mean() <= begun.mean() / 4 + 1e-9
    assert np.array_equal(found[:, 3], found[:, 5])


def test_relabelling_ids_changes_nothing():
    rows = rows_of(make_trace((0, 1), {}, ids=9, seed=7))
    names = np.random.default_rng(0).permutation(9) * 1000
    other = dataclasses.replace(rows.sample, token=names[rows.token].astype(np.int32))
    for one, two in itertools.pairwise((scored(rows), scored(dataclasses.replace(rows, sample=other)))):
        for layer in one:
            np.testing.assert_allclose(one[layer].sums, two[layer].sums)


def test_rows_that_only_serve_to_fit_are_not_scored():
    rows = rows_of(make_trace((0, 1), {}, ids=9))
    whole, part = scored(rows)["L00"], scored(dataclasses.replace(rows, scored_folds=(2,)))["L00"]
    inside = rows.fold_of_cell == 2
    assert part.sums[~inside].sum() == 0
    np.testing.assert_allclose(
        part.sums[inside, : SUMS.index("bits")], whole.sums[inside, : SUMS.index("bits")]
    )


def test_without_token_ids_or_with_one_document_there_is_no_score():
    assert scored(rows_of(make_trace((0, 1), {}))) == {}
    assert scored(rows_of(make_trace((0, 1), {}, ids=4, documents=1))) == {}
