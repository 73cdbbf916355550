"""results.json of a simulation: its keys, its labels, and that nothing is null without a reason."""

import csv
import json
import math
from dataclasses import replace

import pytest

from routestat.report.records.plain import plain
from routestat.report.records.simulation import TABLES, ordered, results, write_results
from routestat.report.records.simulation_kinds import KINDS, MEANINGS
from routestat.serving.settings import Hardware
from tests.report.simulation_cases import (
    CAUTION,
    MACHINE,
    empty,
    one_document,
    simulation,
    with_model,
    with_phases,
)

# The keys that are promised, without those of intervals.
CONTRACT = {
    "policy", "scope", "capacity", "start", "phase", "predictor", "lookahead", "candidates", "batch", "tokens",
    "events", "logical_accesses", "accesses", "hits", "prefetched_hits", "misses", "hit_rate", "served_rate",
    "miss_share", "loads", "loads_per_token", "prefetched_loads", "wasted_loads", "precision_non_resident",
    "recall_non_resident", "union_to_capacity", "bytes", "bytes_demanded", "bytes_wasted", "bytes_per_token",
    "stall_seconds", "stall_seconds_per_token",
}  # fmt: skip
WITH_INTERVAL = {
    "hit_rate", "served_rate", "miss_share", "loads", "loads_per_token", "precision_non_resident",
    "recall_non_resident", "union_to_capacity", "bytes", "bytes_per_token", "stall_seconds",
    "stall_seconds_per_token",
}  # fmt: skip
# Null where it does not apply: not undefined.
APPLIES = {"predictor", "candidates", "half_life", "layer", "stall_budget_seconds", "smallest"}
CASES = {
    "model": with_model,
    "no machine": lambda: simulation(hardware=Hardware()),
    "no bandwidth": lambda: simulation(hardware=Hardware(expert_bytes=1e6)),
    "one document": one_document,
    "phases": with_phases,
    "pool": lambda: simulation(scopes=("layer", "pool")),
    "empty": empty,
}


def record_of(name):
    return plain(results(CASES[name]()))


def rows_of(record):
    for part in TABLES:
        found = record[part]
        yield from ((part, row) for row in (found["sizes"] if part == "capacity_plan" else found))
    yield "hardware", record["hardware"]


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_null_without_a_reason(name):
    for part, row in rows_of(record_of(name)):
        null = {key for key, value in row.items() if value is None and key not in APPLIES}
        assert not null or row.get("reason"), (part, null)
        limits = {key for key, value in row.items() if key.endswith("_ci95") and None in value}
        assert not limits or row.get("reason"), (part, limits)


@pytest.mark.parametrize("name", CASES)
def test_every_key_is_labelled_once_and_every_label_is_explained(name):
    record = record_of(name)
    assert set(record["kinds"].values()) <= set(MEANINGS)
    # Which part of the model or of the trace it is, and words.
    named = {"layer", "overlap_model", "reason", "cautions"}
    for part, row in rows_of(record):
        for key in row:
            assert key.removesuffix("_ci95") in KINDS.keys() | named, f"{part}: {key}"


def test_every_label_is_of_a_key_that_is_there():
    record = record_of("model")
    keys = {key for _, row in rows_of(record) for key in row} | set(record) | set(record["capacity_plan"])
    assert set(KINDS) <= keys


def test_the_keys_of_the_contract_are_in_every_row():
    for row in record_of("phases")["simulation"]:
        assert set(row) >= CONTRACT | {f"{key}_ci95" for key in WITH_INTERVAL}


def test_numbers_are_those_of_the_findings():
    findings = with_model()
    record = plain(results(findings))
    for one, row in zip(findings.caches, record["simulation"], strict=True):
        assert row["loads"] == one.misses + one.prefetched_loads
        assert row["wasted_loads"] == one.prefetched_loads - one.prefetched_hits
        assert row["hit_rate"] == one.hit_rate.value
        assert row["loads_ci95"] == [
            one.loads_per_token.low * one.tokens,
            one.loads_per_token.high * one.tokens,
        ]
        assert row["bytes_per_token"] == one.loads_per_token.value * MACHINE.expert_bytes
        assert row["bytes_ci95"][1] == pytest.approx(row["loads_ci95"][1] * MACHINE.expert_bytes)
        assert row["bytes"] == pytest.approx(row["loads"] * MACHINE.expert_bytes)
        low, high = row["stall_seconds_ci95"]
        assert low <= row["stall_seconds"] * 1.1
        assert row["stall_seconds"] * 0.9 <= high
        for key, value in (
            ("hits", one.hits), ("prefetched_hits", one.prefetched_hits), ("misses", one.misses),
            ("served_rate", one.served_rate.value), ("miss_share", one.miss_share.value),
            ("union_to_capacity", one.union_to_capacity.value), ("bytes_demanded", one.bytes_demanded),
            ("bytes_wasted", one.bytes_wasted), ("stall_seconds", one.stall_seconds),
            ("stall_seconds_per_token", one.stall_per_token.value), ("predictor", one.setting.predictor or None),
            ("policy", one.setting.policy), ("capacity", one.setting.capacity), ("events", one.events),
            ("precision_non_resident", one.precision.value if one.setting.lookahead else None),
            ("recall_non_resident", one.recall.value if one.setting.lookahead else None),
        ):  # fmt: skip
            assert row[key] == value, key
        assert (row["candidates"] is None) == (row["lookahead"] == 0)
        assert ("recall_all" in row) == (row["lookahead"] > 0)


