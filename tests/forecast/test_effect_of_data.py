import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from routestat import RoutestatError
from routestat.counting.score_sums import SUMS, Cells
from routestat.forecast.effect_of_data import DEPTH, ENDS, effect_of_data
from routestat.forecast.scores import PredictionScore
from routestat.inference.base.estimate import effective_dof
from routestat.traces.metadata import routers_like

ROUTERS = routers_like(range(5), 8, 2)


def scores_of(cells, tokens, recall, routers=ROUTERS):
    """Scores of one predictor at every target ``[target, cell]`` but the first router."""
    found = []
    for router, own, value in zip(routers[1:], tokens, recall, strict=True):
        sums = np.zeros((len(cells), len(SUMS) + 7))
        sums[:, 0], sums[:, len(SUMS)] = own, own * value
        found.append(PredictionScore("a", router.layer - 1, router.layer, 1, sums, cells, router=router.name))
    return found


def drawn(rng, groups=30, phases=True, effect=0.0, noise=0.05, lengths="exponential"):
    """Cells of groups of two domains, with effects of groups; a tenth of the groups hold both domains."""
    group, phase, domain = [], [], []
    for one in range(groups):
        words = {"news" if one % 3 else "law"} | ({"law", "news"} if one % 10 == 9 else set())
        for word in sorted(words):
            for kind in ("prefill", "decode") if phases else ("prefill",):
                group.append(one)
                phase.append(kind)
                domain.append(word)
    cells = Cells(np.array(group), tuple(phase), tuple(domain), groups)
    tokens = (
        rng.geometric(1 / 40, (4, len(group))) if lengths == "exponential" else np.full((4, len(group)), 40)
    )
    own = rng.normal(0, noise, groups)[cells.group] + rng.normal(0, noise / 3, (4, len(group)))
    place = np.arange(4)[:, None] / 3
    law = np.array(domain) == "law"
    decode = np.array(phase) == "decode"
    recall = 0.6 + effect * law + 0.05 * decode - 0.1 * (place - 0.5) + 0.02 * (2 * place - 1) ** 2 + own
    return scores_of(cells, tokens, recall)


def slowly(scores):
    """Coefficients and errors by loops over cells: weighted normal equations, and the sandwich of sums of groups."""
    rows = []
    for place, score in enumerate(scores):
        for at in range(len(score.cells)):
            n = score.sums[at, 0]
            if n:
                law = score.cells.domain[at] == "law"
                x = [1.0, law, score.cells.phase[at] == "decode", place / 3 - 0.5, (2 * place / 3 - 1) ** 2]
                rows.append((score.cells.group[at], n, np.array(x, float), score.sums[at, len(SUMS)] / n))
    bread = np.linalg.inv(sum(n * np.outer(x, x) for _, n, x, _ in rows))
    beta = bread @ sum(n * x * y for _, n, x, y in rows)
    meat = np.zeros((5, 5))
    groups = {group for group, *_ in rows}
    for one in groups:
        total = sum(n * x * (y - x @ beta) for group, n, x, y in rows if group == one)
        meat += np.outer(total, total)
    many = len(groups) / (len(groups) - 1) * (len(rows) - 1) / (len(rows) - 5)
    return beta, np.sqrt(many * np.diag(bread @ meat @ bread))


def test_the_regression_against_the_slow_way():
    scores = drawn(np.random.default_rng(0))
    effect = effect_of_data(scores, ROUTERS)
    assert [term.term for term in effect.terms] == ["reference", "domain law", "phase decode", DEPTH, ENDS]
    assert [term.reference for term in effect.terms[:3]] == [
        "domain news, phase prefill, the middle of the model", "news", "prefill",
    ]  # fmt: skip
    beta, error = slowly(scores)
    np.testing.assert_allclose([term.estimate.value for term in effect.terms], beta, rtol=1e-9)
    np.testing.assert_allclose([term.estimate.standard_error for term in effect.terms], error, rtol=1e-9)
    assert effect.n_tokens == sum(score.n_tokens for score in scores)
    assert (effect.n_groups, effect.left_out, effect.reason) == (30, (), "")


def test_one_target_and_two_domains_is_a_difference_of_means():
    # Groups of one size; the difference of the weighted means, by hand.
    cells = Cells(np.arange(12), ("prefill",) * 12, ("a",) * 6 + ("b",) * 6, 12)
    recall = np.r_[0.5, 0.6, 0.7, 0.5, 0.6, 0.7, 0.2, 0.3, 0.4, 0.2, 0.3, 0.4]
    effect = effect_of_data(scores_of(cells, np.full((1, 12), 10.0), recall[None], ROUTERS[:2]), ROUTERS)
    assert [term.term for term in effect.terms] == ["reference", "domain b"]
    assert effect.terms[0].estimate.value == pytest.approx(0.6)
    assert effect.terms[1].estimate.value == pytest.approx(-0.3)
    # Σ (y − mean)² = 4 · 0.01 in each: variance (.04 + .04) / 36 · 12/11 · 11/10; five degrees of freedom.
    assert effect.terms[1].estimate.standard_error == pytest.approx(np.sqrt(0.08 / 36 * 12 / 10))
    assert effect.terms[1].dof == pytest.approx(5)
    assert effect.left_out == (
        ("phase", "there is one phase only"),
        (DEPTH, "there is one target layer only"),
    )


