"""Routes planted in a chain follow their stated distribution."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.traces import synthetic
from tests.traces.agreement import FIVE, SIGMAS, close_to, fits, rng, table


def test_the_layers_and_pairs_of_layers_have_their_distributions():
    trace = synthetic.planted_routes(weight=0.4, n_routes=3, length=3, rng=rng(3), **FIVE)
    truth = trace.truth
    share, first, steps = (truth.planted[name] for name in ("share", "first", "steps"))
    assert share.sum() == pytest.approx(1)
    for layer in range(len(trace.layers)):
        assert fits(np.bincount(trace.states[:, layer], minlength=len(first[0])), truth.marginals[layer])
    joint = sum(one * own[:, None] * step for one, own, step in zip(share, first, steps[:, 0], strict=True))
    assert fits(table(trace, 0, 1), joint)
    assert (truth.cmi_bits >= 0).all()


def test_tokens_of_a_route_take_it():
    trace = synthetic.planted_routes(weight=0.5, n_routes=2, length=3, rng=rng(4), **FIVE)
    planted = trace.truth.planted
    for route, (start, choices) in enumerate(zip(planted["start"], planted["routes"], strict=True)):
        own = planted["follows"] == route
        assert close_to(own.mean(), 0.25, np.sqrt(0.25 * 0.75), len(own))
        assert (trace.states[own, start : start + 3] == choices).all()


def test_the_probability_of_windows_is_exact():
    trace = synthetic.planted_routes(weight=0.3, n_routes=2, length=4, coupling=0.8, rng=rng(5), **FIVE)
    start = np.array([*trace.truth.planted["start"], 0, 1, 2])
    choices = np.full((5, 6), -1)
    choices[:2, :4] = trace.truth.planted["routes"]
    choices[2, :3], choices[3, :3], choices[4, :2] = (0, 1, 2), (1, 1, 0), (2, 2)
    exact, expected = synthetic.window_probability(trace.truth, start, choices)
    n = len(trace.states)
    for at, (begin, word, p) in enumerate(zip(start, choices, exact, strict=True)):
        word = word[word >= 0]
        share = (trace.states[:, begin : begin + len(word)] == word).all(axis=1).mean()
        assert abs(share - p) < SIGMAS * np.sqrt(p * (1 - p) / n), at
    # Two layers are always a chain, and a route is more probable than its steps.
    assert exact[4] == pytest.approx(expected[4])
    assert (exact[:2] > 1.2 * expected[:2]).all()


def test_without_weight_it_is_a_chain():
    trace = synthetic.planted_routes(weight=0.0, n_routes=2, length=3, coupling=0.8, rng=rng(6), **FIVE)
    start, choices = np.zeros(4, int), np.array([[0, 1, 2], [1, 1, 1], [2, 0, 1], [0, 0, 0]])
    exact, expected = synthetic.window_probability(trace.truth, start, choices)
    np.testing.assert_allclose(exact, expected)
    np.testing.assert_allclose(trace.truth.cmi_bits, 0, atol=1e-12)


@pytest.mark.parametrize("wrong", [{"length": 1}, {"length": 9}, {"n_routes": 0}])
def test_impossible_routes_are_refused(wrong):
    with pytest.raises(RoutestatError, match="expected one route or more"):
        synthetic.planted_routes(weight=0.1, rng=rng(), **({"length": 3} | wrong), **FIVE)
