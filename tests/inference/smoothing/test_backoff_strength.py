"""Strengths of greatest evidence, and discounts by leaving one token out, against slow searches of the same heights."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from routestat.counting.kernels.draws import summed_draws
from routestat.inference.smoothing import backoff_strength as strength
from routestat.inference.smoothing.backoff_strength import (
    LARGEST_SUM_PER_TOKEN,
    SMALLEST_SUM,
    BackoffParameters,
    fit_backoff,
    fit_strength,
)
from routestat.inference.smoothing.posterior import log_evidence
from tests.oracle.backoff_oracle import left_out_log_probability

Cells = tuple[np.ndarray, np.ndarray, np.ndarray]


def dirichlet_rows(
    seed: int | list[int], n_rows: int, k: int, mean: float, s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows `[context, target]` of geometric length around a base, which is returned too."""
    rng = np.random.default_rng(seed)
    base = rng.dirichlet(np.ones(k))
    return np.array(
        [rng.multinomial(n, rng.dirichlet(s * base)) for n in rng.geometric(1 / mean, n_rows)]
    ), base


def cells_of(table: np.ndarray, base: np.ndarray) -> Cells:
    """Counts, bases and contexts of the cells that were seen."""
    row, target = np.nonzero(table)
    return table[row, target].astype(float), base[target], np.unique(row, return_inverse=True)[1]


def fitted(table: np.ndarray, base: np.ndarray) -> float:
    count, m, _ = cells_of(table, base)
    return fit_strength(count, m, table.sum(axis=1))


def dense_evidence(table: np.ndarray, base: np.ndarray, s: float) -> float:
    return float(np.sum(log_evidence(table, s * base)))


def highest(table: np.ndarray, base: np.ndarray) -> tuple[float, float]:
    """The best s of a fine grid, polished between its neighbours, and its evidence."""
    grid = np.linspace(math.log(SMALLEST_SUM), math.log(LARGEST_SUM_PER_TOKEN * table.sum(axis=1).max()), 300)
    heights = [dense_evidence(table, base, math.exp(u)) for u in grid]
    best = int(np.argmax(heights))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    polished = optimize.minimize_scalar(
        lambda u: -dense_evidence(table, base, math.exp(u)),
        bounds=around,
        method="bounded",
        options={"xatol": 1e-9},
    )
    return math.exp(polished.x), max(-polished.fun, max(heights))


@pytest.mark.parametrize("s", [0.03, 0.8, 12.0, 300.0])
@pytest.mark.parametrize("mean", [2, 9, 80])
def test_the_strength_is_where_the_dense_evidence_is_highest(s: float, mean: int) -> None:
    table, base = dirichlet_rows(int(10 * s) + mean, 120, 6, mean, s)
    found, (slow, height) = fitted(table, base), highest(table, base)
    assert dense_evidence(table, base, found) == pytest.approx(height, abs=1e-6)
    assert found == pytest.approx(slow, rel=2e-4)


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=1, max_size=6), st.integers(0, 99)
)
@settings(max_examples=30, deadline=None)
def test_no_strength_has_more_evidence(rows: list[list[int]], seed: int) -> None:
    table, base = np.array(rows), np.random.default_rng(seed).dirichlet(np.ones(3))
    if table.sum(axis=1).max() > 1:
        assert dense_evidence(table, base, fitted(table, base)) >= highest(table, base)[1] - 1e-6


@pytest.mark.parametrize(("repeats", "wins"), [(64, "large"), (80, "large"), (96, "small"), (240, "small")])
def test_of_two_maxima_the_higher_one_is_found(repeats: int, wins: str) -> None:
    # Short rows that repeat themselves favour a small s, long ones that copy the base a large one: both peaks
    # are in all four tables, and the number of short rows decides.
    base = np.full(4, 0.25)
    table = np.concatenate([np.tile([[2, 0, 0, 0]], (repeats, 1)), np.full((8, 4), 100)])
    grid = np.linspace(math.log(SMALLEST_SUM), math.log(LARGEST_SUM_PER_TOKEN * 400), 200)
    heights = np.array([dense_evidence(table, base, math.exp(u)) for u in grid])
    rises = np.diff(heights) > 0
    assert (rises[:-1] & ~rises[1:]).sum() + rises[-1] == 2
    found = fitted(table, base)
    assert (found > 1e6) if wins == "large" else (found < 1)
    assert dense_evidence(table, base, found) >= heights.max() - 1e-6


