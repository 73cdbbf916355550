"""Information between three layers: signs, definitions, and intervals."""

import numpy as np
import pytest

from routestat.counting.three_layers import count_three_layers
from routestat.inference.information.mutual_information import mutual_information_interval
from routestat.inference.information.stratified import conditional_information_interval
from routestat.inference.information.three_layers import three_layer_information
from tests.counting.three_layer_traces import random_sample, sample_of, tokens_of
from tests.oracle import triples_oracle as oracle


def information_of(sample, states="subset"):
    layers = count_three_layers(sample, sample.routers, states)
    return layers, three_layer_information(layers)


def alike(states):
    """Ten documents of the same tokens in another order each."""
    rows = np.array(states * 10)
    orders = [np.random.default_rng(seed).permutation(len(rows)) for seed in range(10)]
    return sample_of(np.concatenate([rows[order] for order in orders]), [len(rows)] * 10, 2, 1)


def test_an_exclusive_or_has_one_bit_of_synergy():
    _, found = information_of(alike([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]))
    assert found.first_last.plugin == pytest.approx(0.0, abs=1e-12)
    assert found.given_middle.plugin == pytest.approx(1.0)
    assert found.interaction.plugin == pytest.approx(-1.0)
    assert found.interaction.value == pytest.approx(-1.0)
    assert found.total_correlation.plugin == pytest.approx(1.0)


def test_three_copies_are_one_bit_of_redundancy():
    _, found = information_of(alike([[0, 0, 0], [1, 1, 1]]))
    assert found.given_middle.plugin == pytest.approx(0.0, abs=1e-12)
    assert found.interaction.plugin == pytest.approx(1.0)
    assert found.total_correlation.plugin == pytest.approx(2.0)


def test_plugins_by_their_definition():
    sample = random_sample(7, np.random.default_rng(1).integers(10, 90, 14), missing=0.1)
    layers, found = information_of(sample)
    own = (
        found.first_middle,
        found.middle_last,
        found.first_last,
        found.given_middle,
        found.interaction,
        found.total_correlation,
    )
    np.testing.assert_allclose(
        [one.plugin for one in own], oracle.information_bits(tokens_of(sample, "subset")), rtol=1e-10
    )
    # Jackknife estimates of sums are sums of jackknife estimates.
    assert found.interaction.value == pytest.approx(found.first_last.value - found.given_middle.value)
    parts = found.first_middle.value + found.middle_last.value + found.given_middle.value
    assert found.total_correlation.value == pytest.approx(parts)
    direct = conditional_information_interval(layers.strata)
    assert found.given_middle.value == pytest.approx(direct.mi_bits)
    assert found.given_middle.standard_error == pytest.approx(direct.standard_error)
    pooled = mutual_information_interval(layers.strata.pooled())
    assert found.first_last.value == pytest.approx(pooled.mi_bits)


def test_the_interval_of_the_interaction_covers():
    """First and last layer follow the middle one in a share of tokens of each document's own."""
    rng = np.random.default_rng(3)

    def drawn(documents):
        n = 40 * documents
        strength = np.repeat(rng.uniform(0.2, 0.8, documents), 40)
        y = rng.integers(0, 3, n)
        x, z = (np.where(rng.random(n) < strength, y, rng.integers(0, 3, n)) for _ in range(2))
        return information_of(sample_of(np.stack([x, y, z], axis=1), [40] * documents, 3, 1, 4096))[
            1
        ].interaction

    truth = drawn(4000).value
    found = [drawn(60) for _ in range(60)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.87 <= covered <= 1.0


def test_what_is_not_estimated_says_why():
    sample = random_sample(8, [30] * 8)
    _, wide = information_of(sample, "expert")
    assert np.isnan(wide.interaction.value)
    assert "expert view" in wide.interaction.reason
    _, none = information_of(random_sample(8, [30] * 8, missing=1.0))
    assert np.isnan(none.interaction.value)
    assert "no token" in none.interaction.reason
    _, few = information_of(random_sample(8, [30] * 3))
    assert np.isfinite(few.interaction.plugin)
    assert np.isnan(few.interaction.low)
    assert "3 independent units" in few.interaction.reason
