"""Which setting the words are about, and what is compared there."""

from dataclasses import replace

import pytest

from routestat.report.simulation_main import label, main_setting
from routestat.serving.settings import POLICIES, CacheSetting
from tests.report.simulation_cases import empty, one_document, simulation, with_phases


@pytest.mark.parametrize(
    ("capacities", "main"), [((2, 3, 4, 6, 8), 4), ((2, 3, 5, 8), 3), ((2, 3), 3), ((8,), 8), ((6, 8), 6)]
)
def test_the_main_capacity_is_nearest_to_half_of_the_experts(capacities, main):
    assert main_setting(simulation(capacities=capacities)).capacity == main


def test_policies_are_in_the_order_of_the_registry_and_each_is_there_once():
    main = main_setting(with_phases())
    assert [one.setting.policy for one in main.policies] == [policy.name for policy in POLICIES]
    assert {one.phase for one in (*main.policies, *main.prefetching, *main.perfect)} == {"all"}
    assert [one.setting.predictor for one in main.prefetching] == ["ridge-all"] * 2
    assert [one.setting.predictor for one in main.perfect] == ["perfect"] * 2
    assert main.gap.capacity == main.capacity


def test_a_pool_is_the_main_scope_only_without_caches_per_layer():
    assert main_setting(simulation(scopes=("pool", "layer"))).scope == "layer"
    assert main_setting(simulation(scopes=("pool",))).scope == "pool"
    assert main_setting(empty()) is None


def test_a_cold_start_is_preferred():
    found = simulation()
    warm = [replace(one, setting=replace(one.setting, start="warm")) for one in found.caches]
    assert main_setting(replace(found, caches=(*warm, *found.caches))).start == "cold"
    assert main_setting(replace(found, caches=tuple(warm))).start == "warm"


def test_the_best_policy_knows_nothing_of_the_future_and_predicts_nothing():
    main = main_setting(simulation())
    assert main.best.setting.policy == "lfu-decay"
    assert main.of("belady").loads < main.of("predictor").loads < main.best.loads


def test_what_could_not_be_simulated_is_not_compared():
    main = main_setting(one_document())
    assert main.of("static") is None
    assert any(one.setting.policy == "static" and one.reason for one in main.policies)


def test_the_best_prefetching_has_the_least_stall_or_else_the_highest_precision():
    main = main_setting(simulation())
    assert main.best_prefetching.stall_per_token.value == min(
        one.stall_per_token.value for one in main.prefetching
    )
    assert main.best_prefetching.setting.candidates == 4
    from_no_machine = main_setting(simulation(hardware=type(simulation().hardware)()))
    assert from_no_machine.best_prefetching.setting.candidates == 2
    without = main.without(main.best_prefetching)
    assert (without.setting.policy, without.setting.lookahead) == ("lru", 0)


def test_a_label_names_the_predictor():
    assert label(CacheSetting("lru")) == "LRU"
    assert label(CacheSetting("predictor", predictor="previous-token")) == "predictor (previous-token)"
