"""Back-off distributions: small cases by hand, restaurants, a slow dictionary version, and what more data must do."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import optimize

from routestat.errors import RoutestatError
from routestat.inference.smoothing.backoff import (
    backed_off,
    draws_between,
    expected_draws,
    fit_distribution,
    hierarchical_alpha,
)
from routestat.inference.smoothing.backoff_strength import (
    LARGEST_SUM_PER_TOKEN,
    SMALLEST_SUM,
    BackoffParameters,
)
from routestat.inference.smoothing.posterior import log_evidence
from tests.oracle.backoff_oracle import SlowBackoff, Token, draws_by_stirling, draws_of

NESTED = [(), ("c",), ("b", "c"), ("a", "b", "c")]


def drawn_table(seed: int, shape: tuple[int, ...], n: int, concentration: float = 0.4) -> np.ndarray:
    """Counts `[context…, target]` of n tokens; contexts are unequally frequent, distributions are a Dirichlet's."""
    rng = np.random.default_rng(seed)
    contexts = rng.dirichlet(np.full(int(np.prod(shape[:-1])), 0.6))
    distributions = rng.dirichlet(np.full(shape[-1], concentration), len(contexts))
    return rng.multinomial(n, (contexts[:, None] * distributions).ravel()).reshape(shape)


def test_backed_off_by_hand() -> None:
    # 3 of 4 tokens, 2 targets seen, base 1/4. Dirichlet: (3 + 2/4) / (4 + 2). With a discount of 1/2:
    # (3 - 1/2 + (2 + 2/2) / 4) / (4 + 2).
    assert backed_off(3, 4, 2, 0.25, BackoffParameters(2.0)) == pytest.approx(3.5 / 6, rel=1e-15)
    assert backed_off(3, 4, 2, 0.25, BackoffParameters(2.0, 0.5)) == pytest.approx(3.25 / 6, rel=1e-15)
    # A target that was not seen has no count to take from; a context that was not seen follows its base.
    assert backed_off(0, 4, 2, 0.25, BackoffParameters(2.0, 0.5)) == pytest.approx(0.75 / 6, rel=1e-15)
    assert backed_off(0, 0, 0, 0.25, BackoffParameters(2.0, 0.5)) == 0.25


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=1, max_size=4),
    st.floats(1e-4, 1e9),
    st.floats(0, 0.999),
    st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_backed_off_sums_to_one(rows: list[list[int]], s: float, d: float, seed: int) -> None:
    counts = np.array(rows)
    base = np.random.default_rng(seed).dirichlet(np.ones(4), len(counts))
    total, distinct = counts.sum(axis=1, keepdims=True), np.count_nonzero(counts, axis=1)[:, None]
    distribution = backed_off(counts, total, distinct, base, BackoffParameters(s, d))
    np.testing.assert_allclose(distribution.sum(axis=1), 1, rtol=1e-12)
    assert (distribution > 0).all()


@pytest.mark.parametrize("weight", [1e-7, 0.02, 0.9, 3.0, 250.0])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 12])
def test_draws_are_the_tables_of_a_restaurant(count: int, weight: float) -> None:
    found = expected_draws(count, weight)
    assert found == pytest.approx(draws_by_stirling(count, weight), rel=1e-9)
    assert found == pytest.approx(draws_of(count, weight), rel=1e-9)


def test_draws_of_a_restaurant_that_is_played() -> None:
    rng, count, weight, plays = np.random.default_rng(3), 20, 1.7, 20_000
    # Whether customer k opens a table depends on no other customer.
    tables = (rng.random((plays, count)) < weight / (weight + np.arange(count))).sum(axis=1)
    error = tables.std() / np.sqrt(plays)
    assert expected_draws(count, weight) == pytest.approx(tables.mean(), abs=4 * error)


def test_a_token_is_a_draw_with_the_probability_that_it_does_not_repeat_its_row() -> None:
    # Tokens of a whole row, one after another: each repeats an earlier one of its row with probability n / (n + s),
    # else it is drawn from the base. Given the counts that come out, draws are in the mean what is said.
    rng, s, base, length = np.random.default_rng(4), 2.5, np.array([0.6, 0.3, 0.1]), 15
    drawn, expected = [], []
    for _ in range(3000):
        counts, draws = np.zeros(3, int), np.zeros(3)
        row: list[int] = []
        for n in range(length):
            repeated = rng.random() < n / (n + s)
            target = row[rng.integers(n)] if repeated else int(rng.choice(3, p=base))
            row.append(target)
            counts[target] += 1
            draws[target] += not repeated
        drawn.append(draws)
        expected.append(expected_draws(counts, s * base))
    difference = np.array(drawn) - expected
    assert (np.abs(difference.mean(axis=0)) < 4 * difference.std(axis=0) / np.sqrt(len(drawn))).all()


