"""The two passes of the expert view against predictors and tables written out token by token."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from routestat import Router, Trace, TraceMeta
from routestat.counting.moments import Design, count_moments, sampled_parts, tempered_likelihood
from routestat.counting.predictor_scores import LinearPredictor, count_decisions
from routestat.counting.score_sums import SUMS, finished, raw_sums, score_matrix
from tests.board_cases import rows_with_folds
from tests.oracle import forecast_oracle

#: Sources by column of the trace and lag.
LOOKS = [
    [],
    [(0, 0)],
    [(1, 1)],
    [(0, 0), (1, 1)],
    [(1, 1), (1, 2)],
    [(0, 2), (1, 1), (0, 0)],
]
ROUTERS = (Router(0, 7, 3), Router(1, 9, 3))
FOLDS = np.array([0, 1, 0, 1, 1])


def scored(trace, predictors, fold_of_group, **options):
    """Sums per group of the first predictor: its columns, and its bins."""
    rows = rows_with_folds(trace, fold_of_group)
    found = count_decisions(rows, predictors, **options)[predictors[0].name, predictors[0].target.name]
    bins = None if found.calibration is None else rows.cells.by_group(found.calibration)
    return rows.cells.by_group(found.sums), bins


@pytest.fixture(params=[3, 11, 1000])
def made(monkeypatch, request):
    """A trace with skipped positions, windows and missing choices, read a few rows at a time."""
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: request.param)
    rng = np.random.default_rng(4)
    experts = np.stack([np.argsort(rng.random((90, r.n_experts)), axis=1)[:, :3] for r in ROUTERS], axis=1)
    experts[17, 0] = experts[40, 1] = experts[63, 1] = -1
    lengths = [1, 2, 30, 1, 17, 20, 19]
    document = np.repeat(np.arange(7), lengths)
    position = np.concatenate([np.cumsum(rng.choice([1, 1, 1, 1, 2], n)) for n in lengths])
    trace = Trace.from_arrays(TraceMeta(ROUTERS, window=8), document, position, None, experts=experts)
    return trace, (document, position, 8, experts)


def predictor(rng, looks, link, fallback=None):
    sources = tuple((ROUTERS[column], lag) for column, lag in looks)
    features = sum(router.n_experts for router, _ in sources)
    bias, weights = rng.random((2, 9)) / 10 + 0.01, rng.random((2, features, 9)) / 20
    if link == "log-weight":
        weights = rng.normal(size=weights.shape) * 3
    return LinearPredictor("x", ROUTERS[1], sources, bias, weights, link, fallback)


def level(p):
    looks = [(ROUTERS.index(router), router.n_experts, lag) for router, lag in p.sources]
    return looks, p.bias, p.weights, p.link


@pytest.mark.parametrize("link", ["rank", "inclusion", "log-weight"])
def test_decisions_and_log_loss_against_the_slow_way(made, link):
    trace, rows = made
    rng = np.random.default_rng(5)
    for looks in LOOKS:
        p = predictor(rng, looks, link)
        fast, bins = scored(trace, [p], FOLDS, calibrate=True)
        sums, slow_bins = forecast_oracle.decisions(rows, 1, [level(p)], FOLDS)
        np.testing.assert_allclose(fast, sums, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(bins, slow_bins, rtol=1e-9, atol=1e-12)
        # Without reliability curves the rest is the same.
        plain, none = scored(trace, [p], FOLDS)
        assert none is None
        squared = SUMS.index("brier")
        np.testing.assert_allclose(np.delete(plain, squared, 1), np.delete(fast, squared, 1), rtol=1e-12)


@pytest.mark.parametrize("link", ["rank", "inclusion", "log-weight"])
def test_scores_of_a_matrix_are_those_of_the_predictor_that_made_it(made, link):
    trace, _ = made
    p = predictor(np.random.default_rng(12), [(0, 0)], link)
    if link == "log-weight":
        # Some far outside of what products of doubles can hold.
        p = replace(p, bias=p.bias + np.array([0, 0, 700.0, 0, 0, -700.0, 0, 0, 0]))
    fast = scored(trace, [p], FOLDS, calibrate=True)
    board = rows_with_folds(trace, FOLDS)
    x, target = board.features(p.sources), board.experts(ROUTERS[1])
    known = (x >= 0).all(axis=1) & board.known(ROUTERS[1])
    scores = p.bias[board.fold] + np.array(
        [p.weights[f, row].sum(axis=0) for f, row in zip(board.fold, x, strict=True)]
    )
    raw = raw_sums(len(board.cells), 3, calibrate=True)
    score_matrix(scores[known], target[known], board.cell[known], link, raw)
    found = finished(raw, 3, 9)
    np.testing.assert_allclose(board.cells.by_group(found.sums), fast[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(board.cells.by_group(found.calibration), fast[1], rtol=1e-9, atol=1e-12)


def test_rows_of_other_folds_only_serve_to_fit(made):
    trace, _ = made
    p = predictor(np.random.default_rng(13), [(0, 0)], "log-weight")
    both = scored(trace, [p], FOLDS)[0]
    rows = replace(rows_with_folds(trace, FOLDS), scored_folds=(1,))
    one = rows.cells.by_group(count_decisions(rows, [p])["x", "L01"].sums)
    np.testing.assert_array_equal(one[FOLDS == 1], both[FOLDS == 1])
    assert not one[FOLDS == 0].any()


@pytest.mark.parametrize("shift", [-800.0, -300.0, 300.0, 800.0])
def test_weights_whose_products_leave_a_double_are_scored_from_logarithms(made, shift):
    trace, rows = made
    p = predictor(np.random.default_rng(9), [(0, 0), (1, 1)], "log-weight")
    p = replace(p, bias=p.bias + shift)
    fast, bins = scored(trace, [p], FOLDS, calibrate=True)
    slow, slow_bins = forecast_oracle.decisions(rows, 1, [level(p)], FOLDS)
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(bins, slow_bins, rtol=1e-9, atol=1e-12)


def test_a_weight_far_above_the_others_is_limited():
    """Beyond e⁶⁰ times the k-th largest a weight counts as that: a subset without it costs bits, not infinity."""
    routers = (Router(0, 4, 2), Router(1, 4, 2))
    trace = Trace.from_arrays(TraceMeta(routers), [0], None, None, experts=[[[0, 1], [1, 2]]])
    bias = np.array([[500.0, 0.0, 0.0, 0.0]])
    p = LinearPredictor("x", routers[1], ((routers[0], 0),), bias, np.zeros((1, 4, 4)), "log-weight")
    sums, _ = scored(trace, [p], np.zeros(1, int))
    assert sums[0, SUMS.index("bits")] == pytest.approx((60 + np.log(3)) / np.log(2), rel=1e-9)


def test_what_lacks_a_source_is_answered_by_the_fallback(made):
    trace, rows = made
    rng = np.random.default_rng(6)
    last = predictor(rng, [], "inclusion")
    middle = predictor(rng, [(0, 0)], "log-weight", last)
    first = predictor(rng, [(1, 2), (0, 0)], "log-weight", middle)
    fast, _ = scored(trace, [first], FOLDS, calibrate=True)
    slow, _ = forecast_oracle.decisions(rows, 1, [level(p) for p in (first, middle, last)], FOLDS)
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-12)
    # Nothing is left out: as many tokens as have a choice at the target.
    assert fast[:, 0].sum() == 88
    assert scored(trace, [predictor(rng, [(1, 2), (0, 0)], "rank")], FOLDS)[0][:, 0].sum() < 60


def test_ties_go_to_the_lower_expert_and_narrow_routers_keep_their_width():
    routers = (Router(0, 4, 3), Router(1, 4, 3))
    trace = Trace.from_arrays(TraceMeta(routers), [0], None, None, experts=[[[0, 1, 2], [1, 2, 3]]])
    flat = LinearPredictor("x", routers[1], ((routers[0], 0),), np.zeros((1, 4)), np.zeros((1, 4, 4)), "rank")
    sums, _ = scored(trace, [flat], np.zeros(1, int))
    # Predicted 0, 1, 2 of 4: two of three recalled, a hit, but expert 0 alone is wrong; 2k covers all four.
    np.testing.assert_allclose(sums[0], [1, 0, 1, 0, 0, 0, 1, 1, 2 / 3, *[1] * 9])


def test_moments_against_the_slow_way(made):
    trace, rows = made
    designs = [
        Design(ROUTERS[1], tuple((ROUTERS[column], lag) for column, lag in looks)) for looks in LOOKS[1:]
    ]
    for looks, found in zip(LOOKS[1:], count_moments(rows_with_folds(trace, FOLDS), designs), strict=True):
        sources = [(column, ROUTERS[column].n_experts, lag) for column, lag in looks]
        x, y, where = forecast_oracle.design_rows(rows, 1, sources)
        fold = FOLDS[rows[0][where] % len(FOLDS)]
        member = np.eye(9, dtype=int)[y].sum(axis=1)
        for f in (0, 1):
            np.testing.assert_array_equal(found.within[f], x[fold == f].T @ x[fold == f])
            np.testing.assert_array_equal(found.across[f], x[fold == f].T @ member[fold == f])
        # All rows are kept where they are few.
        np.testing.assert_array_equal(np.sort(found.features, axis=1), [np.flatnonzero(row) for row in x])
        np.testing.assert_array_equal(found.targets, np.sort(y, axis=1))
        np.testing.assert_array_equal(found.folds, fold)
        assert found.design.offsets[-1] == x.shape[1]


def test_kept_rows_are_spread_over_the_trace_and_over_positions():
    rng = np.random.default_rng(7)
    experts = np.argsort(rng.random((6400, 2, 9)), axis=2)[..., :3]
    document = np.repeat(np.arange(100), 64)
    trace = Trace.from_arrays(
        TraceMeta((Router(0, 9, 3), Router(1, 9, 3))), document, None, None, experts=experts
    )
    first, second = trace.meta.routers
    found = count_moments(
        rows_with_folds(trace, np.arange(100)), [Design(second, ((first, 0),))], sample=400
    )[0]
    # One row in 16, and documents of 4 times 16: a plain stride would keep the same four positions of each.
    assert 396 <= len(found.folds) <= 404
    assert np.bincount(found.folds, minlength=100).min() >= 3
    kept = (np.arange(6400) * (5**0.5 - 1) / 2) % 1.0 < 1 / 16
    assert np.bincount((np.flatnonzero(kept) % 64), minlength=64).min() >= 3


def drawn_parts(rng, top_k):
    """A sample with two models, and parts: the base and two with weights."""
    trace = Trace.from_arrays(
        TraceMeta((Router(0, 5, 2), Router(1, 6, top_k))),
        np.arange(40),
        None,
        {
            "L00": rng.integers(0, 10, 40).astype(np.uint8),
            "L01": rng.integers(0, Router(1, 6, top_k).alphabet.size, 40).astype(np.uint8),
        },
    )
    first, second = trace.meta.routers
    found = count_moments(rows_with_folds(trace, np.arange(40) % 2), [Design(second, ((first, 0),))])[0]
    # The first part takes the first slot only.
    spans = np.array([[1, 0, 1], [0, 0, 2]])
    return found, (rng.normal(size=(2, 6)), rng.normal(size=(2, 2, 6)), rng.normal(size=(2, 2, 5, 6)), spans)


@pytest.mark.parametrize(("top_k", "shift"), [(1, 0.0), (3, 0.0), (3, 500.0), (3, -2000.0)])
def test_tempered_likelihood_and_its_slope_by_listing_all_subsets(top_k, shift):
    rng = np.random.default_rng(8)
    found, parts = drawn_parts(rng, top_k)
    parts = (parts[0] + shift, *parts[1:])
    at = np.array([[1.0, 0.4, -0.3], [0.2, 1.1, 0.6]])

    def height(exponents):
        total = np.zeros(2)
        for features, target, m in zip(found.features, found.targets, found.folds, strict=True):
            one = parts[1][1, m] + parts[2][1, m, features[:1]].sum(axis=0)
            both = parts[1][0, m] + parts[2][0, m, features].sum(axis=0)
            pieces = [parts[0][m], one, both]
            distribution = forecast_oracle.subset_distribution(exponents[m] @ pieces, top_k)
            total[m] += np.log(distribution[tuple(target.tolist())])
        return total

    summed = sampled_parts(found, found.folds, parts)
    value, slope, curve = tempered_likelihood(summed, at)
    for m in range(2):
        # A model that is asked for alone, and parts in another order.
        alone = tempered_likelihood(summed, at[:, [0, 2, 1]], [0, 2, 1], np.arange(2) == m)
        np.testing.assert_allclose(alone[0][m], value[m], rtol=1e-12)
        np.testing.assert_allclose(alone[1][m], slope[m, [0, 2, 1]], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(alone[2][m], curve[m][np.ix_([0, 2, 1], [0, 2, 1])], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(value, height(at), rtol=1e-10)
    step = 1e-4
    for i in range(3):
        nudge = step * np.eye(3)[i]
        np.testing.assert_allclose(
            slope[:, i], (height(at + nudge) - height(at - nudge)) / (2 * step), rtol=1e-5, atol=1e-5
        )
    if top_k > 1:
        return
    # Of one expert the covariance is exact, and so is the curvature.
    for i, j in itertools.product(range(3), repeat=2):
        a, b = step * np.eye(3)[i], step * np.eye(3)[j]
        bend = height(at + a + b) - height(at + a - b) - height(at - a + b) + height(at - a - b)
        np.testing.assert_allclose(curve[:, i, j], -bend / (4 * step**2), rtol=1e-4, atol=1e-3)
