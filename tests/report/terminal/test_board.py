"""What the terminal says about predictors further ahead, from scores made by hand."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from routestat.forecast.scores import Cost
from routestat.inference.base.estimate import Estimate
from routestat.report.terminal.board import best_of_each, print_board
from routestat.study.board_findings import Comparison


def estimate(value):
    return Estimate(value, value - 0.01, value + 0.01, 0.005, 40, "")


def score(name, recall):
    return SimpleNamespace(
        predictor=name, estimate=lambda _: estimate(recall), cost=Cost(10, 5.0), context="", known=1.0
    )


def pooled(ahead, **recalls):
    return [
        SimpleNamespace(score=score(name.replace("_", "-"), recall), layers_ahead=ahead)
        for name, recall in recalls.items()
    ]


def board(horizons, best="ridge-all", gain=0.3, reason=""):
    mean = pooled(1, uniform=0.1, popularity=0.2, ridge_1=0.4, ridge_all=0.5)
    compared = [Comparison(one.score.predictor == best, None, None, estimate(gain), None) for one in mean]
    return SimpleNamespace(
        best=best,
        best_baseline="popularity",
        pooled=mean,
        mean=[one.score for one in mean],
        comparisons=compared,
        horizons=horizons,
        reason=reason,
    )


def printed(findings, capsys):
    print_board(Console(width=100, highlight=False), findings)
    return " ".join(capsys.readouterr().out.split())


def test_the_best_of_a_family_has_the_highest_recall():
    scores = [score("ridge-1", 0.4), score("ridge-all", 0.5), score("uniform", 0.1), score("ridge-2", 0.45)]
    assert [one.predictor for one in best_of_each(scores)] == ["ridge-all", "uniform"]


def test_how_far_ahead_a_predictor_is_better(capsys):
    near = pooled(1, popularity=0.2, ridge_all=0.5)
    far = [*pooled(2, popularity=0.2, ridge_all=0.4), *pooled(3, popularity=0.2, ridge_all=0.15)]
    out = printed(board([*near, *far]), capsys)
    assert "2 layers ahead ridge-all finds 0.400 of the experts, popularity 0.200." in out
    assert "From 3 layers ahead on, no predictor is better than the best baseline." in out
    assert "ahead" not in printed(board(near), capsys)


@pytest.mark.parametrize(("gain", "doubt"), [(0.3, False), (0.005, True)])
def test_a_gain_that_may_be_nothing_is_uncertain(capsys, gain, doubt):
    out = printed(board([], gain=gain), capsys)
    assert "above that of the best baseline, popularity" in out
    assert ("too uncertain to claim" in out) == doubt


def test_no_predictor_better_than_baselines(capsys):
    out = printed(board([], best="popularity"), capsys)
    assert "No predictor is better than the baselines; the best of them is popularity." in out


def test_nothing_scored(capsys):
    assert "No predictor could be scored: one document." in printed(
        board([], best="", reason="one document"), capsys
    )
