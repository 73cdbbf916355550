"""Files made of placements: which are made, of what, and why not."""

import json
from dataclasses import replace

import numpy as np

from routestat.serving.exports.registry import EXPORTS
from routestat.serving.placement.placement import Devices, Placement
from routestat.study.placement_exports import ModelShape, export_files, fast_layers
from routestat.traces.metadata import routers_like
from tests.report.placement_cases import ORDERS, exported, findings


def test_each_placement_has_its_files_and_loads_have_theirs_once():
    made = exported(findings())
    objectives = {}
    for item in made:
        objectives.setdefault(item.export.needs, []).append(item.objective)
        assert bool(item.files) != bool(item.reason)
    assert objectives["placement"] == ["balance", "affinity"] * (len(objectives["placement"]) // 2)
    assert set(objectives["loads"]) == {""}
    paths = [path for item in made for path in item.files]
    assert len(set(paths)) == len(paths)


def test_the_file_holds_the_placement_of_its_objective():
    made = {item.objective: item for item in exported(findings(), ["sglang"])}
    for objective, item in made.items():
        ((path, content),) = item.files.items()
        assert path.startswith(f"{objective}/")
        assert path in item.usage
        rows = json.loads(content)["physical_to_logical_map"]
        assert len(rows) == 5
        assert rows[1] == rows[4] == list(ORDERS[objective])


def test_an_error_of_one_export_is_its_reason_and_the_others_are_made():
    found = findings()
    made = export_files(found, EXPORTS, ModelShape(5))
    reasons = {item.export.name: item.reason for item in made if item.reason}
    assert list(reasons) == ["cache-profile"]
    assert "tokens" in reasons["cache-profile"]
    made = export_files(found, EXPORTS, ModelShape(5, (0, 1, 2)))
    assert all("lack 4;" in item.reason for item in made)


def test_without_a_placement_or_pins_the_reason_names_the_option():
    nothing = exported(findings(objectives=(), pins=False))
    by_needs = {item.export.needs: item.reason for item in nothing}
    assert "two devices or more" in by_needs["placement"]
    assert "--pin" in by_needs["pinned"]
    assert "--pin" in by_needs["fast_layers"]


def test_the_most_even_layers_are_kept_whole_as_far_as_they_fit():
    found = findings()
    # Their first three experts have 30 of 80, 70 of 90 and 45 of 95.
    loads = tuple(map(np.array, ([10] * 8, [50, 10, 10, 5, 5, 5, 5, 5], [20, 15, 10, 10, 10, 10, 10, 10])))
    pins = replace(found.pins, experts=(np.arange(3),) * 3)  # 9 slots: one layer of 8
    assert fast_layers(replace(found, loads=loads, pins=pins)) == (1,)
    pins = replace(found.pins, experts=(np.arange(6),) * 3)  # 18 slots: two layers of 8
    assert fast_layers(replace(found, loads=loads, pins=pins)) == (1, 4)
    pins = replace(found.pins, experts=(np.arange(2),) * 3)
    assert fast_layers(replace(found, loads=loads, pins=pins)) == ()
    assert fast_layers(replace(found, pins=None)) == ()


def test_layers_of_different_sizes_are_refused_by_formats_of_one_width():
    found = findings(objectives=("balance",))
    routers = (*routers_like((1, 2), 8, 2), *routers_like((4,), 16, 2))
    orders = (np.arange(8), np.arange(8), np.arange(16))
    placement = Placement(routers, Devices(4), orders, "balance")
    found = replace(
        found,
        routers=routers,
        results=(replace(found.results[0], placement=placement),),
        loads=tuple(np.ones(router.n_experts, np.int64) for router in routers),
    )
    reasons = {item.export.name: item.reason for item in exported(found)}
    assert "16 in layer 4" in reasons["sglang"]
    assert reasons["pins"] == ""
