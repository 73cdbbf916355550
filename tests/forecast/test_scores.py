import itertools
from math import comb, log2

import numpy as np
import pytest

from routestat import Alphabet, Context, RoutestatError, Trace, TraceMeta, count
from routestat.counting.predictor_scores import SUMS, count_decisions
from routestat.forecast.board import expert_board, mean_board, state_board
from routestat.forecast.fold_tables import assign_folds
from routestat.forecast.linear_fit import linear_predictors
from routestat.forecast.scores import SCORES, PredictionScore, score_table, score_uniform
from routestat.inference.smoothing.concentration import fit_concentration
from routestat.traces.metadata import routers_like
from routestat.traces.synthetic import chain, expert_chain, independent
from tests.oracle import forecast_oracle


@pytest.mark.parametrize("alpha", [0.5, "empirical-bayes"])
def test_held_out_scores_against_the_slow_way(alpha):
    rng = np.random.default_rng(0)
    alphabet = Alphabet(5, 2)
    distribution = rng.dirichlet(np.full(10, 0.3), size=4)
    tables = np.stack([[rng.multinomial(rng.integers(0, 9), row) for row in distribution] for _ in range(6)])
    fast = score_table(tables, alphabet.membership, 2, alpha)
    halves = [
        tables[1::2].sum(0),
        tables[0::2].sum(0),
    ]  # the prior of a group comes from the half it is not in

    def prior(group):
        return 0.5 if alpha == 0.5 else fit_concentration(halves[group % 2])

    slow = forecast_oracle.score(tables, list(itertools.combinations(range(5), 2)), 5, 2, prior)
    np.testing.assert_allclose(fast, slow, rtol=1e-9)


def test_blocks_of_groups_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    tables = rng.poisson(0.7, (9, 6, 6))
    whole = score_table(tables, Alphabet(4, 2).membership, 2, "empirical-bayes")
    monkeypatch.setattr("routestat.inference.base.chunks.CELLS", 40)
    assert np.array_equal(score_table(tables, Alphabet(4, 2).membership, 2, "empirical-bayes"), whole)


def test_a_group_is_never_scored_by_itself():
    # One group alone has a state that no other has: with alpha = 1 over two states it can only get 1/2 in the
    # first context, however often it was seen there.
    tables = np.zeros((3, 1, 2), int)
    tables[0, 0, 1] = 1000
    sums = score_table(tables[[0, 1]], np.eye(2), 1, 1.0)
    assert sums.sum() == 0  # one group with tokens: nothing to hold out
    tables[2, 0, 0] = 2
    sums = score_table(tables, np.eye(2), 1, 1.0)
    np.testing.assert_allclose(sums[0, 6], 1000 * -log2(1 / 4))
    assert sums[0, 1] == 0


def test_exact_set_and_recall_decide_differently():
    # P(01) = .4, P(02) = P(12) = 0, P(23) = .3, P(13) = .3: the best pair is 01, the best two experts 1 and 3.
    tables = np.zeros((2, 1, 6), int)
    tables[:, 0] = [400, 0, 0, 0, 300, 300]
    sums = score_table(tables, Alphabet(4, 2).membership, 2, 1e-6)
    exact, recall = sums[:, 1].sum() / 2000, sums[:, 2].sum() / 2000
    assert exact == pytest.approx(0.4)
    assert recall == pytest.approx((0.4 + 0.3 + 2 * 0.3) / 2)


def test_uniform_scores_are_the_expectations_of_a_blind_draw():
    sums = score_uniform(np.array([10.0]), 8, 2)[0] / 10
    assert sums[SUMS.index("exact_set")] == pytest.approx(1 / 28)
    assert sums[SUMS.index("recall_at_k")] == pytest.approx(0.25)
    assert sums[SUMS.index("hit_rate")] == pytest.approx(1 - comb(6, 2) / 28)
    assert sums[SUMS.index("recall_at_2k")] == pytest.approx(0.5)
    assert sums[SUMS.index("bits")] == pytest.approx(log2(28))


