"""The readers refuse files that the engines refuse or misread: without this, a round trip would show nothing."""

import io
import json
import re

import numpy as np
import pytest

from routestat.serving.exports.registry import export_of
from tests.serving.exports.cases import case
from tests.serving.exports.readers import (
    PLACEMENTS,
    Model,
    RefusedError,
    options_of,
    read_cache_profile,
    read_eplb,
    read_llama_cpp,
    read_pins,
    read_sglang,
    read_tensorrt_llm,
    read_vllm,
    read_vllm_ascend,
)


def good(name):
    exported, model = case(8, 2, 2, layers=(1, 2), hidden=4)
    (content,) = export_of(name).files(exported).values()
    PLACEMENTS[name](content, model)
    return content, model


def rows_broken(rows):
    """Return ways in which rows of slots are wrong."""
    first = rows[0]
    other = (first[0] + 1) % 8
    return {
        "a slot less": [first[:-1], *rows[1:]],
        "a slot more": [[*first, 0], *rows[1:]],
        "a row less": rows[:-1],
        "a row more": [*rows, first],
        "an expert missing": [[0 if e == 7 else e for e in first], *rows[1:]],
        "an unknown expert": [[8 if e == 7 else e for e in first], *rows[1:]],
        "a negative expert": [[-1 if e == 7 else e for e in first], *rows[1:]],
        "a fraction": [[1.0, *first[1:]], *rows[1:]],
        "a boolean": [[True if e == 1 else e for e in first], *rows[1:]],
        "text": [[str(first[0]), *first[1:]], *rows[1:]],
        "an expert twice on a device": [twice(first, other), *rows[1:]],
    }


def twice(row, expert):
    """Return the same experts with two copies of one on the first device."""
    double = max(set(row), key=row.count)
    rest = list(row)
    for _ in range(2):
        rest.remove(double)
    return [double, double, *rest]


@pytest.mark.parametrize("name", ["sglang", "vllm"])
@pytest.mark.parametrize("kind", rows_broken([[0, 1, 2, 3, 4, 5, 6, 7, 0, 1]] * 2))
def test_wrong_rows_are_refused(name, kind):
    content, model = good(name)
    record = json.loads(content)
    rows = record["physical_to_logical_map"] if name == "sglang" else record
    broken = rows_broken(rows)[kind]
    changed = {"physical_to_logical_map": broken} if name == "sglang" else broken
    with pytest.raises(RefusedError):
        PLACEMENTS[name](json.dumps(changed).encode(), model)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record | {"comment": "held-out gain 3 %"},
        lambda record: {"logical_count": record["physical_to_logical_map"]},
        lambda record: record["physical_to_logical_map"],
    ],
)
def test_sglang_accepts_no_other_key(change):
    content, model = good("sglang")
    with pytest.raises(RefusedError):
        read_sglang(json.dumps(change(json.loads(content))).encode(), model)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_slots: 10", "num_slots: 8"),
        ("num_slots: 10\n", ""),
        ("num_slots: 10", "num_slots: 10\nep_size: 2"),
        ("layer_updates_per_iter: 0", "layer_updates_per_iter: 1"),
        ("  1: [", "  0: ["),
        ("  1: [", '  "1": ['),
        ("  1: [", "  3: ["),
        ("  1: [", "  1: [0, "),
        ("initial_global_assignments:", "initial_global_assignments: {}\nrest:"),
    ],
)
def test_tensorrt_llm_refuses(old, new):
    pytest.importorskip("yaml")
    content, model = good("tensorrt-llm")
    changed = content.decode().replace(old, new, 1)
    assert changed != content.decode()
    with pytest.raises(RefusedError):
        read_tensorrt_llm(changed.encode(), model)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(moe_layer_count=3),
        lambda record: record["layer_list"].reverse(),
        lambda record: record["layer_list"].pop(),
        lambda record: record["layer_list"][0].update(layer_id=1),
        lambda record: record["layer_list"][0].update(device_count=1),
        lambda record: record["layer_list"][0]["device_list"].reverse(),
        lambda record: record["layer_list"][0]["device_list"].pop(),
        lambda record: record["layer_list"][0]["device_list"][0]["device_expert"].pop(),
        lambda record: record["layer_list"][0]["device_list"][0]["device_expert"].append(0),
    ],
)
def test_vllm_ascend_refuses(change):
    content, model = good("vllm-ascend")
    record = json.loads(content)
    change(record)
    with pytest.raises(RefusedError):
        read_vllm_ascend(json.dumps(record).encode(), model)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("logcnt", lambda array: array[::-1]),
        ("phy2log", lambda array: array[:, ::-1]),
        ("log2phy", lambda array: array[..., ::-1]),
        ("log2phy", lambda array: np.concatenate([array, np.full_like(array[..., :1], -1)], 2)),
        ("weight", lambda array: -array - 1),
        ("weight", lambda array: array.astype(object)),
        ("layer", lambda array: array + 1),
        ("phy2log", lambda array: array.astype(float)),
        ("phy2log", lambda array: array[:, 1:]),
    ],
)
def test_eplb_refuses(name, change):
    content, model = good("eplb")
    held = dict(np.load(io.BytesIO(content)))
    held[name] = change(held[name])
    buffer = io.BytesIO()
    np.savez(buffer, **held)
    with pytest.raises(RefusedError):
        read_eplb(buffer.getvalue(), model)


