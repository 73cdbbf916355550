"""The findings of a board: pooled, paired, by layers ahead, phase and domain, from sums that are added here by hand."""

import numpy as np
import pytest

from routestat.counting.score_sums import BINS, SUMS, Cells
from routestat.forecast.scores import Cost, PredictionScore
from routestat.inference.base.estimate import ratio
from routestat.study.board_findings import board_findings
from routestat.traces.metadata import Router

K, E, GROUPS = 2, 5, 12
ROUTERS = tuple(Router(layer, E, K) for layer in (3, 4, 6))


class Rows:
    """What the findings need of the rows of a board."""

    def __init__(self, cells, folds=4, note="", documents=30):
        self.cells, self.routers, self.n_folds = cells, ROUTERS, folds
        self.sample = type("Sample", (), {"note": note, "n_documents": documents})()


def cells(several=True):
    """Every group in two phases; even groups of one domain, odd ones of another."""
    group = np.arange(GROUPS).repeat(2)
    phase = ("prefill", "decode") if several else ("prefill", "prefill")
    domain = tuple(("code" if one % 2 else "prose") if several else "" for one in group)
    return Cells(group, phase * GROUPS, domain, GROUPS)


def score(name, target, horizon, level, *, bits=True, of=None, tokens=10, k=K):
    of = cells() if of is None else of
    rng = np.random.default_rng(target)
    sums = np.zeros((len(of), len(SUMS) + 3 * k + 1))
    sums[:, 0] = tokens * (1 + np.arange(len(of)) % 3)
    noise = 0.05 * rng.standard_normal(len(of))
    for column in ("exact_set", "hit_rate", "top1_hit", "recall_at_k3", "recall_at_2k", "brier"):
        sums[:, SUMS.index(column)] = sums[:, 0] * (level / 2)
    sums[:, SUMS.index("bits")] = sums[:, 0] * (6 - 5 * level + noise)
    sums[:, len(SUMS) :] = sums[:, :1] * (level + noise[:, None] + 0.05 * np.arange(3 * k + 1))
    bins = np.zeros((len(of), BINS, 3))
    bins[:, 9] = np.stack([sums[:, 0] * E, sums[:, 0] * E * 0.22, sums[:, 0] * k], axis=1)
    place = [router.layer for router in ROUTERS].index(target)
    return PredictionScore(
        name,
        ROUTERS[place - horizon].layer if horizon else -1,
        target,
        horizon,
        sums,
        of,
        bins if bits else None,
        bits,
        ROUTERS[place].name,
        Cost(7, 3.0, 0.5),
        top_k=k,
    )


def board(of=None):
    found = []
    for target in (3, 4, 6):
        found += [score("uniform", target, 0, 0.4, of=of), score("popularity", target, 0, 0.5, of=of)]
        found.append(score("repeat-previous-token", target, 0, 0.55, bits=False, of=of))
    for target in (4, 6):
        found += [score("layer-1", target, 1, 0.7, of=of), score("ridge-all", target, 1, 0.8, of=of)]
    found += [score("layer-1", 6, 2, 0.62, of=of), score("ridge-all", 6, 2, 0.66, of=of)]
    return tuple(found)


@pytest.fixture(scope="module")
def found():
    return board_findings(board(), Rows(cells()))


def test_pooled_over_the_targets_that_all_have(found):
    assert [one.score.predictor for one in found.pooled] == [
        "uniform", "popularity", "repeat-previous-token", "layer-1", "ridge-all",
    ]  # fmt: skip
    assert {one.n_targets for one in found.pooled} == {2}
    popular = found.pooled[1].score
    of_targets = [one for one in found.scores if one.predictor == "popularity" and one.target in (4, 6)]
    assert popular.n_tokens == sum(one.n_tokens for one in of_targets)
    by_hand = sum(one.column("recall_at_k").sum() for one in of_targets) / popular.n_tokens
    assert popular.estimate("recall_at_k").value == pytest.approx(by_hand, abs=1e-12)
    assert popular.cost == Cost(14, 6.0, 1.0)


def test_the_best_and_the_paired_differences(found):
    assert (found.best, found.best_by_log_loss, found.best_baseline) == (
        "ridge-all", "ridge-all", "repeat-previous-token",
    )  # fmt: skip
    names = [one.score.predictor for one in found.pooled]
    by_name = dict(zip(names, found.comparisons, strict=True))
    assert [one.is_best for one in found.comparisons] == [name == "ridge-all" for name in names]
    # Both have the noise of the same groups: the difference is exact, and its interval has no width.
    layer = by_name["layer-1"]
    for difference, value in ((layer.recall_less_than_best, 0.1), (layer.log_loss_more_than_best, 0.5)):
        assert difference.value == pytest.approx(value, abs=1e-9)
        assert difference.high - difference.low < 1e-9
    group = cells().by_group
    own, other = (found.pooled[names.index(name)].score for name in ("layer-1", "repeat-previous-token"))
    slow = ratio(group(own.column("recall_at_k") - other.column("recall_at_k")), group(own.sums[:, 0]))
    shown = layer.recall_over_best_baseline
    for name in ("value", "low", "high", "standard_error"):
        assert getattr(shown, name) == pytest.approx(getattr(slow, name), abs=1e-9)
    # The best baseline of the log loss is another one: repeat has no probabilities.
    assert layer.log_loss_saved_over_best_baseline.value == pytest.approx(5 * (0.7 - 0.5), abs=1e-9)
    assert np.isnan(by_name["repeat-previous-token"].log_loss_more_than_best.value)
    assert by_name["ridge-all"].recall_less_than_best.value == 0


