"""Every placement that an engine reads is the one that was exported; names and usage of all exports."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from routestat.errors import RoutestatError
from routestat.serving.exports.registry import EXPORTS, can_be_made, export_of, usage_of
from routestat.serving.placement.placement import Devices
from tests.serving.exports.cases import case, placed, steps_of
from tests.serving.exports.readers import PLACEMENTS

#: (experts, devices, redundant slots), as few as the devices need and one more per device.
SIZES = [
    (n_experts, n_devices, -n_experts % n_devices + more)
    for n_experts in (8, 60, 64, 128, 256, 512)
    for n_devices in (1, 2, 3, 8, 16, 64)
    for more in (0, n_devices)
    if -n_experts % n_devices + more <= n_experts * (n_devices - 1)
]


def only_file(name, exported):
    (content,) = export_of(name).files(exported).values()
    return content


@pytest.mark.parametrize("name", PLACEMENTS)
@pytest.mark.parametrize(("n_experts", "n_devices", "redundant"), SIZES)
def test_engines_read_the_placement_that_was_exported(name, n_experts, n_devices, redundant):
    # Dense layers first, between and last.
    exported, model = case(
        n_experts, n_devices, redundant, layers=(3, 4, 7), hidden=9, seed=n_experts + n_devices
    )
    assert PLACEMENTS[name](only_file(name, exported), model) == placed(exported.placement)


@pytest.mark.parametrize("name", PLACEMENTS)
def test_a_model_of_a_single_layer_is_read(name):
    exported, model = case(layers=(0,), hidden=1)
    assert PLACEMENTS[name](only_file(name, exported), model) == placed(exported.placement)


@pytest.mark.parametrize("name", PLACEMENTS)
def test_two_placements_make_two_files(name):
    files = [only_file(name, case(64, 4, seed=seed)[0]) for seed in (1, 1, 2)]
    assert files[0] == files[1] != files[2]


def test_names_and_files_differ():
    full = replace(case(layers=(1, 2))[0], steps=steps_of([3], layers=(1, 2)))
    names = [export.name for export in EXPORTS]
    assert len(set(names)) == len(names) == 10
    files = [file for export in EXPORTS if can_be_made(export, full) and export.needs != "loads"
             for file in export.files(full)]  # fmt: skip
    assert len(set(files)) == len(files) == 7


def test_an_export_is_made_where_its_part_is_there():
    exported = case()[0]
    made = {export.name for export in EXPORTS if can_be_made(export, exported)}
    assert made == {export.name for export in EXPORTS} - {"cache-profile", "pins"}
    assert not can_be_made(export_of("sglang"), replace(exported, placement=None))


def test_only_vllm_is_experimental():
    assert [export.name for export in EXPORTS if export.experimental] == ["vllm"]


def test_an_unknown_name_is_refused_with_the_names():
    with pytest.raises(RoutestatError, match=r"expected one of sglang, .*pins, got 'triton'"):
        export_of("triton")


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("sglang", "--init-expert-location 'my file' --ep-size 4 --ep-num-redundant-experts 8"),
        ("tensorrt-llm", "moe_config: {load_balancer: 'my file'}"),
        ("vllm-ascend", '--additional-config \'{"eplb_config": {"expert_map_path": "my file"}}\''),
        (
            "vllm",
            '--enable-eplb --eplb-config \'{"initial_expert_map_path": "my file", "num_redundant_experts": 8}\'',
        ),
        ("eplb", 'numpy.load("my file")'),
    ],
)
def test_what_to_type(name, usage):
    placement = case(8, 4, 8)[0].placement
    assert placement.devices == Devices(4, 1, 8)
    assert usage_of(export_of(name), "my file", placement) == usage


def test_what_to_type_without_a_placement():
    assert usage_of(export_of("ktransformers"), "a.pt").endswith(" --init-expert-location a.pt")


def test_the_page_has_a_row_for_each_export_with_what_to_type():
    page = (Path(__file__).parents[3] / "docs/exports.md").read_text()
    rows = dict(re.findall(r"^\| `([^-`][^`]*)` \| (.*)$", page, re.MULTILINE))
    assert list(rows) == [export.name for export in EXPORTS]
    for export in EXPORTS:
        files = [] if export.needs in ("steps", "pinned", "loads") else list(export.files(case()[0]))
        assert all(f"`{file}`" in rows[export.name] for file in files), export.name
        option = next((word for word in export.usage.split() if word.startswith("-")), "")
        assert option in page, export.name
        assert ("experimental" in rows[export.name]) == export.experimental