def board_of(synthetic):
    meta = TraceMeta(routers_like(synthetic.layers, synthetic.n_experts, synthetic.top_k))
    trace = Trace.from_arrays(meta, synthetic.document, synthetic.position, synthetic.states)
    counts = count(trace)
    if counts.states == "subset":
        return {s.predictor: s for s in mean_board(state_board(counts))}
    folds = assign_folds(counts)
    predictors = linear_predictors(counts, folds, "empirical-bayes")
    return {
        s.predictor: s
        for s in mean_board(expert_board(counts, predictors, count_decisions(trace, predictors, folds)))
    }


SHAPE = {"n_experts": 6, "top_k": 2, "layers": 4, "documents": 60, "mean_length": 200}


def test_on_independent_layers_the_chain_gains_nothing():
    board = board_of(independent(rng=np.random.default_rng(2), **SHAPE))
    popular, layer = board["popularity"].estimate("log_loss_bits"), board["layer-1"].estimate("log_loss_bits")
    # The chain pays a little for the cells it has to learn, and must not seem to win.
    assert popular.low < layer.value < popular.value + 0.05
    assert layer.value > popular.value - 3 * popular.standard_error


def test_on_a_chain_the_gain_is_its_mutual_information():
    synthetic = chain(coupling=0.7, rng=np.random.default_rng(3), **SHAPE)
    board = board_of(synthetic)
    gain = (
        board["popularity"].estimate("log_loss_bits").value - board["layer-1"].estimate("log_loss_bits").value
    )
    truth = float(np.mean(synthetic.truth.mi_bits))
    error = board["layer-1"].estimate("log_loss_bits").standard_error
    assert truth - 4 * error - 0.03 < gain < truth + 4 * error
    assert board["layer-1"].estimate("exact_set").low > board["popularity"].estimate("exact_set").high


def test_wide_predictors_find_what_there_is_and_nothing_else():
    shape = {"n_experts": 24, "top_k": 4, "layers": 3, "documents": 40, "mean_length": 100}
    coupled = board_of(expert_chain(coupling=0.9, rng=np.random.default_rng(4), **shape))
    assert coupled["layer-1"].estimate("recall_at_k").low > coupled["popularity"].estimate("recall_at_k").high
    assert (
        coupled["layer-1"].estimate("log_loss_bits").high
        < coupled["popularity"].estimate("log_loss_bits").low
    )
    free = board_of(expert_chain(coupling=0.0, rng=np.random.default_rng(5), **shape))
    blind = free["popularity"].estimate("recall_at_k")
    assert free["layer-1"].estimate("recall_at_k").value < blind.value + 3 * blind.standard_error
    assert np.isnan(free["repeat-previous-token"].estimate("log_loss_bits").value)
    assert "no probabilities" in free["repeat-previous-token"].estimate("log_loss_bits").reason


def test_scores_carry_intervals_over_documents_and_know_their_names():
    sums = np.zeros((6, 7))
    sums[:, 0] = [10, 20, 30] * 2
    sums[:, 1] = [1, 4, 3] * 2
    score = PredictionScore("x", -1, 0, 0, sums)
    estimate = score.estimate("exact_set")
    # R = 8/60; ψ = 1 − 10R, 4 − 20R, 3 − 30R = −1/3, 4/3, −1; all twice;
    # Var = 6/5 · 2 · (1/9 + 16/9 + 1) / 120².
    assert estimate.value == pytest.approx(8 / 60)
    assert estimate.standard_error == pytest.approx(np.sqrt(1.2 * 2 * (26 / 9)) / 120)
    with pytest.raises(RoutestatError, match="score must be one of"):
        score.estimate("accuracy")
    assert set(SCORES) == {
        "exact_set",
        "recall_at_k",
        "hit_rate",
        "top1_hit",
        "recall_at_2k",
        "log_loss_bits",
    }


def test_the_mean_compares_predictors_on_the_layers_all_of_them_have():
    synthetic = independent(rng=np.random.default_rng(6), **SHAPE)
    board = board_of(synthetic)
    assert board["popularity"].n_tokens == board["layer-1"].n_tokens == 3 * len(synthetic.document)
    assert Context.layer(1).name == "layer-1"
