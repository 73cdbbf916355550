"""What the board says of the network: its difference to the best ridge, and whether that is one."""

import numpy as np
import pytest

from routestat.counting.score_sums import SUMS, Cells
from routestat.forecast.network_gain import network_gain, with_gain
from routestat.forecast.scores import Cost, PredictionScore

GROUPS = 12
CELLS = Cells.of_groups(GROUPS)


def score(name, recall, *, router="L01", horizon=1, parameters=10):
    """Shares of the experts found, by group of 100 tokens."""
    sums = np.zeros((GROUPS, len(SUMS) + 7))
    sums[:, 0] = 100.0
    sums[:, len(SUMS)] = 100.0 * np.asarray(recall)
    source = 0 if horizon else -1
    return PredictionScore(
        name, source, 1, horizon, sums, CELLS, router=router, cost=Cost(parameters, 2.0 * parameters)
    )


BASE = np.linspace(0.5, 0.7, GROUPS)
ZIGZAG = 0.02 * (-1.0) ** np.arange(GROUPS)


def board(difference, **given):
    return [
        score("uniform", np.full(GROUPS, 0.9), horizon=0),
        score("ridge-1", BASE - 0.1, parameters=3),
        score("ridge-all", BASE, parameters=7),
        score("network", BASE + difference, **given),
    ]


def test_the_difference_is_paired_and_to_the_best_ridge():
    found = network_gain(board(0.01 + ZIGZAG / 10))
    assert found.ridge == "ridge-all"
    recall = found.differences["recall_at_k"]
    # By hand: the mean, and Student's t with 11 degrees of freedom around it.
    assert recall.value == pytest.approx(0.01)
    error = np.std(ZIGZAG / 10, ddof=1) / np.sqrt(GROUPS)
    assert recall.high - recall.value == pytest.approx(2.200985 * error, rel=1e-6)
    assert found.parameters == (10, 7)
    assert found.multiply_adds == (20.0, 14.0)
    assert found.words.startswith("The network beats ridge-all, the best ridge, by 1.00 percentage points")


def test_an_interval_with_zero_is_no_gain():
    found = network_gain(board(0.001 + ZIGZAG))
    assert found.differences["recall_at_k"].low < 0 < found.differences["recall_at_k"].high
    assert found.words.startswith("The network does not beat the ridge: +0.10 percentage points of recall [-")


def test_a_worse_network_is_reported_as_such():
    words = network_gain(board(-0.05 + ZIGZAG / 10)).words
    assert words.startswith(
        "The network does not beat the ridge: ridge-all is better, by -5.00 percentage points"
    )


def test_the_ridge_that_it_starts_from_is_no_gain():
    assert "does not beat the ridge: +0.00" in network_gain(board(0.0)).words


def test_targets_that_one_of_them_lacks_are_left_out():
    extra = score("ridge-all", np.ones(GROUPS), router="L05")
    found = network_gain([*board(0.01 + ZIGZAG / 10), extra])
    assert found.differences["recall_at_k"].value == pytest.approx(0.01)


def test_nothing_to_compare():
    assert network_gain([]) is None
    assert network_gain(board(0.0)[:3]) is None
    assert network_gain([board(0.0)[3]]) is None
    assert network_gain(board(0.0, horizon=2)) is None


def test_the_note_of_the_network_states_it():
    noted = with_gain(board(0.0))
    assert [bool(score.note) for score in noted] == [False, False, False, True]
    assert noted[-1].note.startswith("The network does not beat the ridge: +0.00")
    assert not any(score.note for score in with_gain(board(0.0)[:3]))
