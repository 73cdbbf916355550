"""Damaged files of the engines' formats end in a trace or in one line, whatever was done to them."""

import json
import shutil

import numpy as np
import pytest

from routestat import Trace
from tests.traces.importers.engine_examples import EXAMPLES, LAYERS, TOP_K
from tests.traces.importers.known import convert, stored, subsets

MUTATIONS = 120
OTHERS = (
    None,
    True,
    -1,
    0,
    1.5,
    1 << 40,
    "x",
    "",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    "１",
    float("nan"),
    "\ud800",
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_the_whole_file_is_read_right(capsys, tmp_path, example):
    source, held = example.write(np.random.default_rng(1), tmp_path)
    trace, got, _ = stored(capsys, source, tmp_path, *example.options)
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate(held)))
    assert got.document.tolist() == [n for n, one in enumerate(held) for _ in one]
    assert (len(trace.meta.routers), trace.meta.routers[0].top_k) == (LAYERS, TOP_K)


def bytes_mutated(rng, data):
    """Cut, flipped, doubled, overwritten or filled with what does not belong there."""
    data = bytearray(data)
    at = int(rng.integers(len(data)))
    width = int(rng.integers(1, 9))
    kind = rng.integers(6)
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        data[at:at] = data[max(at - 40, 0) : at]
    elif kind == 3:
        data[at : at + width] = bytes(rng.integers(0, 256, width).tolist())
    elif kind == 4:
        data[at : at + width] = b""
    else:
        data[at : at + width] = bytes(width)
    return bytes(data)


def places(value, path=()):
    """Every place of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def json_mutated(rng, text):
    """One value retyped, removed, renamed, doubled, or put elsewhere."""
    lines = text.splitlines() if text.count("\n") else [text]
    number = int(rng.integers(len(lines)))
    record = json.loads(lines[number])
    known = [path for path in places(record) if path]
    if not known:
        lines[number] = json.dumps(OTHERS[int(rng.integers(len(OTHERS)))])
        return "\n".join(lines)
    # Upper places are few, and matter more than the ten-thousandth id.
    depth = int(rng.choice(sorted({len(path) for path in known})))
    path = [one for one in known if len(one) == depth][
        int(rng.integers(sum(len(one) == depth for one in known)))
    ]
    holder = record
    for key in path[:-1]:
        holder = holder[key]
    key, kind = path[-1], rng.integers(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"{key}s"] = holder.pop(key)
    elif kind == 2 and isinstance(holder, list):
        holder.insert(0, holder[key])
    elif kind == 3 and isinstance(holder[key], list):
        holder[key] = holder[key][::-1][: len(holder[key]) // 2 or 1]
    else:
        holder[key] = OTHERS[int(rng.integers(len(OTHERS)))]
    lines[number] = json.dumps(record)
    return "\n".join(lines)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_a_damaged_file_is_a_trace_or_one_line(capsys, tmp_path, example):
    rng = np.random.default_rng(2)
    source, _ = example.write(rng, tmp_path)
    whole, ends = source.read_bytes(), []
    for number in range(MUTATIONS):
        if source.suffix.startswith(".json") and number % 3:
            source.write_text(json_mutated(rng, whole.decode()), encoding="utf-8")
        else:
            source.write_bytes(bytes_mutated(rng, whole))
        code, out, err = convert(capsys, source, tmp_path / "t", *example.options)
        lines = [line for line in err.splitlines() if not line.startswith("note: ")]
        ends.append(code)
        if code == 0:
            assert not lines, (number, err)
            trace = Trace.open(tmp_path / "t")
            assert {router.top_k for router in trace.meta.routers} <= {TOP_K}
            shutil.rmtree(tmp_path / "t")
        else:
            assert (code, out, len(lines)) == (2, "", 1), (number, err)
            assert lines[0].startswith("error: "), (number, err)
            assert len(lines[0]) < 1000, (number, err)
            assert not (tmp_path / "t").exists()
    assert 2 in ends
