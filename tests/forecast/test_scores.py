"""Scores as ratios of sums, their intervals and paired differences, and means over layers."""

from dataclasses import replace
from math import comb, log2

import numpy as np
import pytest

from routestat import RoutestatError, Trace, TraceMeta
from routestat.counting.score_sums import SUMS, Cells
from routestat.forecast.board import make_board, mean_board
from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.scores import SCORES, PredictionScore, pooled, score_uniform
from routestat.forecast.specification import BoardPlan, ClosedForm, ContextForm, LinearForm
from routestat.traces.metadata import routers_like
from routestat.traces.synthetic import expert_chain, independent
from tests.board_cases import rows_of


def test_uniform_scores_are_the_expectations_of_a_blind_draw():
    sums = score_uniform(np.array([10.0]), 8, 2)[0] / 10
    assert sums[SUMS.index("exact_set")] == pytest.approx(1 / 28)
    assert sums[SUMS.index("hit_rate")] == pytest.approx(1 - comb(6, 2) / 28)
    assert sums[SUMS.index("top1_hit")] == pytest.approx(0.25)
    assert sums[SUMS.index("recall_at_k3")] == pytest.approx(5 / 8)
    assert sums[SUMS.index("recall_at_2k")] == pytest.approx(0.5)
    assert sums[SUMS.index("bits")] == pytest.approx(log2(28))
    # Each of the experts has p = 1/4: a quarter of them is off by 3/4, the others by 1/4.
    assert sums[SUMS.index("brier")] == pytest.approx(0.25 * 0.75**2 + 0.75 * 0.25**2)
    # The share found with k, k + 1, … 4k experts; there are no more than eight.
    np.testing.assert_allclose(sums[len(SUMS) :], [2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1])


def trace_of(synthetic):
    meta = TraceMeta(routers_like(synthetic.layers, synthetic.n_experts, synthetic.top_k))
    return Trace.from_arrays(meta, synthetic.document, synthetic.position, synthetic.states)


def board_of(synthetic):
    """The mean board of the predictors that need no more than tables."""
    trace = trace_of(synthetic)
    view = "subset" if trace.meta.routers[0].alphabet.size <= 1024 else "expert"
    forms = (ClosedForm, ContextForm, LinearForm)
    specs = [spec for spec in PREDICTORS if isinstance(spec.form(view), forms)]
    return {s.predictor: s for s in mean_board(make_board(rows_of(trace), view, specs=specs))}


def test_wide_predictors_find_what_there_is_and_nothing_else():
    shape = {"n_experts": 24, "top_k": 4, "layers": 3, "documents": 40, "mean_length": 100}
    coupled = board_of(expert_chain(coupling=0.9, rng=np.random.default_rng(4), **shape))
    assert coupled["layer-1"].less(coupled["popularity"], "recall_at_k").low > 0
    assert coupled["layer-1"].less(coupled["popularity"], "log_loss_bits").high < 0
    free = board_of(expert_chain(coupling=0.0, rng=np.random.default_rng(5), **shape))
    gain = free["layer-1"].less(free["popularity"], "recall_at_k")
    assert gain.value < 3 * gain.standard_error
    assert np.isnan(free["repeat-previous-token"].estimate("log_loss_bits").value)
    assert "no probabilities" in free["repeat-previous-token"].estimate("log_loss_bits").reason


def by_hand(exact, tokens, cells=None, **other):
    """A score with these sums; a subset of one of two experts."""
    sums = np.zeros((len(tokens), len(SUMS) + 4))
    sums[:, 0], sums[:, SUMS.index("exact_set")] = tokens, exact
    return PredictionScore("x", -1, 0, 0, sums, cells or Cells.of_groups(len(tokens)), top_k=1, **other)


def test_scores_carry_intervals_over_documents_and_know_their_names():
    score = by_hand([1, 4, 3] * 2, [10, 20, 30] * 2)
    estimate = score.estimate("exact_set")
    # R = 8/60; ψ = 1 − 10R, 4 − 20R, 3 − 30R = −1/3, 4/3, −1; all twice;
    # Var = 6/5 · 2 · (1/9 + 16/9 + 1) / 120².
    assert estimate.value == pytest.approx(8 / 60)
    assert estimate.standard_error == pytest.approx(np.sqrt(1.2 * 2 * (26 / 9)) / 120)
    with pytest.raises(RoutestatError, match="score must be one of"):
        score.estimate("accuracy")
    assert set(SCORES) == {
        "exact_set", "recall_at_k", "hit_rate", "top1_hit", "recall_at_k3", "recall_at_2k", "log_loss_bits", "brier",
    }  # fmt: skip


