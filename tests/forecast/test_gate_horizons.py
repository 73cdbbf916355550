"""From which horizon on a predictor is better than the gate: planted answers, and the same by hand."""

import numpy as np
import pytest

from routestat import RoutestatError
from routestat.counting.score_sums import SUMS, Cells
from routestat.forecast.board import make_board
from routestat.forecast.gate_horizons import first_horizon_beaten
from routestat.forecast.scores import PredictionScore
from routestat.forecast.specification import BoardPlan
from tests.forecast.gate_traces import make_trace, registered, rows_of

GROUPS = 8
TOKENS = np.full(GROUPS, 50.0)


def score(predictor, router, horizon, recall, bits, noise=0.0):
    """A score with this recall and log loss in every group, give or take the noise."""
    sums = np.zeros((GROUPS, len(SUMS) + 3))
    shift = noise * np.resize([1, -1], GROUPS)
    sums[:, 0] = TOKENS
    sums[:, len(SUMS)] = TOKENS * (recall + shift)
    sums[:, SUMS.index("bits")] = TOKENS * (bits + shift)
    return PredictionScore(predictor, 0, 1, horizon, sums, Cells.of_groups(GROUPS), router=router, top_k=1)


def board_of(gates, table, noise=0.0):
    """A gate with (recall, bits) at horizons 1, 2, … of two targets, and a table with one of them at all horizons."""
    found = []
    for router in ("L08", "L09"):
        for horizon, (recall, bits) in enumerate(gates, start=1):
            found.append(score("gate", router, horizon, recall, bits, noise))
            found.append(score("table", router, horizon, *table))
    return found


GATES = [(0.9, 1.0), (0.8, 2.0), (0.6, 3.0), (0.5, 4.0)]


def test_the_first_horizon_of_a_planted_board():
    board = board_of(GATES, (0.7, 2.5))
    found = first_horizon_beaten(board, "table")
    assert found.first == 3
    assert found.horizons == (1, 2, 3, 4)
    assert found.n_targets == (2, 2, 2, 2)
    assert [d.value for d in found.differences] == pytest.approx([-0.2, -0.1, 0.1, 0.2])
    assert [e.value for e in found.recorded] == pytest.approx([0.9, 0.8, 0.6, 0.5])
    assert [e.value for e in found.predicted] == pytest.approx([0.7] * 4)


def test_of_a_loss_less_is_better():
    assert first_horizon_beaten(board_of(GATES, (0.7, 1.5)), "table", score="log_loss_bits").first == 2
    # Higher losses are never better, however different they are.
    assert first_horizon_beaten(board_of(GATES, (0.7, 9.0)), "table", score="log_loss_bits").first is None


def test_a_difference_within_its_interval_does_not_count():
    # Groups differ by .2 up and down: the standard error is .2 / √7 = .076, of Student's t the reach is .18.
    assert first_horizon_beaten(board_of(GATES, (0.7, 2.5), noise=0.2), "table").first == 4
    assert first_horizon_beaten(board_of(GATES, (0.7, 2.5), noise=0.4), "table").first is None


def test_from_a_horizon_on_means_at_all_farther_ones_too():
    gates = [(0.9, 1.0), (0.5, 2.0), (0.8, 3.0), (0.5, 4.0)]
    assert first_horizon_beaten(board_of(gates, (0.7, 2.5)), "table").first == 4
    assert first_horizon_beaten(board_of(gates[:3], (0.7, 2.5)), "table").first is None


def test_only_shared_targets_are_compared_and_no_earlier_layer_fits_every_horizon():
    board = [s for s in board_of(GATES, (0.7, 2.5)) if s.predictor == "gate" or s.router == "L09"]
    assert first_horizon_beaten(board, "table").n_targets == (1, 1, 1, 1)
    blind = [score("id", router, 0, 0.7, 2.5) for router in ("L08", "L09")]
    found = first_horizon_beaten([*board, *blind], "id")
    assert found.first == 3
    assert found.n_targets == (2, 2, 2, 2)


def test_a_predictor_of_fewer_horizons_is_compared_at_those():
    board = [s for s in board_of(GATES, (0.7, 2.5)) if s.predictor == "gate" or s.horizon in (2, 4)]
    found = first_horizon_beaten(board, "table")
    assert found.horizons == (2, 4)
    assert found.first == 4


def test_on_a_trace_the_token_id_beats_a_gate_that_gets_worse():
    ahead = {(source, n): (1.0, 0.5, 0.0)[n - 1] for n in (1, 2, 3) for source in range(4 - n)}
    rows = rows_of(make_trace((0, 1, 2, 3), ahead, ids=6, documents=40, length=30), folds=10)
    plan = BoardPlan(horizons=(1, 2, 3), threads=1)
    board = make_board(rows, "expert", plan, specs=registered("token-id", "gate", "popularity"))
    found = first_horizon_beaten(board, "token-id")
    assert found.n_targets == (3, 2, 1)
    # Both are right about half of the tokens at horizon 2.
    assert found.differences[0].high < 0
    assert found.differences[2].low > 0
    assert found.first in (2, 3)
    assert first_horizon_beaten(board, "popularity").first == 3


def test_what_is_not_on_the_board_is_named():
    board = board_of(GATES, (0.7, 2.5))
    with pytest.raises(
        RoutestatError, match="expected the scores of ridge on the board, found gate, table; score it"
    ):
        first_horizon_beaten(board, "ridge")
    with pytest.raises(RoutestatError, match="expected the scores of gate on the board, found table"):
        first_horizon_beaten([s for s in board if s.predictor == "table"], "table")
    apart = [score("gate", "L08", 1, 0.9, 1), score("table", "L08", 2, 0.9, 1)]
    with pytest.raises(RoutestatError, match="no target and horizon in common"):
        first_horizon_beaten(apart, "table")
    with pytest.raises(RoutestatError, match="score must be one of"):
        first_horizon_beaten(board, "table", score="accuracy")
