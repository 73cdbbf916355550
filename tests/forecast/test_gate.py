"""The recorded gate: held-out scores against the slow way, and the number that turns a choice into probabilities."""

import dataclasses

import numpy as np
import pytest

from routestat import RoutestatError, Trace, TraceMeta
from routestat.counting.score_sums import SUMS
from routestat.forecast import gate
from routestat.forecast.board import make_board
from routestat.forecast.exponents import PULL
from routestat.forecast.specification import BoardPlan
from routestat.inference.conditional_bernoulli.distribution import inclusion_probabilities
from routestat.inference.conditional_bernoulli.sampling import draw_subsets
from routestat.traces.metadata import Router
from tests.forecast.gate_traces import ALPHABET, MISSING, experts_of, make_trace, registered, routers, rows_of
from tests.oracle import gate_oracle

PLAN = BoardPlan(alpha=0.5, horizons=(1, 2, 3), threads=1)


def scored(rows, plan=PLAN, view="subset"):
    return {(s.router, s.horizon): s for s in make_board(rows, view, plan, specs=registered("gate"))}


def compared(score):
    """The columns that the oracle has."""
    at = [SUMS.index(name) for name in ("tokens", "exact_set", "hit_rate", "top1_hit", "bits")]
    total = score.sums.sum(axis=0)
    return np.concatenate([total[at], total[len(SUMS) :]])


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_held_out_scores_against_the_slow_way(missing):
    trace = make_trace(
        (0, 1, 2), {(0, 1): 0.8, (0, 2): 0.4, (1, 1): 0.7}, missing=missing, recorded=1 - missing
    )
    rows = rows_of(trace)
    board = scored(rows)
    assert set(board) == {("L01", 1), ("L02", 1), ("L02", 2)}
    for (router, horizon), score in board.items():
        source = int(router[1:]) - horizon
        named, actual = (
            experts_of(rows.sample.columns[name]) for name in (f"L{source:02d}.ahead{horizon}", router)
        )
        slow = gate_oracle.gate_sums(named, actual, rows.fold.tolist(), rows.n_folds, 6, 2, 0.5, PULL)
        np.testing.assert_allclose(compared(score), slow, rtol=1e-6)
        assert score.source == source
        assert score.calibration[:, :, 2].sum() == 2 * score.n_tokens
        assert ("have no recorded choice" in score.note) == (missing > 0)


def test_both_views_are_the_same():
    rows = rows_of(make_trace((0, 1), {(0, 1): 0.6}))
    one, other = (scored(rows, view=view)["L01", 1] for view in ("subset", "expert"))
    assert np.array_equal(one.sums, other.sums)


def test_recall_is_the_share_of_recorded_experts_by_hand():
    rows = rows_of(make_trace((0, 1), {(0, 1): 0.5}, seed=3))
    named, actual = (experts_of(rows.sample.columns[name]) for name in ("L00.ahead1", "L01"))
    right = [len(set(n) & set(a)) for n, a in zip(named, actual, strict=True)]
    score = scored(rows)["L01", 1]
    assert score.estimate("recall_at_k").value == pytest.approx(np.mean(right) / 2)
    assert score.estimate("exact_set").value == pytest.approx(np.mean(np.array(right) == 2))
    # All six experts are fetched before 4k are.
    assert score.curve().value[-1] == 1.0


def test_a_gate_that_is_right_by_chance_gains_nothing_and_one_that_is_right_much():
    chance, sure = (
        scored(rows_of(make_trace((0, 1), {(0, 1): share}, documents=60, length=40)))["L01", 1]
        for share in (0, 1)
    )
    plain = make_board(
        rows_of(make_trace((0, 1), {(0, 1): 0}, documents=60, length=40)),
        "expert",
        PLAN,
        specs=registered("popularity"),
    )
    popular = next(s for s in plain if s.router == "L01").estimate("log_loss_bits")
    loss = chance.estimate("log_loss_bits")
    assert abs(loss.value - popular.value) < 0.03
    assert sure.estimate("exact_set").value == 1.0
    assert sure.estimate("log_loss_bits").value < 0.05


def test_the_bonus_of_known_weights_is_found():
    # Choices drawn with c = 1.7 on top of known weights; the information about c is the variance of their number.
    rng = np.random.default_rng(5)
    base, top_k, true = np.log([0.5, 1.0, 2.0, 1.0, 0.7, 1.5, 0.9, 1.1]), 3, 1.7
    named = np.argsort(np.argsort(rng.random((8000, 8)), axis=1), axis=1) < top_k
    actual = np.sort(draw_subsets(base + true * named, top_k, rng), axis=1)
    inside = np.take_along_axis(named, actual, axis=1).sum(axis=1)
    error = 1 / np.sqrt(len(inside) * inside.var())
    assert gate.fit_bonus(base, named, actual) == pytest.approx(true, abs=4 * error)


def test_at_the_bonus_the_expected_number_of_recorded_experts_is_the_observed_one():
    rng = np.random.default_rng(6)
    base = rng.normal(size=7)
    actual = np.array([np.sort(rng.choice(7, 3, replace=False)) for _ in range(50)])
    named = np.zeros((50, 7), bool)
    np.put_along_axis(named, np.array([rng.choice(7, 3, replace=False) for _ in range(50)]), True, axis=1)
    c = gate.fit_bonus(base, named, actual)
    expected = (inclusion_probabilities(base + c * named, 3) * named).sum()
    observed = np.take_along_axis(named, actual, axis=1).sum()
    assert observed - expected == pytest.approx(PULL * c, abs=1e-4)


