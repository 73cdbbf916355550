"""Load balance: hand counts, the definition, coverage on dependent documents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from routestat.errors import RoutestatError
from routestat.structure.load_balance import load_balance
from tests.oracle.structure_oracle import gini


def random_counts(rng, n_groups, n_experts, top_k):
    """Groups of documents that differ in their experts' weights and in length."""
    tokens = rng.integers(0, 40, size=n_groups)
    counts = np.zeros((n_groups, n_experts), dtype=np.int64)
    for group, n in enumerate(tokens):
        weight = rng.normal(size=n_experts)
        for _ in range(n):
            counts[group, np.argsort(weight + rng.gumbel(size=n_experts))[-top_k:]] += 1
    return counts, tokens


def test_hand_counted():
    # Three times two documents, three experts, pairs. Even ones: 4 tokens with {0, 1}. Odd ones: 6 tokens with {0, 2}.
    # Loads 30/30, 12/30, 18/30; shares of the 60 slots .5, .2, .3; mean load 2/3.
    result = load_balance([[4, 4, 0], [6, 0, 6]] * 3, [4, 6] * 3, 2)
    np.testing.assert_allclose(result.load, [1.0, 0.4, 0.6])
    np.testing.assert_allclose(result.share, [0.5, 0.2, 0.3])
    assert result.entropy_bits == pytest.approx(0.5 + 0.2 * np.log2(5) + 0.3 * np.log2(10 / 3))
    # |1−.4| + |1−.6| + |.4−.6| = 1.2, each counted twice: 2.4 / (2 · 9 · 2/3) = 0.2
    assert result.load_gini == pytest.approx(0.2)
    assert result.load_max_over_mean == pytest.approx(1.5)
    # deviations 1/3, −4/15, −1/15: mean square (25 + 16 + 1)/225/3 = 14/225
    assert result.coefficient_of_variation == pytest.approx(np.sqrt(14 / 225) * 1.5)
    assert (result.dead_experts, result.n_tokens, result.n_groups, result.top_k) == ((), 30, 6, 2)
    assert result.reason is None


def test_hand_counted_interval():
    # One expert of two, twice groups of 10 tokens with 0, 1 and 2 uses of expert 0: load .1, scores −1, 0, 1.
    # Variance 6/5 · 4 / 60² = 4.8/3600; t(5) at .975 = 2.570582. One standard error is .0365.
    counts = np.array([[0, 10], [1, 9], [2, 8]] * 2)
    result = load_balance(counts, [10] * 6, 1)
    half = 2.570582 * np.sqrt(4.8 / 3600)
    np.testing.assert_allclose(result.load_low, [0.1 - half, 0.9 - half], atol=1e-6)
    np.testing.assert_allclose(result.load_high, [0.1 + half, 0.9 + half], atol=1e-6)
    # Limits stay shares: with 0, 0 and 3 uses they would be .1 ± .21.
    assert load_balance([[0, 10], [0, 10], [3, 7]] * 2, [10] * 6, 1).load_low[0] == 0.0


def test_interval_is_that_of_the_mean_for_equal_groups():
    # With groups of one size the ratio estimate is the mean of the groups' shares.
    rng = np.random.default_rng(5)
    uses = rng.integers(30, 60, size=12)
    result = load_balance(np.column_stack([uses, 100 - uses]), np.full(12, 100), 1)
    error = stats.sem(uses / 100)
    low, high = stats.t.interval(0.95, 11, loc=uses.mean() / 100, scale=error)
    assert result.load_low[0] == pytest.approx(low)
    assert result.load_high[0] == pytest.approx(high)


def test_empty_groups_are_no_evidence():
    counts, tokens = np.array([[3, 1], [2, 4]] * 3), np.array([4, 6] * 3)
    padded = load_balance(np.vstack([counts, np.zeros((9, 2), int)]), np.append(tokens, np.zeros(9, int)), 1)
    alone = load_balance(counts, tokens, 1)
    assert padded.n_groups == alone.n_groups == 6
    np.testing.assert_array_equal(padded.load_high, alone.load_high)


def test_dead_and_saturated_experts_have_no_interval():
    result = load_balance([[5, 5, 0], [3, 3, 0]] * 3, [5, 3] * 3, 2)
    assert result.dead_experts == (2,)
    np.testing.assert_array_equal(result.load, [1, 1, 0])
    assert np.isnan(result.load_low).all()
    assert np.isnan(result.load_high).all()
    assert result.entropy_bits == 1.0


def test_one_group_has_loads_but_no_interval():
    result = load_balance([[3, 1]], [4], 1)
    np.testing.assert_allclose(result.load, [0.75, 0.25])
    assert np.isnan(result.load_low).all()
    assert result.reason == "1 independent unit: no test or interval below 6"