@pytest.mark.parametrize("times", [1, 3, 50])
def test_rows_that_are_their_base_rest_on_it_wholly(times: int) -> None:
    base = np.array([0.5, 0.3, 0.2])
    table = np.tile((10 * base).astype(int), (7, 1)) * times
    assert fitted(table, base) == pytest.approx(LARGEST_SUM_PER_TOKEN * 10 * times, rel=1e-9)


@pytest.mark.parametrize("length", [2, 7, 8, 9, 400])
def test_rows_that_follow_their_first_token_rest_on_nothing(length: int) -> None:
    table = length * np.eye(4, dtype=int)[[0, 1, 1, 2, 3]]
    assert fitted(table, np.full(4, 0.25)) == pytest.approx(SMALLEST_SUM, rel=1e-9)


@pytest.mark.parametrize(("s", "mean"), [(0.5, 6), (4.0, 30), (60.0, 200)])
def test_the_strength_of_rows_is_recovered_within_its_sampling_error(s: float, mean: int) -> None:
    z = []
    for seed in range(40):
        table, base = dirichlet_rows([seed, mean], 150, 8, mean, s)
        found, step = math.log(fitted(table, base)), 1e-2
        below, at, above = (dense_evidence(table, base, math.exp(found + d)) for d in (-step, 0.0, step))
        information = (2 * at - below - above) / step**2
        z.append((found - math.log(s)) * math.sqrt(information))
    assert max(map(abs, z)) < 4
    assert abs(np.mean(z)) < 3 / math.sqrt(len(z))
    # The spread of 40 normal figures has a standard error of 1 / sqrt(78).
    assert abs(np.std(z, ddof=1) - 1) < 3 / math.sqrt(78)


@pytest.mark.parametrize("n", [1, 3, 8, 13])
def test_expected_draws_are_summed_as_by_psi(n: int) -> None:
    # Counts around the one at which terms give way to Stirling's series, and others that are not whole.
    counts = np.array([1, 2, 7, 8, 9, 10, 300, 0.02, 0.9, 1.5, 8.5, 77.7])
    rng = np.random.default_rng(n)
    base, times = rng.dirichlet(np.ones(len(counts))), rng.integers(1, 9, len(counts)).astype(float)
    strengths = np.exp(np.linspace(-9.0, 9.0, n))
    a = strengths[:, None] * base
    slow = (times * a * (special.psi(a + counts) - special.psi(a))).sum(axis=1)
    np.testing.assert_allclose(summed_draws(counts, base, times, strengths), slow, rtol=1e-11)


def test_counts_a_hair_from_whole_have_the_strength_of_whole_ones() -> None:
    table, base = dirichlet_rows(8, 60, 5, 20, 3.0)
    count, m, context = cells_of(table, base)
    nearly = count.copy()
    nearly[::3] += 1e-9
    assert (nearly != np.floor(nearly)).any()
    found = fit_strength(nearly, m, np.bincount(context, nearly))
    assert found == pytest.approx(fitted(table, base), rel=1e-5)


