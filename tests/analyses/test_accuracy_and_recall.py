"""Accuracy by element and recall, by hand and on matrices."""

import numpy as np
import pytest

import routestat as rs
from analyses import output
from analyses.accuracy_and_recall import (
    LEAST_PROBABILITY,
    PREDICTED_BIN,
    accuracy_from_recall,
    accuracy_of_nothing,
    both_ways,
    conclusion,
    counted_accuracy,
    examine,
    meaning_table,
    recall_from_accuracy,
    scored_both_ways,
)
from routestat.counting.score_sums import BINS, SUMS, Cells
from routestat.forecast.scores import PredictionScore
from routestat.inference.base.estimate import Estimate
from routestat.traces.synthetic import expert_chain, to_trace


def value(x):
    return Estimate(x, x - 0.1, x + 0.1, 0.05, 9)


def test_two_tokens_by_hand():
    # Of 2 · 5 elements token 0 has two wrong (3 for 1), token 1 has four.
    predicted, chosen = np.array([[0, 3], [0, 1]]), np.array([[0, 1], [2, 4]])
    assert counted_accuracy(predicted, chosen, 5) == pytest.approx(0.4)
    # Recall is 1/4.
    assert accuracy_from_recall(value(0.25), 2, 5).value == pytest.approx(0.4)
    assert accuracy_of_nothing(2, 5) == pytest.approx(0.6)


@pytest.mark.parametrize(("n_experts", "top_k"), [(8, 2), (64, 6), (5, 4), (3, 3)])
def test_the_identity_on_random_sets(n_experts, top_k):
    rng = np.random.default_rng(n_experts)
    predicted, chosen = (
        np.array([rng.choice(n_experts, top_k, replace=False) for _ in range(50)]) for _ in range(2)
    )
    recall = np.mean([len(set(a) & set(b)) / top_k for a, b in zip(predicted, chosen, strict=True)])
    counted = counted_accuracy(predicted, chosen, n_experts)
    assert counted == pytest.approx(accuracy_from_recall(value(recall), top_k, n_experts).value, abs=1e-14)
    assert recall_from_accuracy(counted, top_k, n_experts) == pytest.approx(recall)


@pytest.mark.parametrize(("top_k", "n_experts"), [(2, 8), (6, 64), (8, 128)])
def test_k_experts_are_better_than_none_above_a_recall_of_one_half(top_k, n_experts):
    nothing = accuracy_of_nothing(top_k, n_experts)
    assert accuracy_from_recall(value(0.5), top_k, n_experts).value == pytest.approx(nothing)
    assert accuracy_from_recall(value(0.49), top_k, n_experts).value < nothing


def test_the_interval_has_the_scale_of_the_accuracy():
    found = accuracy_from_recall(value(0.5), 6, 64)
    assert (found.high - found.low) == pytest.approx(0.2 * 12 / 64)
    assert found.standard_error == pytest.approx(0.05 * 12 / 64)


def test_experts_more_probable_than_not_by_hand():
    groups, tokens, top_k, n_experts = 8, 10, 2, 4
    sums = np.zeros((groups, len(SUMS) + 7))
    sums[:, 0], sums[:, len(SUMS)] = tokens, 0.6 * tokens
    bins = np.zeros((groups, BINS, 3))
    # 12 experts above the threshold, 9 of them chosen; below it 28, 11 of them chosen (20 are chosen in all).
    bins[:, PREDICTED_BIN, 0], bins[:, PREDICTED_BIN, 2] = 12, 9
    bins[:, PREDICTED_BIN - 1, 0], bins[:, PREDICTED_BIN - 1, 2] = 28, 11
    score = PredictionScore("x", 0, 1, 1, sums, Cells.of_groups(groups), bins)
    found = both_ways(score, top_k, n_experts)
    assert found.n_probable.value == pytest.approx(1.2)
    assert found.recall_probable.value == pytest.approx(9 / 20)
    # 3 wrongly one and 11 wrongly zero, of 40.
    assert found.accuracy_probable.value == pytest.approx(1 - 14 / 40)
    assert found.accuracy.value == pytest.approx(1 - 2 * 2 * 0.4 / 4)
    line = scored_both_ways([found], top_k, n_experts).splitlines()[3]
    assert line.startswith("| x | 0.600 (0.600 … 0.600) | 0.6000 (0.6000 … 0.6000) | 1.20 | 0.450 ")
    assert pytest.approx(0.49) == LEAST_PROBABILITY


def test_what_an_accuracy_means():
    lines = meaning_table().splitlines()
    assert "| 6 of 64 | 0.9062 | 0.8301 | 0.467 | 0.867 |" in lines
    assert lines[-1] == "| 1 of 128 | 0.9922 | 0.9845 | any set has more | any set has more |"


def test_a_trace_is_scored_both_ways_and_the_identity_holds():
    drawn = expert_chain(
        coupling=0.8,
        rng=np.random.default_rng(1),
        n_experts=8,
        top_k=2,
        layers=3,
        documents=30,
        mean_length=40,
    )
    found, worst, part = examine(to_trace(drawn), ("uniform", "popularity", "layer-1"))
    assert worst < 1e-12
    assert part.startswith("on all ")
    assert [one.predictor for one in found] == ["uniform", "popularity", "layer-1"]
    assert found[0].accuracy.value == pytest.approx(1 - 4 * (1 - 0.25) / 8)
    assert found[0].n_probable is None
    assert found[2].recall.value > found[1].recall.value > 0.25
    words = conclusion(found, found, (2, 8))
    assert "predicting nothing is right in 0.7500" in words
    assert "more than `uniform`" in words


def test_the_committed_result_has_the_accuracies_of_its_recalls():
    text = (output.RESULTS / "accuracy_and_recall.md").read_text()
    checked = 0
    for part, (top_k, n_experts) in zip(text.split("\n## ")[1:3], [(2, 8), (6, 64)], strict=True):
        for line in part.splitlines():
            cells = [cell.split(" (")[0] for cell in line.split(" | ")]
            if line.startswith("| ") and cells[1][:2] == "0.":
                derived = accuracy_from_recall(value(float(cells[1])), top_k, n_experts).value
                assert float(cells[2]) == pytest.approx(derived, abs=0.0006 * 2 * top_k / n_experts + 6e-5)
                checked += 1
    assert checked == 8


def test_a_trace_opens_with_the_shape_of_the_text():
    for name, shape in (("tiny-mixtral", (2, 8)), ("deepseek-v2-lite-esft", (6, 64))):
        router = rs.Trace.open(output.TRACES / name, verify=False).routers()[0]
        assert (router.top_k, router.n_experts) == shape