def test_limits_of_draws() -> None:
    counts = np.array([0, 1, 2, 50, 10**6])
    np.testing.assert_array_equal(expected_draws(counts, 1e-9)[:2], [0, 1])
    np.testing.assert_allclose(expected_draws(counts, 1e-9), np.minimum(counts, 1), rtol=1e-7)
    # 0 + 1 + … + (c - 1) pairs of tokens, of which one in `weight` is a repetition.
    np.testing.assert_allclose(expected_draws(counts[:4], 1e8), counts[:4], rtol=1e-6)
    np.testing.assert_allclose(expected_draws(10**6, 1e8), 10**6 - 10**12 / (2 * 1e8), rtol=1e-4)
    for weight in (1e-300, 1e-3, 1.0, 1e6, 1e12):
        drawn = expected_draws(counts, weight)
        assert (drawn >= np.minimum(counts, 1)).all()
        assert (drawn <= counts).all()


@pytest.mark.parametrize("weight", [1e3, 9.9e6, 1.01e7, 3e8, 1e12])
@pytest.mark.parametrize("count", [1, 2, 50, 3000, 10**6, 2 * 10**7])
def test_large_weights_have_the_draws_of_a_long_sum(count: int, weight: float) -> None:
    # Counts from far below the weight to beyond it: psi itself would keep 1e-16 of ln weight, of which draws are
    # count / weight.
    with mpmath.workdps(40):
        slow = float(weight * (mpmath.psi(0, mpmath.mpf(weight) + count) - mpmath.psi(0, weight)))
    assert slow == pytest.approx(draws_of(min(count, 3000), weight), rel=1e-11) or count > 3000
    assert expected_draws(count, weight) == pytest.approx(slow, rel=1e-13)


@pytest.mark.parametrize("weight", [1e-6, 0.3, 15.9, 1e3, 1e7, 1e12])
@pytest.mark.parametrize("counts", [0, 1, 5, 4000])
def test_further_draws_are_what_they_add_to_those_before(counts: int, weight: float) -> None:
    further = np.array([0, 1, 2, 15, 16, 17, 3000])
    with mpmath.workdps(40):
        start = mpmath.mpf(weight) + counts
        slow = [float(weight * (mpmath.psi(0, start + int(m)) - mpmath.psi(0, start))) for m in further]
    np.testing.assert_allclose(
        draws_between(np.full(7, counts), further, np.full(7, weight)), slow, rtol=1e-12
    )