def test_every_number_of_layers_ahead_has_the_predictors_without_a_source(found):
    ahead = [(one.layers_ahead, one.score.predictor, one.n_targets) for one in found.horizons]
    trivial = ("uniform", "popularity", "repeat-previous-token")
    assert ahead == [
        *((1, name, 2) for name in (*trivial, "layer-1", "ridge-all")),
        *((2, name, 1) for name in (*trivial, "layer-1", "ridge-all")),
    ]
    assert {one.score.predictor for one in found.next_token} == set(trivial)
    assert {one.n_targets for one in found.next_token} == {3}
    assert len(found.one_ahead) == 13
    assert len(found.curves) == len(found.scores) == 15


def test_curves_stop_where_all_experts_are_fetched(found):
    for one in found.pooled:
        assert one.curve.fetched == (2, 3, 4, 5)
        assert len(one.curve.found.value) == 4
    recall = found.pooled[3].score.estimate("recall_at_k")
    assert found.pooled[3].curve.found.value[0] == pytest.approx(recall.value, abs=1e-12)
    assert found.pooled[3].curve.found.low[0] == pytest.approx(recall.low, abs=1e-9)


def test_layers_of_different_k_have_no_common_curve():
    mixed = [score("popularity", 3, 0, 0.5), score("popularity", 4, 0, 0.5, k=1)]
    found = board_findings(mixed, Rows(cells()))
    assert found.pooled[0].curve.fetched == ()
    assert "different numbers of experts" in found.pooled[0].curve.reason
    assert [curve.fetched for _, curve in found.curves] == [(2, 3, 4, 5), (1, 2, 3, 4)]


def test_phases_and_domains_add_up_to_the_whole(found):
    for parts, names in ((found.by_phase, ["prefill", "decode"]), (found.by_domain, ["code", "prose"])):
        own = [one for one in parts if one.predictor == "layer-1"]
        assert [one.name for one in own] == names
        whole = found.pooled[3].score
        assert sum(one.n_tokens for one in own) == whole.n_tokens
        mean = sum(one.n_tokens * one.recall_at_k.value for one in own) / whole.n_tokens
        assert mean == pytest.approx(whole.estimate("recall_at_k").value, abs=1e-12)


def test_one_phase_and_one_domain_are_not_compared():
    alike = cells(several=False)
    found = board_findings(board(alike), Rows(alike))
    assert found.by_phase == found.by_domain == ()


def test_calibration_is_of_predictors_with_probabilities(found):
    assert [one.predictor for one in found.calibration] == ["uniform", "popularity", "layer-1", "ridge-all"]
    one = found.calibration[0]
    assert one.n.tolist() == [found.pooled[0].score.n_tokens * E]
    assert one.observed.value.tolist() == [pytest.approx(K / E, abs=1e-12)]
    assert one.error.value == pytest.approx(K / E - 0.22, abs=1e-12)


def test_the_gate_is_compared_with_the_first_of_its_rivals_that_is_there():
    gates = [score("gate", 4, 1, 0.9), score("gate", 6, 1, 0.9), score("gate", 6, 2, 0.6)]
    both = board_findings([*board(), *gates], Rows(cells()))
    assert both.gate.predictor == "ridge-all"
    assert both.gate.horizons == (1, 2)
    assert both.gate.first == 2
    without = [one for one in board() if one.predictor != "ridge-all"]
    assert board_findings([*without, *gates], Rows(cells())).gate.predictor == "layer-1"
    assert board_findings(board(), Rows(cells())).gate is None


def test_nothing_scored_says_why():
    nothing = [score("popularity", 3, 0, 0.5, tokens=0)]
    one = board_findings(nothing, Rows(cells(), folds=1, documents=1))
    assert one.reason == "all tokens are of one document: nothing can be held out"
    assert (one.best, one.best_baseline, one.calibration) == ("", "", ())
    assert one.comparisons[0].recall_less_than_best is None
    several = board_findings(nothing, Rows(cells()))
    assert several.reason == "no layer has tokens whose choice is known"
    assert board_findings([], Rows(cells(), folds=1)).pooled == ()
    assert board_findings(board(), Rows(cells(), note="on 3 tokens")).note == "on 3 tokens"