def test_cells_of_a_group_are_one_unit():
    # The same six groups, each in two cells: intervals are over groups, not over cells.
    whole = by_hand([1, 4, 3] * 2, [10, 20, 30] * 2)
    group, phase = np.repeat(np.arange(6), 2), ("prefill", "decode") * 6
    cells = Cells(group, phase, ("",) * 12, 6)
    halves = by_hand([1, 0, 1, 3, 3, 0] * 2, [5, 5, 10, 10, 15, 15] * 2, cells)
    assert halves.estimate("exact_set") == whole.estimate("exact_set")
    decoded = halves.estimate("exact_set", phase="decode")
    assert decoded == by_hand([0, 3, 0] * 2, [5, 10, 15] * 2).estimate("exact_set")


def test_differences_are_paired_by_groups():
    tokens = [10, 20, 30] * 2
    one, other = by_hand([3, 9, 7, 5, 6, 3], tokens), by_hand([2, 5, 4, 4, 2, 0], tokens)
    # What one has more than the other, group by group, is what the intervals of one score were computed from.
    assert one.less(other, "exact_set") == by_hand([1, 4, 3] * 2, tokens).estimate("exact_set")
    with pytest.raises(RoutestatError, match="different tokens"):
        one.less(by_hand([2, 5, 4, 4, 2, 0], [10, 20, 31] * 2), "exact_set")
    blind = by_hand([2, 5, 4, 4, 2, 0], tokens, has_probabilities=False)
    assert "no probabilities" in one.less(blind, "log_loss_bits").reason


def test_only_scores_of_one_predictor_are_pooled():
    one = by_hand([3, 6, 5], [10, 20, 30])
    both = pooled([one, replace(one, target=1)])
    assert both.n_tokens == 2 * one.n_tokens
    assert both.estimate("exact_set").value == pytest.approx(one.estimate("exact_set").value)
    with pytest.raises(RoutestatError, match="exactly one predictor"):
        pooled([one, replace(one, predictor="y")])


def test_the_share_with_a_known_context_is_pooled_by_tokens():
    short = replace(by_hand([3, 6, 5], [10, 20, 30]), context="layer-1", known=0.5)
    longer = replace(short, sums=3 * short.sums, context="layer-2,layer-1", known=0.9, target=2)
    both = pooled([short, longer])
    assert both.known == pytest.approx((0.5 + 3 * 0.9) / 4)
    assert both.context == "layer-2,layer-1"
    assert pooled([replace(short, sums=0 * short.sums)]).known == 1


def test_fits_are_timed_on_request_only():
    shape = {"n_experts": 6, "top_k": 2, "layers": 3, "documents": 20, "mean_length": 20}
    rows = rows_of(trace_of(independent(rng=np.random.default_rng(6), **shape)))
    timed, untimed = (
        make_board(rows, "subset", BoardPlan(brief=True, timed=which)) for which in (True, False)
    )
    assert all(np.isnan(score.cost.seconds) for score in untimed)
    assert any(score.cost.seconds > 0 for score in timed)
    assert [score.cost.parameters for score in untimed] == [score.cost.parameters for score in timed]


def test_the_mean_compares_predictors_on_the_layers_all_of_them_have():
    shape = {"n_experts": 6, "top_k": 2, "layers": 6, "documents": 60, "mean_length": 50}
    synthetic = independent(rng=np.random.default_rng(6), **shape)
    rows = rows_of(trace_of(synthetic))
    every = make_board(rows, "subset")
    board = {score.predictor: score for score in mean_board(every)}
    # The first layer has no layer before; the next ones have what there is of the last four.
    assert {score.n_tokens for score in board.values()} == {5 * len(synthetic.document)}
    assert {"layers-4", "popularity", "previous-two-tokens"} <= set(board)
    second = {score.predictor: score.sums for score in every if score.target == 2}
    np.testing.assert_array_equal(second["layers-4"], second["layers-2"])
    assert not np.array_equal(second["layers-2"], second["layer-1"])