def test_degrees_of_freedom_are_those_of_the_scarcer_side():
    scores = drawn(np.random.default_rng(1))
    effect = {term.term: term for term in effect_of_data(scores, ROUTERS).terms}
    law = [np.array(score.cells.domain) == "law" for score in scores]
    tokens = sum(np.bincount(s.cells.group[w], s.sums[w, 0], 30) for s, w in zip(scores, law, strict=True))
    assert effect["domain law"].dof == pytest.approx(effective_dof(tokens[tokens > 0]))
    assert effect[DEPTH].dof > effect["domain law"].dof


def test_a_level_of_few_groups_has_no_interval():
    cells = Cells(np.arange(12), ("prefill",) * 12, ("a",) * 11 + ("b",), 12)
    recall = np.random.default_rng(2).random((1, 12))
    effect = effect_of_data(scores_of(cells, np.full((1, 12), 10.0), recall, ROUTERS[:2]), ROUTERS)
    term = effect.terms[1]
    assert term.estimate.value == pytest.approx(recall[0, 11] - recall[0, :11].mean())
    assert np.isnan([term.estimate.low, term.estimate.high, term.log10_p]).all()
    assert term.estimate.reason.startswith("1 independent unit of domain b")
    few = effect_of_data(scores_of(Cells.of_groups(3), np.ones((1, 3)), recall[:, :3], ROUTERS[:2]), ROUTERS)
    assert (few.terms, few.reason[:19]) == ((), "3 independent units")


def test_what_cannot_be_told_apart_is_left_out():
    phases = ("prefill",) * 10 + ("decode",) * 10
    cells = Cells(np.arange(20), phases, ("",) * 10 + ("talk",) * 10, 20)
    rng = np.random.default_rng(3)
    effect = effect_of_data(
        scores_of(cells, np.full((2, 20), 5.0), rng.random((2, 20)), ROUTERS[:3]), ROUTERS
    )
    assert [term.term for term in effect.terms] == ["reference", "domain talk", DEPTH]
    assert [name for name, _ in effect.left_out] == ["phase decode", ENDS]
    assert effect.terms[1].reference == "(none)"


def test_p_values_stay_finite():
    effect = effect_of_data(drawn(np.random.default_rng(4), effect=-0.5, noise=1e-9), ROUTERS)
    p = next(term.log10_p for term in effect.terms if term.term == "domain law")
    assert -1000 < p < -20


@pytest.mark.parametrize("lengths", ["equal", "exponential"])
def test_intervals_cover_and_tests_keep_their_level(lengths):
    rng = np.random.default_rng(5)
    runs = 300
    truth = {"domain law": -0.1, "phase decode": 0.05, DEPTH: -0.1, ENDS: 0.02}
    covered = dict.fromkeys(truth, 0)
    for _ in range(runs):
        terms = effect_of_data(drawn(rng, effect=-0.1, lengths=lengths), ROUTERS).terms
        for term in terms:
            if term.term in truth:
                covered[term.term] += term.estimate.low <= truth[term.term] <= term.estimate.high
    # Three standard errors of a share of .95 in 300 runs are .038; few clusters cost one or two points more.
    assert all(0.90 < n / runs < 0.985 for n in covered.values()), covered


def test_statsmodels_is_imported_only_where_it_is_needed():
    code = "import sys, routestat.report.records.transfer; print('statsmodels' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_only_single_targets_of_one_predictor():
    scores = drawn(np.random.default_rng(6))
    with pytest.raises(RoutestatError, match="expected the scores of one predictor"):
        effect_of_data([*scores, replace(scores[0], predictor="b")], ROUTERS)
    with pytest.raises(RoutestatError, match="pooled targets"):
        effect_of_data([replace(scores[0], router="")], ROUTERS)
    with pytest.raises(RoutestatError, match="got 0 predictors"):
        effect_of_data([], ROUTERS)
    with pytest.raises(RoutestatError, match="level"):
        effect_of_data(scores, ROUTERS, level=95)
    ranks = [replace(score, has_probabilities=False) for score in scores]
    assert "no probabilities" in effect_of_data(ranks, ROUTERS, "log_loss_bits").reason
    with pytest.raises(RoutestatError, match="score must be one of"):
        effect_of_data(scores, ROUTERS, "accuracy")
