"""Layers that the trace lacks, several routers in a layer, and routers of different sizes."""

import json

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.exports.layer_rows import (
    default_row,
    notes_on_layers,
    rows_of_experts,
    untraced_layers,
)
from routestat.serving.exports.registry import EXPORTS, export_of
from routestat.serving.placement.placement import Devices, Placement
from tests.serving.exports.cases import TWO_IN_ONE, TWO_WIDTHS, case, placed, random_placement, with_routers
from tests.serving.exports.readers import PLACEMENTS

ONE_ENTRY_FOR_A_LAYER = [export.name for export in EXPORTS if export.needs in ("placement", "loads")]


@pytest.mark.parametrize(
    ("n_experts", "n_devices", "redundant"), [(8, 64, 56), (8, 4, 24), (60, 16, 4), (8, 1, 0)]
)
def test_the_default_row_is_a_placement_that_engines_can_serve(n_experts, n_devices, redundant):
    devices = Devices(n_devices, 1, redundant)
    row = default_row(n_experts, devices.slots(n_experts))
    routers = case(n_experts, layers=(0,))[0].routers
    Placement(routers, devices, (row,), "default")
    assert row[:n_experts].tolist() == list(range(n_experts))


@pytest.mark.parametrize("name", sorted(PLACEMENTS.keys() - {"eplb"}))
def test_layers_with_experts_that_were_not_traced_are_in_the_default_order(name):
    exported, model = case(8, 2, 2, layers=(2, 3), hidden=6, moe_layers=(1, 2, 3, 5))
    assert untraced_layers(exported) == (1, 5)
    (content,) = export_of(name).files(exported).values()
    default = [[0, 1, 2, 3, 4], [5, 6, 7, 0, 1]]
    assert PLACEMENTS[name](content, model) == placed(exported.placement) | {1: default, 5: default}
    (note,) = export_of(name).notes(exported)
    assert note.startswith("no router in the trace at layers 1, 5, where the model has experts: ")
    assert "default order" in note


@pytest.mark.parametrize(
    "name", [*sorted(PLACEMENTS.keys() - {"eplb"}), "sglang-counts", "ktransformers", "llama.cpp"]
)
def test_layers_without_a_router_are_named_unless_the_model_is_known(name):
    export = export_of(name)
    (note,) = export.notes(case(layers=(1, 2), hidden=5)[0])
    assert note.startswith("no router in the trace at layers 0, 3-4, taken as dense: ")
    assert "--model-config" in note
    assert export.notes(case(layers=(1, 2), hidden=5, moe_layers=(1, 2))[0]) == ()
    assert export.notes(case(layers=(0, 1), hidden=2)[0]) == ()


def test_eplb_holds_the_layers_of_the_trace_alone():
    exported, _ = case(layers=(2, 3), hidden=6, moe_layers=(1, 2, 3, 5))
    assert export_of("eplb").notes(exported) == ()


@pytest.mark.parametrize("name", ONE_ENTRY_FOR_A_LAYER)
def test_two_routers_in_one_layer_are_refused(name):
    placement = random_placement(np.random.default_rng(0), TWO_IN_ONE, Devices(2))
    exported = with_routers(TWO_IN_ONE, 4, placement=placement)
    with pytest.raises(RoutestatError, match="expected one router in a layer, found several in layer 1;"):
        export_of(name).files(exported)


@pytest.mark.parametrize("name", ONE_ENTRY_FOR_A_LAYER)
def test_routers_with_different_numbers_of_experts_are_refused_with_their_layers(name):
    placement = random_placement(np.random.default_rng(0), TWO_WIDTHS, Devices(2))
    exported = with_routers(TWO_WIDTHS, 4, placement=placement)
    with pytest.raises(RoutestatError, match="found 8 in layers 1, 3; 16 in layer 2;") as caught:
        export_of(name).files(exported)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PLACEMENTS)
def test_a_placement_is_required(name):
    with pytest.raises(
        RoutestatError, match="expected a placement of experts on devices, got none; name --devices"
    ):
        export_of(name).files(with_routers(case()[0].routers, 4))


def test_rows_are_by_layer_in_order():
    exported, _ = case(layers=(1, 4), hidden=6, moe_layers=(0, 1, 4, 5))
    assert list(rows_of_experts(exported, "an engine")) == [0, 1, 4, 5]


def test_a_note_has_the_words_of_the_format():
    exported, _ = case(layers=(1,), hidden=3)
    (note,) = notes_on_layers(exported, "untraced words", "dense words")
    assert "dense words" in note
    assert "untraced" not in note


def test_dense_layers_hold_the_default_order_in_sglang():
    exported, _ = case(8, 2, 2, layers=(1,), hidden=3)
    (content,) = export_of("sglang").files(exported).values()
    rows = json.loads(content)["physical_to_logical_map"]
    assert rows[0] == rows[2] == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
