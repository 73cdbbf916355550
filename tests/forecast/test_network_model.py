"""The network's loss against the slow way, and what its outputs depend on."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")

from routestat.forecast.network_model import Batch, Network, Shape, log_weights, slope, train

SHAPE = Shape(features=20, experts=(5, 5, 4), top_k=(2, 2, 1), width=8)


def batch(rng, rows=6, start=None):
    head = rng.integers(0, 5, (rows, 3)).astype(np.int32)
    layers = (5 + 5 * np.arange(3)[:, None] + rng.integers(0, 5, (rows, 3, 2))).astype(np.int32)
    given = rng.normal(size=(rows, 3, 5)) if start is None else start
    chosen = np.full((rows, 3, 2), -1, np.int16)
    for target, (experts, top_k) in enumerate(zip(SHAPE.experts, SHAPE.top_k, strict=True)):
        chosen[:, target, :top_k] = rng.random((rows, experts)).argsort(axis=1)[:, :top_k]
    return Batch(head, layers, given, chosen)


def slow_loss(found, chosen):
    """Mean over tokens of the sum over targets of −log P(set), by listing all sets."""
    loss = 0.0
    for target, (experts, top_k) in enumerate(zip(SHAPE.experts, SHAPE.top_k, strict=True)):
        for row in range(found.shape[1]):
            own = chosen[row, target, :top_k]
            if own[0] < 0:
                continue
            sets = itertools.combinations(range(experts), top_k)
            weights = [found[target, row, list(one)].sum() for one in sets]
            loss -= found[target, row, own].sum() - np.logaddexp.reduce(weights)
    return loss / found.shape[1]


def test_the_slope_is_that_of_the_exact_loss():
    rng = np.random.default_rng(0)
    tokens = batch(rng)
    tokens.chosen[2, 1] = -1
    found = rng.normal(size=(3, 6, 5))
    analytic = slope(found.astype(np.float32), tokens.chosen, SHAPE)
    for place in itertools.product(range(3), range(6), range(5)):
        step = np.zeros(found.shape)
        step[place] = 1e-5
        slow = (slow_loss(found + step, tokens.chosen) - slow_loss(found - step, tokens.chosen)) / 2e-5
        assert analytic[place] == pytest.approx(slow, abs=1e-6)
    assert not analytic[1, 2].any()
    assert not analytic[2, :, 4].any()


def disturbed(seed=0):
    """A network whose output depends on everything that it may see."""
    rng = np.random.default_rng(seed)
    network = Network(SHAPE, rng)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(torch.from_numpy(rng.normal(0, 0.3, value.shape).astype(np.float32)))
    return network


def test_at_first_it_returns_what_it_starts_from():
    tokens = batch(np.random.default_rng(1))
    found = log_weights(Network(SHAPE, np.random.default_rng(0)), tokens)
    np.testing.assert_allclose(found, tokens.start.transpose(1, 0, 2), atol=1e-6)


def test_outputs_depend_on_earlier_layers_and_the_head_only():
    network, tokens = disturbed(), batch(np.random.default_rng(2))
    before = log_weights(network, tokens)
    for layer in range(3):
        layers = tokens.layers.copy()
        layers[:, layer] = SHAPE.features
        after = log_weights(network, Batch(tokens.head, layers, tokens.start, tokens.chosen))
        # Target i is predicted from layers 0 … i.
        np.testing.assert_array_equal(after[:layer], before[:layer])
        assert (np.abs(after[layer:] - before[layer:]).max(axis=(1, 2)) > 1e-4).all()
    head = np.full_like(tokens.head, SHAPE.features)
    after = log_weights(network, Batch(head, tokens.layers, tokens.start, tokens.chosen))
    assert (np.abs(after - before).max(axis=(1, 2)) > 1e-4).all()


def test_a_missing_feature_adds_nothing_whatever_its_embedding():
    network, tokens = disturbed(), batch(np.random.default_rng(3))
    tokens.layers[:, 1] = SHAPE.features
    before = log_weights(network, tokens)
    with torch.no_grad():
        network.embedding[SHAPE.features] += 5.0
    np.testing.assert_array_equal(log_weights(network, tokens), before)


def test_the_best_epoch_is_kept():
    rng = np.random.default_rng(4)
    tokens, losses = batch(rng, 64), iter([3.0, 2.0, 1.0, 1.5, 1.2, 0.5])
    network, ticks, seen = Network(SHAPE, rng), [], []

    def judge():
        seen.append(log_weights(network, tokens))
        return next(losses)

    assert train(network, tokens, judge, 6, 2, rng, ticks.append) == 2
    assert ticks == [1, 2, 3, 4]
    np.testing.assert_array_equal(log_weights(network, tokens), seen[2])
    assert not np.array_equal(seen[2], seen[3])


def test_training_finds_what_the_choice_depends_on():
    rng = np.random.default_rng(5)
    tokens = batch(rng, 640, np.zeros((640, 3, 5)))
    # Every target's choice follows from the one feature of the head.
    tokens.head[:, 1:] = SHAPE.features
    for target, top_k in enumerate(SHAPE.top_k):
        tokens.chosen[:, target, :top_k] = (tokens.head[:, :1] + np.arange(top_k)) % 4
    network = Network(replace(SHAPE, width=24), rng)
    before = slow_loss(log_weights(network, tokens), tokens.chosen)
    train(network, tokens, iter(range(100, 0, -1)).__next__, 20, 20, rng, lambda done: None)
    assert slow_loss(log_weights(network, tokens), tokens.chosen) < 0.2 * before
