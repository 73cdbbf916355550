"""The imbalance of devices: counted by hand, against slow code, and its properties."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from routestat.inference.base.estimate import effective_dof
from routestat.serving.placement.imbalance_estimate import N_SPLITS, MeanImbalance, imbalance_of_units


def random_loads(n_units=9, n_layers=3, n_devices=4, seed=0):
    return np.random.default_rng(seed).gamma(2.0, 10.0, (n_units, n_layers, n_devices))


def slow_values(loads):
    """Largest and chosen load over the mean, and the scores, one layer and one split after the other."""
    n_units, n_layers, n_devices = loads.shape
    largest, chosen, scores = [], [], np.zeros(n_units)
    for layer in range(n_layers):
        own = loads[:, layer].tolist()
        total = [sum(unit[d] for unit in own) for d in range(n_devices)]
        mean = sum(total) / n_devices
        best = max(range(n_devices), key=lambda d: total[d])
        largest.append(total[best] / mean)
        for u, unit in enumerate(own):
            scores[u] += (unit[best] - largest[-1] * sum(unit) / n_devices) / mean / n_layers
        for split in range(N_SPLITS):
            half = [bin(u & (2 * split + 1)).count("1") % 2 for u in range(n_units)]
            load = 0.0
            for side in (0, 1):
                other = [sum(own[u][d] for u in range(n_units) if half[u] != side) for d in range(n_devices)]
                device = max(range(n_devices), key=lambda d: other[d])
                load += sum(own[u][device] for u in range(n_units) if half[u] == side)
            chosen.append(load / mean)
    return np.mean(largest), np.mean(chosen), scores


def test_two_units_by_hand():
    # Unit 0 has its load on device 0, unit 1 on device 1; each half chooses the other's empty device.
    found = imbalance_of_units(np.array([[[6.0, 0.0]], [[0.0, 2.0]]]))
    assert found.largest == 6 / 4
    assert found.chosen == 0
    assert found.scores == pytest.approx([(6 - 1.5 * 3) / 4, (0 - 1.5 * 1) / 4])


@pytest.mark.parametrize("seed", range(4))
def test_values_are_those_of_slow_code(seed):
    loads = random_loads(n_units=6 + 3 * seed, seed=seed)
    found = imbalance_of_units(loads)
    largest, chosen, scores = slow_values(loads)
    assert (found.largest, found.chosen) == pytest.approx((largest, chosen))
    assert found.scores == pytest.approx(scores)
    assert found.scores.sum() == pytest.approx(0)


def test_the_estimate_is_between_both_values_and_its_interval_allows_for_both():
    loads = random_loads()
    found, size = imbalance_of_units(loads), loads.sum(axis=(1, 2))
    estimate = found.estimate(size)
    assert estimate.value == pytest.approx((found.largest + found.chosen) / 2)
    assert estimate.plugin == found.largest
    assert estimate.standard_error == pytest.approx(np.sqrt(9 / 8 * (found.scores**2).sum()))
    # A value at either end is below one limit and above the other with 95 %.
    student = stats.t(effective_dof(size))
    below = (estimate.high - found.largest) / estimate.standard_error
    above = (estimate.high - found.chosen) / estimate.standard_error
    assert student.cdf(above) - student.cdf(-below) == pytest.approx(0.95)
    assert estimate.high - estimate.value == pytest.approx(estimate.value - estimate.low)


@pytest.mark.parametrize(("difference", "probability"), [(0.0, 0.975), (50.0, 0.95)])
def test_the_quantile_is_two_sided_for_one_value_and_one_sided_for_two(difference, probability):
    size, scores = np.full(20, 7), np.tile([0.01, -0.01], 10)
    estimate = MeanImbalance(2.0 + difference, 2.0, scores).estimate(size)
    reach = estimate.high - (2.0 + difference)
    assert reach / estimate.standard_error == pytest.approx(stats.t(19).ppf(probability))


def test_devices_that_are_always_the_busiest_leave_nothing_to_choose():
    loads = random_loads()
    loads[..., 2] += 100
    found = imbalance_of_units(loads)
    assert found.chosen == pytest.approx(found.largest)


def test_no_device_is_busier_than_the_busiest():
    for seed, n_devices in product(range(5), (1, 2, 8)):
        found = imbalance_of_units(random_loads(n_devices=n_devices, seed=seed))
        assert found.chosen <= found.largest + 1e-12
        assert found.largest >= 1


def test_names_of_devices_and_the_scale_change_nothing():
    loads = random_loads()
    found, other = imbalance_of_units(loads), imbalance_of_units(loads[..., [2, 0, 3, 1]] * 7)
    assert (other.largest, other.chosen) == pytest.approx((found.largest, found.chosen))


def test_a_difference_has_the_error_of_paired_units():
    loads = random_loads()
    one, other = imbalance_of_units(loads), imbalance_of_units(loads[..., ::-1])
    difference = (one - other).estimate(loads.sum(axis=(1, 2)))
    assert difference.value == pytest.approx(0)
    assert difference.standard_error == pytest.approx(0, abs=1e-12)


def test_a_layer_without_load_is_left_out():
    loads = random_loads()
    more = np.concatenate([loads, np.zeros((9, 1, 4))], axis=1)
    assert imbalance_of_units(more).largest == imbalance_of_units(loads).largest
    assert np.isnan(imbalance_of_units(np.zeros((9, 2, 4))).largest)


def test_limits_are_possible_and_few_units_have_none():
    loads = random_loads()
    size = loads.sum(axis=(1, 2))
    assert imbalance_of_units(loads).estimate(size).low < 1
    assert imbalance_of_units(loads).estimate(size, least=1.0).low == 1
    few = imbalance_of_units(loads[:5]).estimate(size[:5])
    assert few.value == imbalance_of_units(loads[:5]).largest
    assert np.isnan(few.low)
    assert "5 independent units" in few.reason