def test_the_other_parts_are_those_of_the_findings():
    findings = with_model()
    record = plain(results(findings))
    for part, found, pairs in (
        ("lru_curve", findings.curve, {"layer": "layer", "capacity": "capacity", "hit_rate": "hit_rate"}),
        ("recoverable_gap", findings.gaps, {"best": "best", "best_loads": "best_loads", "gap": "gap",
                                            "optimal_loads": "optimal_loads", "capacity": "capacity"}),
        ("hot_sets", findings.hot_sets, {"static_hit_rate": "static", "lru_hit_rate": "lru", "layer": "layer",
                                         "uniform_hit_rate": "uniform", "capacity": "capacity"}),
        ("working_sets", findings.working_sets, {"block_tokens": "tokens", "experts": "experts", "layer": "layer",
                                                 "experts_independent": "independent"}),
    ):  # fmt: skip
        assert len(record[part]) == len(found) > 0
        for row, one in zip(record[part], found, strict=True):
            for key, name in pairs.items():
                value = getattr(one, name)
                assert row[key] == getattr(value, "value", value), f"{part}: {key}"
    plan, known = findings.plan, record["capacity_plan"]
    assert (known["stall_budget_seconds"], known["held_out"]) == (plan.stall_budget, True)
    assert known["smallest"] in known["sizes"]
    for row, one in zip(known["sizes"], plan.sizes, strict=True):
        assert row["slots_per_layer"] == list(one.slots)
        assert (row["slots_in_all"], row["bytes_in_all"]) == (one.slots_in_all, one.bytes)
        assert row["stall_seconds_per_token"] == one.stall_per_token
        assert row["equal_hit_rate"] == one.equal_hit_rate.value
        assert row["divided_hit_rate_ci95"] == [one.divided_hit_rate.low, one.divided_hit_rate.high]


def test_without_the_machine_bytes_and_seconds_name_the_options():
    for row in record_of("no machine")["simulation"]:
        assert row["bytes"] is row["bytes_per_token"] is row["stall_seconds"] is row["bytes_wasted"] is None
        assert row["stall_seconds_per_token_ci95"] == [None, None]
        assert "--expert-bytes" in row["reason"]
        assert "--bandwidth" in row["reason"]
    for row in record_of("no bandwidth")["simulation"]:
        assert row["bytes"] == row["loads"] * 1e6
        assert row["stall_seconds"] is None
        assert "--bandwidth" in row["reason"]


def test_what_could_not_be_simulated_has_no_counts():
    rows = [row for row in record_of("one document")["simulation"] if row["policy"] == "static"]
    assert len(rows) == 5
    for row in rows:
        assert row["hits"] is row["misses"] is row["loads"] is row["hit_rate"] is row["bytes"] is None
        assert row["accesses"] > 0
        assert row["reason"].startswith("static pins are from other documents")


def test_both_phases_together_are_first():
    found = with_phases()
    shuffled = replace(found, caches=tuple(sorted(found.caches, key=lambda one: one.phase)))
    for caches in (found.caches, found.caches[::-1], shuffled.caches):
        rows = ordered(caches)
        assert [one.phase == "all" for one in rows[::3]] == [True] * (len(rows) // 3)
        assert [one.setting for one in rows[::3]] == [one.setting for one in rows[2::3]]


def test_a_pool_counts_its_capacity_per_layer():
    record = record_of("pool")
    pool = [row for row in record["lru_curve"] if row["scope"] == "pool"]
    assert {row["slots"] for row in pool} == set(range(1, 49))
    assert all(row["capacity"] * 6 == pytest.approx(row["slots"]) for row in pool)
    whole = [row for row in record["lru_curve"] if row["scope"] == "layer" and row["layer"] is None]
    assert all(row["slots"] == 6 * row["capacity"] for row in whole)


def test_cautions_are_kept():
    found = simulation()
    careful = replace(found, caches=tuple(replace(one, cautions=(CAUTION,)) for one in found.caches))
    assert {tuple(row["cautions"]) for row in plain(results(careful))["simulation"]} == {(CAUTION,)}
    assert "cautions" not in plain(results(found))["simulation"][0]


def test_the_model_says_what_is_loaded_and_what_is_active():
    model = record_of("model")["model"]
    experts = next(part for part in model["parts"] if part["part"] == "experts")
    assert (experts["bytes"], experts["active_bytes"]) == (
        2 * experts["parameters"],
        2 * experts["active_parameters"],
    )
    assert experts["active_parameters"] * 4 == experts["parameters"]
    assert model["expert_bytes"] == 2 * 3 * 4096 * 14336
    assert "model" not in record_of("pool")


@pytest.mark.parametrize("name", CASES)
def test_files_hold_what_the_record_holds(name, tmp_path):
    findings = CASES[name]()
    record = write_results(findings, tmp_path)
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text) == record
    assert "NaN" not in text
    for table in TABLES:
        rows = record[table]["sizes"] if table == "capacity_plan" else record[table]
        with (tmp_path / "tables" / f"{table}.csv").open(encoding="utf-8") as handle:
            assert len(list(csv.DictReader(handle))) == len(rows), table
    again = write_results(findings, tmp_path)
    assert again == record
    assert (tmp_path / "results.json").read_text() == text


def test_options_and_notes_are_as_given():
    record = record_of("model")
    assert record["options"] == {"capacity": "2,4"}
    assert record["notes"] == ["a note on the trace"]
    assert record["format"] == "routestat-simulation"
    assert math.isclose(record["hardware"]["transfer_seconds"], 352e6 / 25e9)
    assert "wait is the stall" in record["hardware"]["overlap_model"]