def test_the_strength_of_fractional_counts_is_where_their_evidence_is_highest() -> None:
    table, base = dirichlet_rows(9, 50, 4, 15, 2.0)
    count, m, context = cells_of(table, base)
    count = 1 + (count - 1) * 0.37
    total = np.bincount(context, count)

    def loss(u: float) -> float:
        s = math.exp(u)
        rows = special.gammaln(s + total) - special.gammaln(s)
        return float(rows.sum() - (special.gammaln(s * m + count) - special.gammaln(s * m)).sum())

    slow = optimize.minimize_scalar(loss, bounds=(-3, 8), method="bounded", options={"xatol": 1e-9})
    assert -3 < slow.x < 8
    assert fit_strength(count, m, total) == pytest.approx(math.exp(slow.x), rel=1e-5)


def test_where_no_context_was_met_twice_nothing_speaks_against_the_base() -> None:
    bound = float(LARGEST_SUM_PER_TOKEN)
    assert fit_strength([], [], []) == bound
    assert fit_strength([], [], [0, 0]) == bound
    assert fit_strength([1, 1, 1], [0.2, 0.5, 0.3], [1, 1, 1, 0]) == bound
    # Nor does a row that never repeated a target, to any length.
    assert fit_strength([1, 1, 1], [0.2, 0.5, 0.3], [3]) == pytest.approx(3 * bound, rel=1e-9)
    assert fit_backoff([], [], []) == BackoffParameters(bound)
    assert fit_backoff([1, 1], [0.2, 0.5], [0, 1]) == BackoffParameters(bound)


@pytest.mark.parametrize("total", [[0.2, 0.3, 1.9], [1.3, 1.4], [0.9] * 50, [1.4, 1.4, 0.0]])
def test_less_than_one_repeated_draw_says_nothing(total: list[float]) -> None:
    # Draws are no whole numbers: what contexts hold beyond their first one is .9, .7, 0 and .8 of a draw.
    assert fit_strength(total, np.full(len(total), 0.5), total) == LARGEST_SUM_PER_TOKEN


@pytest.mark.parametrize("total", [[1.5, 1.5], [2.0], [1.1] * 11, [1.4, 1.4, 1.4]])
def test_one_repeated_draw_says_something(total: list[float]) -> None:
    # All draws of a context have one target: rows follow their first token.
    assert fit_strength(total, np.full(len(total), 0.5), total) == pytest.approx(SMALLEST_SUM, rel=1e-9)


def test_empty_contexts_and_the_order_of_cells_say_nothing() -> None:
    table, base = dirichlet_rows(4, 80, 6, 10, 1.5)
    count, m, context = cells_of(table, base)
    total, order = table.sum(axis=1), np.random.default_rng(0).permutation(len(count))
    found = fit_strength(count, m, total)
    assert fit_strength(count, m, np.concatenate([[0, 0], total[::-1]])) == found
    assert fit_strength(count[order], m[order], total) == pytest.approx(found, rel=1e-9)
    shuffled = fit_backoff(count[order], m[order], context[order])
    assert shuffled.strength == pytest.approx(fit_backoff(count, m, context).strength, rel=1e-9)


