"""Centrality of flow against every route."""

import numpy as np
import pytest

from routestat.structure.graph_centrality import flow_centrality
from tests.oracle.graph_oracle import flow_shares


@pytest.mark.parametrize("seed", range(5))
def test_every_route_is_counted(seed):
    rng = np.random.default_rng(seed)
    steps = [rng.dirichlet(np.ones(b), a) * (rng.random((a, b)) < 0.7) for a, b in ((3, 4), (4, 2), (2, 3))]
    initial = rng.dirichlet(np.ones(3))
    shares, flow = flow_shares(initial.tolist(), [step.tolist() for step in steps])
    found = flow_centrality(initial, steps)
    assert found.flow == pytest.approx(flow)
    for one, expected in zip(found.shares, shares, strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-12)


def test_with_all_steps_it_is_the_probability_of_the_state():
    rng = np.random.default_rng(0)
    step = rng.dirichlet(np.ones(4), 4)
    initial = rng.dirichlet(np.ones(4))
    found = flow_centrality(initial, [step, step])
    np.testing.assert_allclose(found.shares[2], initial @ step @ step)
    assert found.flow == pytest.approx(1.0)


def test_hundreds_of_layers_do_not_vanish():
    step = np.full((2, 2), 1e-9)
    found = flow_centrality(np.array([0.5, 0.5]), [step] * 300)
    np.testing.assert_allclose(found.shares[150], [0.5, 0.5])
    assert found.flow == 0.0


def test_disconnected_layers_and_one_layer_say_why():
    found = flow_centrality(
        np.array([1.0, 0.0]), [np.array([[1.0, 0], [0, 0]]), np.array([[0, 0], [0, 1.0]])]
    )
    assert "no route" in found.reason
    assert found.flow == 0.0
    assert np.isnan(found.shares[1]).all()
    alone = flow_centrality(np.array([1.0]), [])
    assert "one layer" in alone.reason
    assert len(alone.shares) == 1
