"""The link between predictions and log weights: its order, its derivative, and its fit to known distributions."""

import numpy as np
import pytest

from routestat.counting.kernels.one_hot import add_weights, interpolate
from routestat.forecast import ridge_link
from routestat.forecast.ridge_link import Link, fit_links, plain_link
from tests.oracle.ridge_oracle import log_weight


@pytest.mark.parametrize("top_k", [1, 2, 8])
def test_log_weights_increase_with_the_prediction_and_are_the_formula(top_k):
    link = Link(1.7, 0.08, top_k)
    knots, at = link.knots(), link.low + link.step * np.arange(len(link.knots()))
    assert (np.diff(knots) > 0).all()
    for place in (0, 1000, 1638, 1800, 2457, 4096):
        assert knots[place] == pytest.approx(log_weight(at[place], 1.7, 0.08, top_k), rel=1e-9)


def test_between_knots_and_beyond_them_log_weights_are_linear():
    knots = np.array([0.0, 1.0, 3.0])
    out = np.empty((1, 4))
    interpolate(np.array([[9, -1.0, 0.5, 1.25, 4.0]], np.float32), 1, 0.0, 1.0, knots, out)
    np.testing.assert_allclose(out, [[-1.0, 0.5, 1.5, 7.0]])


def test_weights_of_a_blocks_features_are_added_up():
    weights = np.arange(12, dtype=np.float32).reshape(6, 2)
    members = np.array([[0, 1, 2], [-1, -1, -1], [2, 3, 1]], np.int16)
    out = np.ones((2, 2), np.float32)
    add_weights(members, 1, 3, weights, 2, out)
    np.testing.assert_array_equal(out, [[1, 1], 1 + weights[4] + weights[5] + weights[3]])
    single = np.zeros((3, 2), np.float32)
    add_weights(members[:, :1].copy(), 0, 3, weights, 0, single)
    np.testing.assert_array_equal(single, [weights[0], [0, 0], weights[2]])


def test_the_derivative_is_that_of_the_log_weights():
    x = np.linspace(-1.5, 2.0, 30)[None]
    for softness, top_k in ((0.05, 2), (0.3, 6), (0.4, 1)):
        step = 1e-5
        up, down = (ridge_link._odds(x, softness * np.exp(s), top_k) for s in (step, -step))
        np.testing.assert_allclose(ridge_link._slope(x, softness, top_k), (up - down) / (2 * step), atol=1e-6)


def test_the_fit_finds_the_link_that_choices_were_drawn_by():
    rng = np.random.default_rng(0)
    truth, n, experts, top_k = Link(2.2, 0.1, 3), 20_000, 12, 3
    predicted = rng.normal(0.25, 0.25, (n, experts))
    weights = np.vectorize(lambda p: log_weight(p, truth.power, truth.softness, top_k))(predicted)
    chosen = conditional_bernoulli(weights, top_k, rng)
    fold = np.repeat([0, 2], n // 2)
    found = fit_links(predicted, chosen, fold, 3)
    assert found[1] == plain_link(experts, top_k)
    for link in (found[0], found[2]):
        assert link.power == pytest.approx(truth.power, rel=0.08)
        assert link.softness == pytest.approx(truth.softness, rel=0.12)
    # A fold is fitted by its own rows alone.
    alone = fit_links(predicted[n // 2 :], chosen[n // 2 :], fold[n // 2 :], 3)
    assert alone[2].power == pytest.approx(found[2].power, rel=1e-6)


def conditional_bernoulli(log_weights, top_k, rng):
    """Draw k experts of each row, one after the other, by the exact probabilities of inclusion of the rest."""
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    n, experts = weights.shape
    # tail[:, j, m]: sums of products of m of the weights from j on.
    tail = np.zeros((n, experts + 1, top_k + 1))
    tail[:, experts, 0] = 1.0
    for j in range(experts - 1, -1, -1):
        tail[:, j] = tail[:, j + 1]
        tail[:, j, 1:] += weights[:, j, None] * tail[:, j + 1, :-1]
    left, chosen = np.full(n, top_k), np.zeros((n, experts), bool)
    for j in range(experts):
        with_it = weights[:, j] * tail[np.arange(n), j + 1, np.maximum(left - 1, 0)]
        take = (left > 0) & (rng.random(n) * tail[np.arange(n), j, left] < with_it)
        chosen[:, j], left = take, left - take
    return np.nonzero(chosen)[1].reshape(n, top_k)


def test_predictions_that_say_nothing_get_a_small_power():
    rng = np.random.default_rng(1)
    predicted = rng.uniform(0.0, 0.5, (4000, 8))
    chosen = np.argsort(rng.random((4000, 8)), axis=1)[:, :2]
    link = fit_links(predicted, chosen, np.zeros(4000, int), 1)[0]
    assert 0 < link.power < 0.12
