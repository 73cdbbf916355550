"""Estimates of replays: sums counted by hand, and what is undefined."""

import math

import numpy as np
import pytest

from routestat.inference.base.estimate import ratio
from routestat.serving.cache_estimates import share_of_units, simulated_cache
from routestat.serving.replay_sums import COLUMNS, ReplaySums
from routestat.serving.settings import CacheSetting, Hardware
from tests.serving.served_steps import random_choices, steps_of, trace_of

UNITS, LAYERS = 7, 2
MACHINE = Hardware(expert_bytes=100.0, bandwidth=1e3)


def limits(found):
    assert not math.isnan(found.low)
    return found.value, found.low, found.high


@pytest.fixture(scope="module")
def steps():
    phase = (["prefill"] * 3 + ["decode"] * 7) * UNITS
    return steps_of(trace_of([10] * UNITS, random_choices(10 * UNITS, n_layers=LAYERS), phase=phase))


@pytest.fixture(scope="module")
def sums():
    rng = np.random.default_rng(0)
    hits, early, misses = rng.integers(1, 9, (3, UNITS, 2, LAYERS))
    prefetched = early + rng.integers(0, 5, early.shape)
    accesses = hits + early + misses
    columns = dict(
        logical=accesses + 1, accesses=accesses, hits=hits, prefetched_hits=early, misses=misses,
        prefetched=prefetched, events=np.full(hits.shape, 4), stall=misses * 0.1,
    )  # fmt: skip
    return ReplaySums(np.stack([columns[name] for name in COLUMNS], axis=-1).astype(float))


@pytest.mark.parametrize(("phase", "at"), [("all", [0, 1]), ("prefill", [0]), ("decode", [1])])
def test_ratios_are_over_units(steps, sums, phase, at):
    one = {name: sums.sums[..., place][:, at].sum(axis=(1, 2)) for place, name in enumerate(COLUMNS)}
    tokens = steps.tokens[:, at].sum(axis=1)
    assert tokens.sum() == UNITS * {"all": 10, "prefill": 3, "decode": 7}[phase]
    setting = CacheSetting("lru", capacity=3, lookahead=1, candidates=2, predictor="gate")
    found = simulated_cache(sums, steps, setting, MACHINE, phase)
    loads = one["misses"] + one["prefetched"]
    assert limits(found.hit_rate) == limits(ratio(one["hits"], one["accesses"]))
    assert limits(found.served_rate) == limits(ratio(one["hits"] + one["prefetched_hits"], one["accesses"]))
    assert limits(found.miss_share) == limits(ratio(loads, one["logical"]))
    assert limits(found.precision) == limits(ratio(one["prefetched_hits"], one["prefetched"]))
    assert limits(found.recall) == limits(
        ratio(one["prefetched_hits"], one["prefetched_hits"] + one["misses"])
    )
    assert limits(found.union_to_capacity) == limits(ratio(one["accesses"], 3 * one["events"]))
    assert found.loads_per_token.value == pytest.approx(loads.sum() / tokens.sum())
    assert found.stall_per_token.value == pytest.approx(one["stall"].sum() / tokens.sum())
    assert found.loads == loads.sum()
    assert found.tokens == tokens.sum()
    assert found.bytes == pytest.approx(100 * loads.sum())
    assert found.bytes_demanded == pytest.approx(100 * one["misses"].sum())
    assert found.bytes_wasted == pytest.approx(100 * (one["prefetched"] - one["prefetched_hits"]).sum())
    assert found.stall_seconds == pytest.approx(one["stall"].sum())


def test_what_is_unknown_has_a_reason(steps, sums):
    found = simulated_cache(sums, steps, CacheSetting("none"), Hardware())
    assert "--expert-bytes" in found.stall_per_token.reason
    assert math.isnan(found.bytes)
    assert math.isnan(found.stall_seconds)
    assert math.isnan(found.stall_per_token.value)
    assert found.precision.reason == found.recall.reason == "nothing is prefetched"
    assert found.union_to_capacity.reason == "there is no cache"


def test_a_simulation_that_could_not_be_made_keeps_what_is_measured(steps, sums):
    found = simulated_cache(sums, steps, CacheSetting("static", capacity=2), MACHINE, reason="no documents")
    assert found.accesses == sums.column("accesses").sum()
    assert found.logical_accesses > 0
    assert found.hits == found.misses == found.loads == 0
    assert math.isnan(found.hit_rate.value)
    assert found.hit_rate.reason == "no documents"
    assert math.isnan(found.bytes)
    assert math.isnan(found.stall_seconds)
    assert found.union_to_capacity.value > 0


def test_units_that_all_agree_have_no_interval():
    found = share_of_units(np.full(9, 6.0), np.full(9, 3.0))
    assert found.value == 2
    assert math.isnan(found.low)
    assert "the same value" in found.reason


def test_a_share_has_no_limits_beyond_what_is_possible():
    top, bottom = np.array([1, 9, 10, 10, 10, 10, 10, 10]), np.full(8, 10)
    plain, found = ratio(top, bottom), share_of_units(top, bottom)
    assert plain.high > 1.0
    assert (found.value, found.low, found.high) == (plain.value, plain.low, 1.0)
    assert share_of_units(top, bottom, bounded=False).high == plain.high
    # Nothing is counted less often than never.
    few = share_of_units(bottom - top, bottom)
    assert few.low == 0.0 > ratio(bottom - top, bottom).low
