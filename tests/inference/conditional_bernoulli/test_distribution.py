"""k of E without replacement: every subset by hand, sums that must hold, sampling, the way back to the weights."""

from math import comb, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.errors import RoutestatError
from routestat.inference.conditional_bernoulli import distribution as cb
from routestat.traces.alphabet import Alphabet
from tests.oracle.coactivation_oracle import subset_distribution


def state_log_probabilities(log_weights, top_k):
    """Of every subset, in the order of `Alphabet`."""
    alphabet = Alphabet(len(log_weights), top_k)
    return cb.log_probability(alphabet.unrank(np.arange(alphabet.size)), log_weights, top_k)


distributions = st.integers(2, 8).flatmap(
    lambda n: st.tuples(st.lists(st.floats(-6, 6), min_size=n, max_size=n), st.integers(1, n))
)


def test_two_of_three_by_hand():
    # Weights 1, 2, 3: subsets weigh 2, 3, 6 of 11, and inclusion is 5/11, 8/11, 9/11.
    theta = np.log([1.0, 2.0, 3.0])
    np.testing.assert_allclose(np.exp(state_log_probabilities(theta, 2)), np.array([2, 3, 6]) / 11)
    np.testing.assert_allclose(cb.inclusion_probabilities(theta, 2), np.array([5, 8, 9]) / 11)
    assert float(cb.log_normaliser(theta, 2)) == pytest.approx(log(11))
    np.testing.assert_allclose(cb.pair_block(theta, 2), np.array([2, 3, 6]) / 11)


@given(distributions)
@settings(max_examples=150, deadline=None)
def test_against_every_subset(drawn):
    theta, k = np.array(drawn[0]), drawn[1]
    distribution, pairs = subset_distribution(theta, k)
    np.testing.assert_allclose(np.exp(state_log_probabilities(theta, k)), distribution, atol=1e-11)
    mine = cb.pair_probabilities(theta, k)
    np.testing.assert_allclose(mine, pairs, atol=1e-11)
    loads = np.diag(mine)
    np.testing.assert_allclose(mine.sum(axis=1) - loads, (k - 1) * loads, atol=1e-10)


@given(distributions)
@settings(max_examples=100, deadline=None)
def test_from_loads_to_weights_and_back(drawn):
    theta, k = np.array(drawn[0]), drawn[1]
    loads = cb.inclusion_probabilities(theta, k)
    np.testing.assert_allclose(
        cb.inclusion_probabilities(cb.fit_log_weights(loads, k), k), loads, rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize(("n", "k"), [(512, 16), (64, 6), (16, 14), (384, 8), (3, 2), (2, 1)])
def test_wide_and_uneven_loads_and_back(n, k):
    rng = np.random.default_rng(n)
    theta = rng.normal(0, [[0.3], [1.5], [3.0]], (3, n))
    loads = cb.inclusion_probabilities(theta, k)
    fitted = cb.fit_log_weights(loads, k)
    np.testing.assert_allclose(cb.inclusion_probabilities(fitted, k), loads, rtol=1e-10, atol=1e-13)
    # The weights themselves come back, up to the factor that the distribution does not know.
    centred = fitted - fitted.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(centred, theta - theta.mean(axis=1, keepdims=True), atol=1e-6)
    rows = cb.pair_block(fitted, k)[2]
    assert rows.sum() == pytest.approx(comb(k, 2), rel=1e-10)


def test_newton_alone_agrees_with_the_fixed_point():
    rng = np.random.default_rng(3)
    loads = cb.inclusion_probabilities(rng.normal(0, 2, 10), 4)
    fixed = cb.fit_log_weights(loads, 4)
    newton = cb._newton(loads, np.zeros(10), 4)
    np.testing.assert_allclose(cb.inclusion_probabilities(newton, 4), loads, rtol=1e-10)
    np.testing.assert_allclose(newton - newton.mean(), fixed - fixed.mean(), atol=1e-9)


def test_even_loads_in_closed_form():
    for n, k in [(8, 2), (64, 6), (512, 16)]:
        pairs = cb.pair_probabilities(cb.fit_log_weights(np.full(n, k / n), k), k)
        off = pairs[~np.eye(n, dtype=bool)]
        np.testing.assert_allclose(off, k * (k - 1) / (n * (n - 1)), rtol=1e-12)
        # Against p_i p_j the lift is not one but this.
        assert off[0] / (k / n) ** 2 == pytest.approx((k - 1) / k * n / (n - 1))


def test_experts_that_are_never_or_always_chosen():
    loads = np.array([0.0, 1.0, 0.5, 0.25, 0.25, 1.0])
    theta = cb.fit_log_weights(loads, 3)
    assert theta[0] == -np.inf
    assert theta[1] == theta[5] == np.inf
    pairs = cb.pair_probabilities(theta, 3)
    np.testing.assert_allclose(np.diag(pairs), loads, atol=1e-13)
    assert pairs[1, 5] == pytest.approx(1)
    assert pairs[2, 3] == pytest.approx(0, abs=1e-13)
    np.testing.assert_allclose(pairs[1], [0, 1, 0.5, 0.25, 0.25, 1], atol=1e-13)
    assert not pairs[0].any()
    distribution = np.exp(state_log_probabilities(theta, 3))
    assert distribution.sum() == pytest.approx(1)
    assert distribution[Alphabet(6, 3).rank([1, 2, 5])] == pytest.approx(0.5)


def test_all_or_one_of_the_experts():
    np.testing.assert_allclose(cb.pair_probabilities(np.zeros(3), 3), np.ones((3, 3)))
    np.testing.assert_allclose(cb.fit_log_weights(np.ones(3), 3), np.inf)
    assert float(cb.log_normaliser([0.5, 1.0, -0.25], 3)) == pytest.approx(1.25)
    one = cb.pair_probabilities(np.log([1.0, 3.0]), 1)
    np.testing.assert_allclose(one, np.diag([0.25, 0.75]), atol=1e-15)


@pytest.mark.parametrize(
    "call",
    [
        lambda: cb.fit_log_weights([0.5, 0.6], 1),
        lambda: cb.fit_log_weights([1.5, -0.5], 1),
        lambda: cb.fit_log_weights([np.nan, 1.0], 1),
        lambda: cb.pair_probabilities([np.nan, 0.0], 1),
        lambda: cb.inclusion_probabilities([-np.inf, 0.0, -np.inf], 2),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(RoutestatError):
        call()