def peaked_rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows with one likely target of their own, the rest of their tokens spread evenly: no Dirichlet distribution."""
    rng = np.random.default_rng(seed)
    k = 12
    distributions = 0.7 * np.eye(k)[rng.integers(k, size=150)] + 0.3 / k
    return np.array(
        [rng.multinomial(rng.integers(2, 40), distribution) for distribution in distributions]
    ), np.full(k, 1 / k)


def test_the_discount_stays_zero_on_rows_of_a_dirichlet_distribution() -> None:
    used = {}
    for seed in range(30):
        for n_rows, k, mean, s in (
            (30, 8, 20, 3.0),
            (300, 28, 10, 5.0),
            (300, 28, 3, 20.0),
            (300, 28, 30, 1.0),
        ):
            table, base = dirichlet_rows([seed, k, mean], n_rows, k, mean, s)
            found = fit_backoff(*cells_of(table, base))
            if found.discount:
                used[seed, mean, s] = found
            else:
                assert found.strength == fitted(table, base)
    # A left-out probability is no likelihood, so the rule has no exact size; it errs in less than one of 50.
    assert len(used) <= 120 / 50, used


@pytest.mark.parametrize("seed", range(5))
def test_a_discount_is_used_on_peaked_rows_and_is_the_best_there_is(seed: int) -> None:
    table, base = peaked_rows(seed)
    found = fit_backoff(*cells_of(table, base))
    assert 0.1 < found.discount < 1
    reached = left_out_log_probability(table, base, found.strength, found.discount)
    plain = left_out_log_probability(table, base, fitted(table, base), 0.0)
    assert reached - plain > math.log(table.sum())
    for s in found.strength * np.array([0.3, 0.8, 1.0, 1.25, 3.0]):
        for d in (0.0, 0.9 * found.discount, found.discount, min(1.1 * found.discount, 0.999), 0.999):
            assert left_out_log_probability(table, base, s, d) <= reached + 1e-3


def left_out_of(table: np.ndarray, base: np.ndarray) -> strength._LeftOut:
    count, m, context = cells_of(table, base)
    total, targets = np.bincount(context, count), np.bincount(context).astype(float)
    return strength._LeftOut(count, m, total, targets[context])


PLACES = [(0.4, 0.0), (2.0, 0.3), (90.0, 0.95)]


@pytest.mark.parametrize(("s", "d"), PLACES)
def test_the_left_out_objective_is_a_loop_over_tokens(s: float, d: float) -> None:
    table, base = dirichlet_rows(2, 25, 5, 6, 2.0)
    assert (table == 1).any()
    assert (table.sum(axis=1) == 1).any()
    value = left_out_of(table, base)(math.log(s), d)[0]
    assert value == pytest.approx(left_out_log_probability(table, base, s, d), rel=1e-12)


@pytest.mark.parametrize(("s", "d"), PLACES)
def test_derivatives_of_the_left_out_objective_are_differences(s: float, d: float) -> None:
    function, x, h = left_out_of(*dirichlet_rows(2, 25, 5, 6, 2.0)), math.log(s), 1e-5
    _, by_x, by_d, by_xx, by_xd, by_dd = function(x, d)
    in_x = np.subtract(function(x + h, d), function(x - h, d)) / (2 * h)
    in_d = np.subtract(function(x, d + h), function(x, d - h)) / (2 * h)
    np.testing.assert_allclose(in_x[:3], [by_x, by_xx, by_xd], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(in_d[:3], [by_d, by_xd, by_dd], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_newton_ends_no_lower_than_a_general_optimiser(seed: int) -> None:
    table, base = (peaked_rows if seed % 2 else partial(dirichlet_rows, n_rows=60, k=6, mean=8, s=1.0))(seed)
    function = left_out_of(table, base)
    bounds = math.log(SMALLEST_SUM), math.log(LARGEST_SUM_PER_TOKEN * table.sum(axis=1).max())
    for guess in ((0.3, 0.1), (0.0, 0.8), (-6.0, 0.999), (9.0, 0.0)):
        height, x, d = strength._highest(function, guess, bounds, [])
        slow = optimize.minimize(
            lambda at: -function(*at)[0], guess, bounds=(bounds, (0.0, 0.999)), method="L-BFGS-B"
        )
        assert height >= -slow.fun - 1e-6
        assert function(x, d)[0] == height
        assert bounds[0] <= x <= bounds[1]
        assert 0 <= d <= 0.999


@pytest.mark.parametrize("spare", [-1e-6, 1e-6])
def test_a_discount_needs_more_than_the_log_of_the_tokens(
    spare: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, base = dirichlet_rows(2, 25, 5, 6, 2.0)
    plain = left_out_of(table, base)(math.log(fitted(table, base)), 0.0)[0]
    best = plain + math.log(table.sum()) + spare
    monkeypatch.setattr(strength, "_highest", lambda *_: (best, 0.0, 0.5))
    taken = fit_backoff(*cells_of(table, base))
    assert taken == (BackoffParameters(1.0, 0.5) if spare > 0 else BackoffParameters(fitted(table, base)))
