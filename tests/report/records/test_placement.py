"""results.json of placements against the findings, its tables, and the files beside it."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from routestat.report.records.placement import TABLES, results, write_results
from routestat.report.records.placement_files import ABOUT, write_exports
from routestat.report.records.plain import plain
from tests.report.placement_cases import LOADS, ORDERS, exported, findings


def rows(path):
    with path.open() as handle:
        return list(csv.DictReader(handle))


def test_every_figure_of_the_findings_is_in_the_record():
    found = findings(nodes=2)
    record = plain(results(found, exported(found)))
    for result, row in zip(found.results, record["placements"], strict=True):
        for name in ("balance", "worst_balance", "node_balance", "device_affinity", "node_affinity"):
            gain = getattr(result, name)
            assert row[f"{name}_default"] == gain.before.value
            assert row[f"{name}_placed_ci95"] == [gain.after.low, gain.after.high]
            assert row[f"{name}_gain_ci95"] == [gain.gain.low, gain.gain.high]
            assert row[f"{name}_placed_made_from"] == gain.after_made_from
        assert row["balance_placed_counted"] == result.balance.after.value
        assert "device_affinity_placed_counted" not in row
        assert row["optimality_gap"] == result.optimality.gap
    assert record["devices"] == {"n_devices": 4, "n_nodes": 2, "n_redundant_slots": 0, "n_slots": [8, 8, 8]}
    json.dumps(record, allow_nan=False)


def test_loads_are_multiples_of_the_mean_and_slots_are_those_of_the_placement():
    record = plain(results(findings(), ()))
    for row in record["layers"]:
        place = {1: 0, 2: 1, 4: 2}[row["layer"]]
        np.testing.assert_allclose(row["device_loads_default"], LOADS["default"][place] * 4)
        np.testing.assert_allclose(row["device_loads_placed"], LOADS[row["objective"]][place] * 4)
        assert row["balance_placed"] == max(row["device_loads_placed"])
        assert row["expert_of_slot"] == list(ORDERS[row["objective"]])
    assert [(row["source"], row["target"]) for row in record["transitions"]] == [(1, 2), (2, 4)] * 2
    assert "node_affinity_placed" not in record["transitions"][0]


def test_with_one_node_nothing_is_said_of_nodes():
    row = plain(results(findings(), ()))["placements"][0]
    assert row["node_affinity_gain"] is None
    assert row["node_balance_gain_ci95"] is None
    assert row["node_affinity_reason"] == row["node_balance_reason"] == "all devices are in one node"


def test_every_export_states_what_it_gains_on_other_documents():
    found = findings()
    record = plain(results(found, exported(found)))
    placed = {row["objective"]: row for row in record["placements"]}
    for row in record["exports"]:
        if row["objective"]:
            name = "balance" if row["objective"] == "balance" else "device_affinity"
            assert row["gain_of"] == name
            assert row["held_out_gain"] == placed[row["objective"]][f"{name}_gain"]
            assert row["held_out_gain_ci95"] == placed[row["objective"]][f"{name}_gain_ci95"]
        assert row["files"] or row["reason"]
    (pins,) = [row for row in record["exports"] if row["export"] == "pins"]
    assert (pins["hit_rate"], pins["lru_hit_rate"]) == (0.52, 0.61)
    assert [row["export"] for row in record["exports"] if row["experimental"]] == ["vllm"] * 2


def test_few_units_have_no_interval_but_a_reason():
    found = findings(reach=None)
    record = plain(results(found, exported(found)))
    row = record["placements"][0]
    assert row["balance_gain_ci95"] == [None, None]
    assert row["balance_reason"].startswith("3 independent units")
    assert record["exports"][0]["held_out_reason"] == row["balance_reason"]


def test_tables_hold_the_rows_of_the_record(tmp_path):
    found = findings()
    record = write_results(found, exported(found), tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == record
    for name in TABLES:
        assert len(rows(tmp_path / "tables" / f"{name}.csv")) == len(record[name])
    write_results(findings(pins=False), (), tmp_path)
    assert not (tmp_path / "tables" / "pinned.csv").exists()


def test_a_run_removes_the_files_of_the_one_before(tmp_path):
    found = findings()
    every = exported(found)
    write_exports(every, results(found, every)["exports"], tmp_path)
    (tmp_path / "balance" / "mine").mkdir()
    one = exported(found, ["sglang"])
    write_exports(one, results(found, one)["exports"], tmp_path)
    assert {path.name for path in (tmp_path / "balance").iterdir()} == {
        ABOUT,
        *map(_name, one[0].files),
        "mine",
    }
    assert list((tmp_path / "pins").iterdir()) == []


def _name(path):
    return path.split("/")[1]


def test_a_folder_that_is_not_of_this_command_is_left_alone(tmp_path):
    (tmp_path / "balance").mkdir()
    (tmp_path / "balance" / "mine.json").write_text("{}")
    found = findings()
    one = exported(found, ["sglang"])
    write_exports(one, results(found, one)["exports"], tmp_path)
    assert (tmp_path / "balance" / "mine.json").exists()


@pytest.mark.parametrize("objective", ["balance", "affinity"])
def test_a_text_beside_the_files_says_what_they_are(tmp_path, objective):
    found = findings()
    every = exported(found)
    write_exports(every, results(found, every)["exports"], tmp_path)
    text = (tmp_path / objective / ABOUT).read_text()
    for file in (tmp_path / objective).iterdir():
        assert file.name == ABOUT or f"{file.name}\n" in text
    assert f"{objective}/" not in text
    gain = {"balance": "gain 0.300 (95 % interval 0.290 … 0.310)", "affinity": "gain 0.200 (95 %"}[objective]
    assert text.count(gain) == len(list((tmp_path / objective).iterdir())) - 1
    assert "LRU at the same capacity 0.610" in (tmp_path / "pins" / ABOUT).read_text()


def test_every_key_is_documented():
    found = findings(nodes=2)
    record = plain(results(found, exported(found)))
    text = (
        (Path(__file__).parents[3] / "docs" / "results.md").read_text().split("## place")[1].split("\n## ")[0]
    )
    words = set(re.findall(r"[a-z0-9_]+", text))
    suffixes = ("_ci95", "_reason", "_made_from", "_counted", "_by_loads", "_default", "_placed", "_gain")
    for part, value in record.items():
        assert part in words
        for item in value if isinstance(value, list) else [value]:
            for key in item if isinstance(item, dict) and part != "options" else ():
                name = key.removesuffix("_ci95")
                for suffix in suffixes if name not in words else ():
                    name = name.removesuffix(suffix)
                assert name in words | {"reason"}, f"{part}: {key}"
