"""The keeper: which experts come first, and with which probability."""

import numpy as np
import pytest

from routestat.forecast.prediction_keeper import PredictionKeeper
from routestat.inference.conditional_bernoulli.distribution import inclusion_probabilities
from tests.forecast.gate_traces import routers


@pytest.mark.parametrize("link", ["rank", "inclusion", "log-weight"])
@pytest.mark.parametrize(("n_experts", "top_k", "places"), [(7, 3, 4), (8, 1, 8), (70, 6, 9), (4, 4, 2)])
def test_the_keeper_against_sorting(link, n_experts, top_k, places):
    rng = np.random.default_rng(n_experts)
    scores = rng.normal(size=(130, n_experts)) * np.array([1.0, 30.0])[np.arange(130) % 2, None]
    # Many are tied.
    scores = np.round(scores, 0)
    if link == "inclusion":
        scores = rng.integers(0, 9, scores.shape) / 8
    target = routers((3,), n_experts, top_k)[0]
    keeper = PredictionKeeper([("a", 1)], [target], 200, places)
    rows = rng.permutation(200)[:150]
    place = rng.integers(0, 130, 150)
    keeper.add("a", 1, target, rows, scores, link, place=place)
    keeper.add("b", 1, target, rows, scores, link, place=place)
    assert list(keeper.found) == [("a", 1)]
    found = keeper.found["a", 1]
    first = np.argsort(-scores, axis=1, kind="stable")[:, :places]
    chance = {
        "rank": np.broadcast_to(1 / np.arange(1, n_experts + 1), scores.shape),
        "inclusion": np.take_along_axis(scores, np.argsort(-scores, axis=1, kind="stable"), 1),
        "log-weight": -np.sort(-inclusion_probabilities(scores, top_k), axis=1),
    }[link][:, :places]
    np.testing.assert_array_equal(found.experts[rows, 0], first[place])
    np.testing.assert_allclose(found.chance[rows, 0].astype(float), chance[place], rtol=2e-3, atol=1e-7)
    others = np.setdiff1d(np.arange(200), rows)
    assert (found.experts[others] == -1).all()
    assert (found.chance[others] == 0).all()


def test_a_given_order_comes_before_the_scores():
    target = routers((0,), 3, 1)[0]
    keeper = PredictionKeeper([("a", 0)], [target], 1, 3)
    scores, order = np.log([[0.2, 0.5, 0.3]]), np.array([[1.0, 0.0, 1.0]])
    keeper.add("a", 0, target, np.array([0]), scores, "log-weight", order=order)
    assert keeper.found["a", 0].experts[0, 0].tolist() == [0, 2, 1]
    np.testing.assert_allclose(keeper.found["a", 0].chance[0, 0].astype(float), [0.2, 0.3, 0.5], rtol=1e-3)