@pytest.mark.parametrize("name", PLACEMENTS)
@pytest.mark.parametrize(
    "changed",
    [{"n_devices": 4}, {"redundant": 0}, {"n_experts": 10, "redundant": 0}, {"moe_layers": (1, 2, 3)}],
)
def test_the_file_of_another_model_or_number_of_devices_is_refused(name, changed):
    content, model = good(name)
    other = Model(**{**vars(model), **changed})
    # SGLang has a row for every layer, so that a layer more is no mistake.
    if name == "sglang" and "moe_layers" in changed:
        assert PLACEMENTS[name](content, other)[3] == [[0, 1, 2, 3, 4], [5, 6, 7, 0, 1]]
        return
    with pytest.raises(RefusedError):
        PLACEMENTS[name](content, other)


@pytest.mark.parametrize("name", PLACEMENTS)
@pytest.mark.parametrize("cut", [lambda c: b"", lambda c: c[: len(c) // 2], lambda c: b"\x80" + c])
def test_a_damaged_file_is_refused(name, cut):
    content, model = good(name)
    with pytest.raises((RefusedError, KeyError)):
        PLACEMENTS[name](cut(content), model)


@pytest.mark.parametrize(
    "line",
    [
        r"-ot 'blk\.(1|2)\.ffn_.*_exps\.'",
        r"-ot 'blk\.(1|2)\.ffn_.*_exps\.=GPU'",
        r"-ot 'blk\.(1\.ffn=CPU'",
        r"-ot 'blk\.(1,2)\.ffn_.*_exps\.=CPU'",
        "--n-cpu-moe -1",
        "--n-cpu-moe",
        "--cpu-experts 2",
    ],
)
def test_llama_cpp_refuses(line):
    with pytest.raises(RefusedError):
        read_llama_cpp(options_of(line.encode())[0], case()[1])


@pytest.mark.parametrize(
    "content",
    [
        b"pos,layer,id0\n",
        b"0,1\n",
        b"0,1,8\n",
        b"0,1,-1\n",
        b"0,1,2,2\n",
        b"0,0,1\n",
        b"0,1,1.0\n",
        b"0,1,2",
        b"0,1,\n",
    ],
)
def test_profiles_are_refused(content):
    with pytest.raises(RefusedError):
        read_cache_profile(content, Model(4, 8, (1, 2)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("routestat-pins", "pins"),
        ('"version": 1', '"version": 2'),
        ("[3, 1]", "[3, 3]"),
        ("[3, 1]", "[3, 8]"),
        ('"layer": 1', '"layer": 0'),
        ('"n_experts": 8', '"n_experts": 9'),
    ],
)
def test_pins_are_refused(old, new):
    text = '{"format": "routestat-pins", "version": 1, "routers": [{"layer": 1, "router": "L01", "n_experts": 8, '
    text += '"experts": [3, 1]}]}'
    model = Model(4, 8, (1, 2))
    assert read_pins(text.encode(), model) == {"L01": [3, 1]}
    with pytest.raises(RefusedError):
        read_pins(re.sub(re.escape(old), new, text).encode(), model)


def test_a_key_twice_is_refused():
    content, model = good("vllm")
    twice_over = f'{{"physical_to_logical_map": {content.decode()}, "physical_to_logical_map": 1}}'
    with pytest.raises(RefusedError, match="a key twice"):
        read_sglang(twice_over.encode(), model)
    with pytest.raises(RefusedError):
        read_vllm(twice_over.encode(), model)
