"""Calibration: known probabilities, the slow way, and a calibration error whose bias is gone whatever documents do."""

import numpy as np
import pytest

from routestat.counting.score_sums import BINS, Cells, finished, raw_sums, score_matrix
from routestat.errors import RoutestatError
from routestat.forecast.calibration import calibration_of
from routestat.forecast.scores import PredictionScore

EXPERTS = 5


def drawn(rng, groups, tokens, *, repeated=1):
    """Probabilities [row, expert] of one of five experts, its draw, and the row's group; equal rows in sequence."""
    p = rng.dirichlet(np.full(EXPERTS, 0.6), groups * tokens // repeated).clip(1e-6)
    p /= p.sum(axis=1, keepdims=True)
    chosen = (rng.random(len(p))[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    group = np.arange(groups).repeat(tokens)
    return p.repeat(repeated, axis=0), chosen.repeat(repeated), group


def scored(said, chosen, group, name="one"):
    raw = raw_sums(group.max() + 1, 1, calibrate=True)
    # Of one expert each, the probabilities are the weights.
    score_matrix(np.log(said), chosen[:, None].astype(np.uint8), group, "log-weight", raw)
    sums, cells = finished(raw, 1, EXPERTS), Cells.of_groups(len(raw))
    return PredictionScore(name, -1, 0, 0, sums.sums, cells, sums.calibration, router="L00", top_k=1)


def overconfident(p):
    sharp = p**1.7
    return sharp / sharp.sum(axis=1, keepdims=True)


def slow(said, chosen, group):
    """Everything row by row: (brier, reliability, resolution, uncertainty, squared error over pairs of groups)."""
    rows = [(said[t, e], float(chosen[t] == e), group[t]) for t in range(len(said)) for e in range(EXPERTS)]
    p, hit, of = (np.array(column) for column in zip(*rows, strict=True))
    place = np.minimum((np.sqrt(p) * BINS).astype(int), BINS - 1)
    base = hit.mean()
    reliability = resolution = square = weight = 0.0
    for one in np.unique(place):
        mine = place == one
        q, o, g = p[mine], hit[mine], of[mine]
        reliability += mine.sum() * (o.mean() - q.mean()) ** 2
        variance, covariance = ((q - q.mean()) ** 2).sum(), ((q - q.mean()) * (o - o.mean())).sum()
        resolution += mine.sum() * (o.mean() - base) ** 2 - variance + 2.0 * covariance
        above = below = 0.0
        for a in np.unique(g):
            for b in np.unique(g):
                if a != b:
                    above += (o - q)[g == a].sum() * (o - q)[g == b].sum()
                    below += (g == a).sum() * (g == b).sum()
        if below:
            square += mine.sum() * above / below
            weight += mine.sum()
    n = len(p)
    return ((p - hit) ** 2).mean(), reliability / n, resolution / n, base * (1 - base), square / weight


@pytest.mark.parametrize("change", [lambda p: p, overconfident])
def test_against_the_slow_way(change):
    p, chosen, group = drawn(np.random.default_rng(0), 8, 25)
    said = change(p)
    found = calibration_of([scored(said, chosen, group)])
    brier, reliability, resolution, uncertainty, square = slow(said, chosen, group)
    assert found.brier == pytest.approx(brier, abs=1e-9)
    assert found.reliability == pytest.approx(reliability, abs=1e-9)
    assert found.resolution == pytest.approx(resolution, abs=1e-9)
    assert found.uncertainty == pytest.approx(uncertainty, abs=1e-9)
    assert found.error.value == pytest.approx(max(square, 0.0) ** 0.5, abs=1e-9)


def test_the_parts_of_the_brier_score_add_up():
    p, chosen, group = drawn(np.random.default_rng(1), 40, 50)
    scores = [scored(said, chosen, group) for said in (p, overconfident(p), np.full_like(p, 0.2))]
    for one in ([scores[0]], [scores[1]], scores):
        found = calibration_of(one)
        assert abs(found.reliability - found.resolution + found.uncertainty - found.brier) < 1e-12
        assert found.brier == pytest.approx(
            np.mean([score.estimate("brier").value for score in one]), abs=1e-12
        )


def test_a_constant_probability_has_one_bin_and_no_resolution():
    p, chosen, group = drawn(np.random.default_rng(2), 20, 30)
    found = calibration_of([scored(np.full_like(p, 0.2), chosen, group)])
    assert found.n.tolist() == [len(p) * EXPERTS]
    assert found.probability[0] == pytest.approx(0.2, abs=1e-12)
    assert found.observed.value[0] == pytest.approx(0.2, abs=1e-12)  # one expert of five, always
    assert found.reliability == pytest.approx(0.0, abs=1e-12)
    assert found.resolution == pytest.approx(0.0, abs=1e-12)
    assert found.brier == pytest.approx(found.uncertainty, abs=1e-12) == pytest.approx(0.16, abs=1e-12)


def test_calibrated_probabilities_have_no_error_though_the_tokens_of_a_document_are_alike():
    squares, biased = [], []
    for seed in range(60):
        p, chosen, group = drawn(np.random.default_rng(seed), 30, 40, repeated=20)
        found = calibration_of([scored(p, chosen, group)])
        biased.append(found.reliability)
        squares.append(slow_square(p, chosen, group))
        assert found.error.value == pytest.approx(max(squares[-1], 0.0) ** 0.5, abs=1e-6)
    squares = np.array(squares)
    error = squares.std(ddof=1) / np.sqrt(len(squares))
    assert abs(squares.mean()) < 3 * error
    # What a plug-in estimate would call an error of calibration.
    assert np.mean(biased) > 10 * error
    assert (squares > 0).any()
    assert (squares < 0).any()


def slow_square(p, chosen, group):
    place = np.minimum((np.sqrt(p) * BINS).astype(int), BINS - 1)
    hit = chosen[:, None] == np.arange(EXPERTS)
    total = weight = 0.0
    for one in np.unique(place):
        mine = place == one
        d = np.array([(hit - p)[group == g][mine[group == g]].sum() for g in range(group.max() + 1)])
        n = np.array([mine[group == g].sum() for g in range(group.max() + 1)], float)
        pairs = n.sum() ** 2 - (n**2).sum()
        if pairs:
            total += n.sum() * (d.sum() ** 2 - (d**2).sum()) / pairs
            weight += n.sum()
    return total / weight


def test_the_interval_holds_the_error_of_overconfident_probabilities():
    p, chosen, group = drawn(np.random.default_rng(99), 400, 500)
    truth = calibration_of([scored(overconfident(p), chosen, group)]).error.value
    assert 0.05 < truth < 0.2
    inside = 0
    for seed in range(60):
        p, chosen, group = drawn(np.random.default_rng(1000 + seed), 40, 40, repeated=4)
        found = calibration_of([scored(overconfident(p), chosen, group)])
        inside += found.error.low <= truth <= found.error.high
    assert 52 <= inside <= 60  # 95 % of 60 is 57; P(fewer than 52) < 0.005


def test_observed_shares_have_the_intervals_of_the_board():
    p, chosen, group = drawn(np.random.default_rng(5), 12, 40)
    found = calibration_of([scored(p, chosen, group)])
    assert len(found.n) == len(found.probability) == len(found.observed.value) <= BINS
    inside = found.observed.low < found.observed.high
    assert inside.sum() > 10
    assert np.all(np.diff(found.probability) > 0)


def test_few_documents_have_no_interval_and_no_tokens_no_values():
    p, chosen, group = drawn(np.random.default_rng(6), 3, 40)
    found = calibration_of([scored(p, chosen, group)])
    assert np.isfinite(found.error.value)
    assert np.isnan(found.error.low)
    assert "3 independent units" in found.error.reason
    nothing = calibration_of([empty()])
    assert np.isnan([nothing.error.value, nothing.brier, nothing.uncertainty]).all()
    assert nothing.error.reason == "no tokens to score"


def empty():
    sums = finished(raw_sums(4, 1, calibrate=True), 1, EXPERTS)
    return PredictionScore("one", -1, 0, 0, sums.sums, Cells.of_groups(4), sums.calibration, top_k=1)


def test_scores_without_reliability_sums_are_refused():
    p, chosen, group = drawn(np.random.default_rng(7), 8, 10)
    with pytest.raises(RoutestatError, match="expected the scores of one predictor"):
        calibration_of([scored(p, chosen, group), scored(p, chosen, group, "other")])
    with pytest.raises(RoutestatError, match="expected the scores of one predictor"):
        calibration_of([])
    raw = raw_sums(8, 1, calibrate=False)
    score_matrix(p, chosen[:, None].astype(np.uint8), group, "log-weight", raw)
    sums = finished(raw, 1, EXPERTS)
    with pytest.raises(RoutestatError, match="no reliability sums"):
        calibration_of([PredictionScore("one", -1, 0, 0, sums.sums, Cells.of_groups(8))])