def test_rows_that_follow_their_first_token_teach_one_draw_each() -> None:
    # Row 0 is a thousand times row 1, yet both are one draw from the base: it is even, the share of tokens is not.
    found = fit_distribution([[2000, 0], [0, 2]])
    np.testing.assert_allclose(found.base, [0.5, 0.5], atol=1e-3)
    assert found.fitted.strength == pytest.approx(SMALLEST_SUM)
    assert found.fitted.discount == 0
    np.testing.assert_allclose(found.distribution, np.eye(2), atol=1e-4)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (3, 4, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("n", [12, 60, 200])
def test_the_distribution_is_that_of_dictionaries(shape: tuple[int, ...], n: int) -> None:
    table = drawn_table(len(shape) + n, shape, n)
    order, names = len(shape) - 1, ("a", "b", "c")[4 - len(shape) :]
    tokens = [
        Token(cell[-1], 0, dict(zip(names, cell[:-1], strict=True)))
        for cell in np.ndindex(shape)
        for _ in range(table[cell])
    ]
    slow, found = SlowBackoff(NESTED[: order + 1], shape[-1], tokens), fit_distribution(table)
    assert found.fitted.strength == pytest.approx(slow.fitted[order].strength, rel=1e-6)
    for context in np.ndindex(shape[:-1]):
        np.testing.assert_allclose(
            found.distribution[context], slow.distribution(order, tokens, context), rtol=1e-8
        )


@pytest.mark.parametrize("shape", [(6,), (4, 6), (4, 3, 6), (2, 4, 3, 6)])
def test_rows_sum_to_one_and_labels_are_labels(shape: tuple[int, ...]) -> None:
    table, rng = drawn_table(11, shape, 400), np.random.default_rng(1)
    found = fit_distribution(table)
    assert found.distribution.shape == shape
    assert found.base.shape == (shape[1:] if len(shape) > 1 else shape)
    np.testing.assert_allclose(found.distribution.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(found.base.sum(axis=-1), 1, rtol=1e-12)
    assert not found.distribution.flags.writeable
    assert not found.base.flags.writeable
    for axis, size in enumerate(shape):
        order = rng.permutation(size)
        np.testing.assert_allclose(
            fit_distribution(table.take(order, axis)).distribution,
            found.distribution.take(order, axis),
            rtol=1e-6,
        )


@pytest.mark.parametrize("shape", [(4, 6), (4, 3, 6), (3, 4, 3, 6)])
def test_contexts_never_seen_follow_their_base(shape: tuple[int, ...]) -> None:
    table = drawn_table(12, shape, 500)
    table[0] = 0
    found = fit_distribution(table)
    np.testing.assert_allclose(found.distribution[0], found.base, rtol=1e-12)
    # Other rows have something of their own to say.
    assert np.abs(found.distribution[1] - found.base).max() > 0.05


@pytest.mark.parametrize("shape", [(5,), (3, 5), (3, 4, 5), (0, 5)])
def test_without_tokens_every_target_is_as_likely(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(fit_distribution(np.zeros(shape, int)).distribution, np.full(shape, 0.2))


def test_targets_never_seen_stay_possible() -> None:
    table = np.zeros((3, 4, 5), int)
    table[:, :, 0] = 100
    distribution = fit_distribution(table).distribution
    assert (distribution > 0).all()
    np.testing.assert_allclose(distribution[..., 1:], distribution[..., 1:2] * np.ones(4), rtol=1e-12)


def highest_strength(table: np.ndarray, base: np.ndarray) -> float:
    """The s whose Dirichlet(s base) gives rows the greatest evidence, by a plain search."""
    found = optimize.minimize_scalar(
        lambda u: -np.sum(log_evidence(table, np.exp(u) * base)),
        bounds=(-6, 12),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(np.exp(found.x))


def test_a_single_row_rests_on_the_uniform_distribution() -> None:
    row = [40, 3, 1, 0, 6]
    even = np.full(5, 0.2)
    for rows in ([row], [[0] * 5, row, [0] * 5]):
        prior = hierarchical_alpha(rows)
        np.testing.assert_allclose(prior, highest_strength(np.array([row]), even) * even, rtol=1e-5)
        assert not prior.flags.writeable


def test_the_prior_of_many_rows_is_recovered() -> None:
    truth = np.array([0.2, 3.0, 0.8, 1.5, 0.5, 2.0])
    z = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        table = np.array([rng.multinomial(rng.geometric(0.02), rng.dirichlet(truth)) for _ in range(300)])
        prior = hierarchical_alpha(table)
        assert np.sum(log_evidence(table, prior)) > np.sum(log_evidence(table, truth)) - 1
        base, s = prior / prior.sum(), prior.sum()
        assert s == pytest.approx(highest_strength(table, base), rel=1e-5)
        # The evidence's bend in log s, at the strength found, bounds how far off it may be.
        below, at, above = (np.sum(log_evidence(table, np.exp(d) * prior)) for d in (-0.01, 0.0, 0.01))
        z.append(np.log(s / truth.sum()) * np.sqrt((2 * at - below - above) / 0.01**2))
        # A share of draws, of which a row of n tokens has some s ln(1 + n / s).
        draws = expected_draws(table, prior).sum()
        error = np.sqrt(base * (1 - base) / draws)
        assert (np.abs(base - truth / truth.sum()) < 4.5 * error).all()
    assert max(map(abs, z)) < 4
    assert abs(np.mean(z)) < 3 / np.sqrt(len(z))


def test_the_prior_of_rows_is_the_base_of_their_distribution() -> None:
    table = drawn_table(21, (7, 5), 300)
    found, prior = fit_distribution(table), hierarchical_alpha(table)
    np.testing.assert_allclose(prior / prior.sum(), found.base, rtol=1e-12)
    assert found.fitted.discount == 0
    assert prior.sum() == pytest.approx(found.fitted.strength, rel=1e-9)
    posterior = (table + prior) / (table + prior).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(posterior, found.distribution, rtol=1e-9)


@pytest.mark.parametrize("times", [1, 30])
def test_rows_that_are_alike_have_a_strong_prior(times: int) -> None:
    row = times * np.array([6, 3, 1])
    prior = hierarchical_alpha(np.tile(row, (40, 1)))
    assert prior.sum() == pytest.approx(LARGEST_SUM_PER_TOKEN * row.sum(), rel=1e-9)
    # The distribution of all 400 tokens or more, of which the uniform one below takes a share of its own.
    np.testing.assert_allclose(prior / prior.sum(), row / row.sum(), atol=0.005)


def test_rows_that_share_nothing_have_a_weak_prior_and_targets_never_seen_a_small_one() -> None:
    prior = hierarchical_alpha([[90, 0, 0, 0], [0, 5, 0, 0], [0, 0, 1000, 0]])
    assert prior.sum() == pytest.approx(SMALLEST_SUM, rel=1e-3)
    # Each row is one draw, whatever its length; three draws say little against the uniform distribution below.
    np.testing.assert_allclose(prior[:3], prior[0], rtol=1e-2)
    assert (prior > 0).all()
    assert prior[3] <= prior[:3].min() * (1 + 1e-9)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, 4), int), "with a token or more; give alpha as a number"),
        ([3, 1], "counts .row, target."),
        (np.ones((2, 2, 2), int), "counts .row, target."),
        ([[1.5, 2]], "whole counts"),
        ([[1, -1]], "zero or more"),
    ],
)
def test_what_are_no_rows_for_a_prior_is_named(rows: ArrayLike, message: str) -> None:
    with pytest.raises(RoutestatError, match=message):
        hierarchical_alpha(rows)