def test_the_bonus_is_finite_where_the_gate_is_always_right_and_zero_without_tokens():
    named = np.array([[True, True, False, False]] * 200)
    actual = np.array([[0, 1]] * 200)
    assert 3 < gate.fit_bonus(np.zeros(4), named, actual) < 12
    assert gate.fit_bonus(np.zeros(4), named[:0], actual[:0]) == 0.0


def test_no_token_of_a_fold_changes_what_its_own_fold_is_predicted_with():
    trace = make_trace((0, 1), {(0, 1): 0.7})
    rows = rows_of(trace)
    own = rows.fold == 0
    column = np.array(rows.sample.columns["L00.ahead1"])
    column[~own & (rows.fold == 1)] = 3
    changed = dataclasses.replace(rows.sample, columns={**rows.sample.columns, "L00.ahead1": column})
    other = dataclasses.replace(rows, sample=changed, _experts={})
    first, second = scored(rows)["L01", 1], scored(other)["L01", 1]
    inside = np.isin(rows.fold_of_cell, (2, 3))
    # Fold 1 gives c to fold 0 alone.
    assert np.array_equal(first.sums[inside], second.sums[inside])
    at = SUMS.index("bits")
    assert not np.array_equal(first.sums[rows.fold_of_cell == 0, at], second.sums[rows.fold_of_cell == 0, at])


def test_a_horizon_counts_routers_and_a_columns_name_counts_layers():
    trace = make_trace((0, 2, 5), {(0, 2): 0.9, (0, 5): 0.5, (2, 3): 0.9})
    found = gate.lookahead_columns(trace.columns, trace.routers())
    assert [(one.column, one.target.name, one.horizon) for one in found] == [
        ("L00.ahead2", "L02", 1),
        ("L00.ahead5", "L05", 2),
        ("L02.ahead3", "L05", 1),
    ]
    assert set(scored(rows_of(trace))) == {("L02", 1), ("L05", 2), ("L05", 1)}
    # Of a part of the layers only the columns between them.
    part = gate.lookahead_columns(trace.columns, trace.routers([0, 5]))
    assert [(one.column, one.horizon) for one in part] == [("L00.ahead5", 1)]


def test_only_the_horizons_of_the_plan_are_scored():
    rows = rows_of(make_trace((0, 1, 2), {(0, 1): 0.8, (0, 2): 0.4}))
    assert set(scored(rows, BoardPlan(horizons=(2,)))) == {("L02", 2)}


def test_rows_that_only_serve_to_fit_are_not_scored():
    rows = dataclasses.replace(rows_of(make_trace((0, 1), {(0, 1): 0.8})), scored_folds=(1,))
    score = scored(rows)["L01", 1]
    assert score.n_tokens == (rows.fold == 1).sum()


def test_without_lookahead_or_with_one_document_there_is_no_score():
    assert scored(rows_of(make_trace((0, 1), {}))) == {}
    assert scored(rows_of(make_trace((0, 1), {(0, 1): 0.8}, documents=1))) == {}


def test_a_column_without_any_choice_is_left_out():
    rows = rows_of(make_trace((0, 1, 2), {(0, 1): 0.8, (1, 1): 0.8}))
    empty = np.full(len(rows), MISSING, ALPHABET.dtype)
    columns = {**rows.sample.columns, "L00.ahead1": empty}
    rows = dataclasses.replace(rows, sample=dataclasses.replace(rows.sample, columns=columns))
    assert set(scored(rows)) == {("L02", 1)}


def test_a_layer_with_two_routers_has_no_lookahead():
    both = (*routers((0,)), Router(1, 6, 2, "L01a"), Router(1, 6, 2, "L01b"))
    assert gate.lookahead_columns(["L00.ahead1"], both) == ()


def test_a_column_of_another_alphabet_is_refused():
    different = (*routers((0,)), *routers((1,), 8, 2))
    with pytest.raises(
        RoutestatError, match=r"L00\.ahead1: expected choices of 2 of 8 experts, as L01 .* 2 of 6"
    ):
        gate.lookahead_columns(["L00.ahead1"], different)
    rows = rows_of(make_trace((0, 1), {(0, 1): 0.8}))
    wide = np.array(rows.sample.columns["L00.ahead1"])
    wide[5] = 15
    columns = {**rows.sample.columns, "L00.ahead1": wide}
    rows = dataclasses.replace(rows, sample=dataclasses.replace(rows.sample, columns=columns))
    with pytest.raises(RoutestatError, match=r"L00\.ahead1: expected values below 15, .* found 15") as caught:
        scored(rows)
    assert "\n" not in str(caught.value)


def test_alphabets_beyond_64_bits_are_read_as_experts():
    rng = np.random.default_rng(7)
    wide, n = routers((0, 1), 300, 12), 60
    assert not wide[0].alphabet.is_ranked
    states = {
        router.name: np.sort(np.argsort(rng.random((n, 300)), axis=1)[:, :12], axis=1).astype(np.uint16)
        for router in wide
    }
    columns = {"L00.ahead1": states["L01"].copy()}
    columns["L00.ahead1"][0] = np.iinfo(np.uint16).max
    document = np.repeat(np.arange(6), 10)
    trace = Trace.from_arrays(TraceMeta(wide), document, None, states, columns=columns, template="keep")
    score = scored(rows_of(trace))["L01", 1]
    assert score.n_tokens == n
    assert score.estimate("exact_set").value == pytest.approx((n - 1) / n)