@pytest.mark.parametrize("n_groups", [0, 3])
def test_no_tokens(n_groups):
    result = load_balance(np.zeros((n_groups, 4), int), np.zeros(n_groups, int), 2)
    assert result.reason == "no tokens were counted"
    assert result.dead_experts == ()
    for figure in (result.load, result.load_low, result.entropy_bits, result.load_gini):
        assert np.isnan(figure).all()


@pytest.mark.parametrize(("n_experts", "top_k"), [(1, 1), (8, 2), (64, 6)])
def test_even_and_extreme_loads(n_experts, top_k):
    even = load_balance(np.full((2, n_experts), top_k), np.full(2, n_experts), top_k)
    assert even.entropy_bits == pytest.approx(np.log2(n_experts))
    assert even.load_gini == pytest.approx(0)
    assert even.load_max_over_mean == pytest.approx(1)
    one = load_balance(np.eye(n_experts, dtype=int)[[0, 0]] * 7, [7, 7], 1)
    assert one.load_gini == pytest.approx(1 - 1 / n_experts)
    assert one.entropy_bits == 0
    assert one.load_max_over_mean == pytest.approx(n_experts)


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 6), st.data())
def test_properties(seed, n_groups, n_experts, data):
    top_k = data.draw(st.integers(1, n_experts))
    rng = np.random.default_rng(seed)
    counts, tokens = random_counts(rng, n_groups, n_experts, top_k)
    result = load_balance(counts, tokens, top_k)
    if tokens.sum() == 0:
        assert result.reason
        return
    assert result.load.sum() == pytest.approx(top_k)
    assert result.share.sum() == pytest.approx(1)
    assert result.load_gini == pytest.approx(gini(result.load))
    relabel = rng.permutation(n_experts)
    other = load_balance(counts[:, relabel], tokens, top_k)
    np.testing.assert_allclose(other.load, result.load[relabel])
    np.testing.assert_allclose(other.load_low, result.load_low[relabel])
    for name in ("entropy_bits", "load_gini", "load_max_over_mean", "coefficient_of_variation"):
        assert getattr(other, name) == pytest.approx(getattr(result, name))
    inside = ~np.isnan(result.load_low)
    assert (result.load_low <= result.load)[inside].all()
    assert (result.load <= result.load_high)[inside].all()


def test_interval_covers_on_dependent_documents_where_the_token_interval_does_not():
    rng = np.random.default_rng(11)
    truth, covered, covered_as_tokens, runs = 0.3, 0, 0, 600
    for _ in range(runs):
        tokens = 1 + rng.geometric(1 / 80, size=40)
        # Documents have their own load, independent of their length: Beta with mean .3.
        uses = rng.binomial(tokens, rng.beta(3, 7, size=40))
        result = load_balance(np.column_stack([uses, tokens - uses]), tokens, 1)
        covered += result.load_low[0] <= truth <= result.load_high[0]
        half = 1.96 * np.sqrt(result.load[0] * (1 - result.load[0]) / result.n_tokens)
        covered_as_tokens += abs(result.load[0] - truth) <= half
    # ± 3 binomial standard errors of .95 at 600 runs is .027; the ratio's own bias takes a little more.
    assert 0.915 <= covered / runs <= 0.98
    assert covered_as_tokens / runs < 0.6


def test_result_is_closed():
    result = load_balance([[3, 1]], [4], 1)
    with pytest.raises(ValueError, match="read-only"):
        result.load[0] = 0
    with pytest.raises(AttributeError):
        result.n_tokens = 3


@pytest.mark.parametrize(
    ("counts", "tokens", "top_k", "message"),
    [
        ([[1, 1]], [1, 1], 2, "same groups"),
        ([[1.5, 0.5]], [1], 2, "whole"),
        ([[-1, 3]], [1], 2, "counts"),
        ([[np.nan, 1]], [1], 1, "finite"),
        ([1, 1], [1], 2, "axes"),
        ([[1, 1]], [1], 3, "top_k"),
        ([[1, 1]], [1], 0, "top_k"),
        ([[1, 1]], [1], 1.0, "top_k"),
        ([[1, 1]], [2], 2, "must use 2 experts"),
        ([[3, 1]], [2], 2, "at most once"),
    ],
)
def test_bad_input(counts, tokens, top_k, message):
    with pytest.raises(RoutestatError, match=message) as caught:
        load_balance(counts, tokens, top_k)
    assert "\n" not in str(caught.value)


def test_narrow_integers_do_not_overflow():
    result = load_balance(np.array([[100, 100], [100, 100]], np.int8), np.array([100, 100], np.int8), 2)
    np.testing.assert_array_equal(result.load, [1, 1])