def truth_of_order_two(seed: int, k: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies of contexts `[x, y]`, a few x dominating, distributions `[x, y, z]`, and their mean m(z | y)."""
    rng = np.random.default_rng(seed)
    near = rng.dirichlet(np.full(k, 0.5), k)
    distributions = rng.standard_gamma(np.broadcast_to(4 * near, (k, k, k))) + 1e-12
    far = np.array([0.6, 0.3, *np.full(k - 2, 0.1 / (k - 2))])
    return (
        np.outer(far, rng.dirichlet(np.full(k, 5.0))),
        distributions / distributions.sum(axis=-1, keepdims=True),
        near,
    )


def excess(contexts: np.ndarray, truth: np.ndarray, distribution: np.ndarray) -> float:
    """Bits per token lost to not knowing the truth."""
    return float((contexts[..., None] * truth * np.log2(truth / distribution)).sum())


def test_more_data_come_closer_to_the_truth_than_laplace_and_the_shorter_context_do() -> None:
    for seed in range(4):
        contexts, truth, _ = truth_of_order_two(seed)
        lost = []
        for n in (50, 500, 5000, 50_000, 500_000):
            rng = np.random.default_rng([seed, n])
            table = rng.multinomial(n, (contexts[..., None] * truth).ravel()).reshape(truth.shape)
            lost.append(excess(contexts, truth, fit_distribution(table).distribution))
            laplace = (table + 1) / (table + 1).sum(axis=-1, keepdims=True)
            assert lost[-1] < excess(contexts, truth, laplace)
            if n >= 5000:
                shorter = np.broadcast_to(fit_distribution(table.sum(axis=0)).distribution, truth.shape)
                assert lost[-1] < excess(contexts, truth, shorter)
        assert (np.diff(lost) < 0).all()
        # Of k**3 free numbers each costs 1 / (2 N) nats in the end.
        assert lost[-1] < 8**3 / (2 * 500_000) / np.log(2)


def test_the_base_is_the_distribution_of_rows_and_not_the_share_of_tokens() -> None:
    by_rows = by_tokens = 0.0
    for seed in range(8):
        contexts, truth, near = truth_of_order_two(seed)
        table = np.random.default_rng([seed, 1]).multinomial(20_000, (contexts[..., None] * truth).ravel())
        share = table.reshape(truth.shape).sum(axis=0) + 0.5
        share /= share.sum(axis=-1, keepdims=True)
        even = np.full(len(near), 1 / len(near))
        by_rows += excess(even, near, fit_distribution(table.reshape(truth.shape)).base)
        by_tokens += excess(even, near, share)
    assert by_rows < by_tokens / 2


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (3, "no targets"),
        (np.zeros((4, 0), int), "no targets"),
        ([[1, -1]], "zero or more"),
        ([[1.5, 2]], "whole counts"),
        ([[np.nan, 2]], "finite"),
        ([[1, 2], [3]], "equal length"),
        ("counts", "dense array"),
    ],
)
def test_what_is_no_table_is_named(counts: ArrayLike, message: str) -> None:
    with pytest.raises(RoutestatError, match=message):
        fit_distribution(counts)
