"""What all importers share: dummy rows, options, detection; and the way out to ``.npz``."""

import json
from dataclasses import replace

import numpy as np
import pytest

from routestat import Alphabet, Router, Trace, TraceMeta, TraceWriter
from routestat.traces.importers.arrays import read_arrays
from routestat.traces.importers.detection import detect
from routestat.traces.importers.registry import FORMATS
from tests.traces.importers.known import chosen, convert, npy, refused, stored, subsets


@pytest.fixture
def experts():
    return chosen(np.random.default_rng(8), 12, 3, 8, 2)


def requests(tmp_path, *parts):
    """A JSON Lines of vLLM responses, one document each."""
    lines = [json.dumps({"choices": [{"routed_experts": npy(part)}]}) for part in parts]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    return tmp_path / "x.jsonl"


def test_zero_rows_at_the_start_are_counted_and_can_be_dropped(capsys, tmp_path, experts):
    path = requests(tmp_path, np.concatenate([np.zeros((3, 3, 2), np.int32), experts]), experts)
    line = refused(capsys, path, tmp_path)
    assert (
        "[0, 0] in every layer repeats an expert: one of 3 dummy rows of 1 documents, only zeros; drop them "
        "with --drop-dummy-rows" in line
    )
    _, got, err = stored(capsys, path, tmp_path, "--drop-dummy-rows", "--n-experts", 8)
    assert "one of 3 dummy rows of 1 documents, only zeros: taken as missing" in err
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate([experts, experts])))
    assert got.position.tolist() == [*range(3, 15), *range(12)]


@pytest.mark.parametrize(
    ("dummy", "run", "found"),
    [
        ([[0, 1]] * 3, 1, True),  # the first k ids everywhere: the argsort of a constant
        ([[5, 2], [1, 4], [0, 7]], 8, True),  # any other choice, eight times
        ([[5, 2], [1, 4], [0, 7]], 7, False),  # a shorter run happens
    ],
)
def test_constant_rows_at_the_start_are_noted_and_kept(capsys, tmp_path, experts, dummy, run, found):
    rows = np.concatenate([np.tile(np.array(dummy, np.int32), (run, 1, 1)), experts])
    path = requests(tmp_path, rows)
    _, got, err = stored(capsys, path, tmp_path, "--n-experts", 8)
    assert (f"{run} rows at the starts of 1 of 1 document" in err) == found
    assert len(got.experts) == len(rows)
    (tmp_path / "b").mkdir()
    _, got, err = stored(capsys, path, tmp_path / "b", "--n-experts", 8, "--drop-dummy-rows")
    assert len(got.experts) == (12 if found else len(rows))


def test_plain_arrays_drop_dummy_rows_too(capsys, tmp_path, experts):
    rows = np.concatenate([np.zeros((2, 3, 2), np.int32), experts])
    np.savez(tmp_path / "x.npz", experts=rows, n_experts=8)
    assert "row 0: [0, 0] in every layer repeats an expert: one of 2 dummy rows" in refused(
        capsys, tmp_path / "x.npz", tmp_path
    )
    _, got, _ = stored(capsys, tmp_path / "x.npz", tmp_path, "--drop-dummy-rows")
    assert np.array_equal(subsets(got.experts), subsets(experts))


def test_the_number_of_experts_is_assumed_and_said(capsys, tmp_path, experts):
    trace, _, err = stored(capsys, requests(tmp_path, experts), tmp_path)
    assert trace.meta.routers[0].n_experts == experts.max() + 1
    assert "a dead last expert would be missed" in err


def test_options_without_a_use_are_refused(capsys, tmp_path, experts):
    path = requests(tmp_path, experts)
    assert "--top-k is not used for vLLM's routed experts (vllm)" in refused(
        capsys, path, tmp_path, "--top-k", 2
    )
    assert "--format is auto, parquet, arrays" in refused(capsys, path, tmp_path, "--format", "tgi")
    np.savez(tmp_path / "y.npz", experts=experts)
    assert "--stride is not used for plain arrays" in refused(
        capsys, tmp_path / "y.npz", tmp_path, "--stride", "2"
    )


def test_what_is_of_no_known_format_says_which_there_are(capsys, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"\x01\x02\x03\x04" * 9)
    line = refused(capsys, tmp_path / "x.bin", tmp_path)
    assert "name it with --format arrays, vllm, sglang, megatron, flame-moe, llama-cpp, slime" in line
    (tmp_path / "x.json").write_text('{"hello": 1}')
    assert "the content is of no known format" in refused(capsys, tmp_path / "x.json", tmp_path)
    (tmp_path / "x.json").write_text('{"choices": [')
    assert "begins like JSON but is not; was it cut off?" in refused(capsys, tmp_path / "x.json", tmp_path)
    (tmp_path / "folder").mkdir()
    assert "the content is of no known format" in refused(capsys, tmp_path / "folder", tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    assert refused(capsys, tmp_path / "empty", tmp_path).endswith("empty: empty")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"meta_info": {"routed_experts": ""}}, "sglang"),
        ({"choices": [{"sglext": {"routed_experts": ""}}]}, "sglang"),
        ({"choices": [{"routed_experts": None}], "prompt_routed_experts": None}, "vllm"),
        ([{"routed_experts": []}], "vllm"),
        ({"step": 0, "layer": 1, "top_indices": []}, "megatron"),
    ],
)
def test_json_is_recognised_by_its_fields(tmp_path, content, name):
    (tmp_path / "x").write_text(json.dumps(content))
    assert detect(tmp_path / "x") == name
    assert name in FORMATS


def test_archives_are_recognised_by_their_arrays(tmp_path, experts):
    for arrays_, name in (
        ({"experts": experts}, "arrays"),
        ({"anything": experts}, "vllm"),
        ({"anything": experts[0]}, "arrays"),
        ({"routed_experts": experts}, "vllm"),
        ({"routed_experts": experts[None]}, "slime"),
        ({"rollout_routed_experts_0": experts}, "slime"),
    ):
        np.savez(tmp_path / "x.npz", **arrays_)
        assert detect(tmp_path / "x.npz") == name, arrays_.keys()


@pytest.fixture
def trace(tmp_path):
    """A store of three documents with domains, a gap in the positions, missing rows, decode, and the heaviest."""
    rng = np.random.default_rng(9)
    meta = TraceMeta((Router(1, 8, 2), Router(4, 8, 2)), name="e", slot_order="weight")
    rows = chosen(rng, 10, 2, 8, 2)
    rows[3, 1] = -1
    top1 = {
        f"L0{layer}.top1": np.where(rows[:, i, 0] < 0, 255, rows[:, i, 0]) for i, layer in enumerate((1, 4))
    }
    with TraceWriter(tmp_path / "store", meta, shard_rows=4) as writer:
        writer.add_documents({"document": [2, 5, 9], "domain": ["law", None, "code"]})
        writer.write(
            [2] * 4 + [5] * 4 + [9] * 2,
            [0, 1, 5, 6, 0, 1, 2, 3, 0, 1],
            experts=rows,
            token=np.arange(10) - 1,
            phase=["prefill"] * 6 + ["decode"] * 4,
            columns=top1,
        )
    return Trace.open(tmp_path / "store"), rows


def test_a_trace_goes_to_npz_and_back_whole(capsys, tmp_path, trace):
    opened, rows = trace
    code, out, err = convert(capsys, tmp_path / "store", tmp_path / "x.npz")
    assert (code, "10 tokens of 3 documents" in out) == (0, True), err
    with np.load(tmp_path / "x.npz", allow_pickle=False) as held:
        assert np.array_equal(held["experts"], rows)  # the heaviest first, so two slots are as they were
        assert held["experts"].dtype == np.int8
        assert held["layers"].tolist() == [1, 4]
        assert held["phase"].tolist() == [0] * 6 + [1] * 4
    got = read_arrays(tmp_path / "x.npz")
    assert got.documents == {"document": [2, 5, 9], "domain": ["law", "", "code"]}
    code, _, err = convert(capsys, tmp_path / "x.npz", tmp_path / "back", "--slots", "weight", "--name", "e")
    assert code == 0, err
    again = Trace.open(tmp_path / "back")
    assert replace(again.meta, extra={}) == opened.meta
    assert again.meta.extra == {"layer_numbers": "file"}
    assert [b.to_pydict() for b in again.record_batches()] != []
    both = [[r for b in one.record_batches() for r in b.to_pylist()] for one in (opened, again)]
    assert both[0] == both[1]
    assert "exists already" in convert(capsys, tmp_path / "store", tmp_path / "x.npz")[2]


def test_subsets_beyond_64_bits_go_to_npz_too(capsys, tmp_path):
    rows = chosen(np.random.default_rng(10), 5, 1, 512, 10)
    rows[2] = -1
    assert not Alphabet(512, 10).is_ranked
    with TraceWriter(tmp_path / "store", TraceMeta((Router(0, 512, 10),))) as writer:
        writer.write([0] * 5, experts=rows)
    assert convert(capsys, tmp_path / "store", tmp_path / "x.npz")[0] == 0
    assert np.array_equal(read_arrays(tmp_path / "x.npz").experts, subsets(rows))


def test_a_trace_is_exported_whole(capsys, tmp_path, trace):
    code, _, err = convert(capsys, tmp_path / "store", tmp_path / "x.npz", "--layers", 1)
    assert (code, "a trace is converted whole" in err) == (2, True)
    assert "is a folder with a trace already" in refused(capsys, tmp_path / "store", tmp_path)


def test_what_an_npz_cannot_hold_is_refused(capsys, tmp_path, trace, monkeypatch):
    monkeypatch.setattr("routestat.traces.importers.arrays_export.LIMIT_BYTES", 100)
    code, _, err = convert(capsys, tmp_path / "store", tmp_path / "x.npz")
    assert (code, "write .parquet instead" in err, "GiB" in err) == (2, True, True)
    monkeypatch.undo()
    with TraceWriter(tmp_path / "mixed", TraceMeta((Router(0, 8, 2), Router(1, 16, 2)))) as writer:
        writer.write([0], experts=[[[0, 1], [2, 3]]])
    assert "one n_experts and k" in convert(capsys, tmp_path / "mixed", tmp_path / "x.npz")[2]
    with TraceWriter(
        tmp_path / "two", TraceMeta((Router(0, 8, 2, "L00"), Router(0, 8, 2, "L00b")))
    ) as writer:
        writer.write([0], experts=[[[0, 1], [2, 3]]])
    assert "one router per layer" in convert(capsys, tmp_path / "two", tmp_path / "x.npz")[2]
    assert not list(tmp_path.glob("x.npz*"))


def test_a_phase_that_is_none_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", experts=[[[0, 1]]], n_experts=8, phase=[2])
    with pytest.raises(ValueError, match="phase must lie in 0 … 1"):
        read_arrays(tmp_path / "x.npz")


def test_json_may_be_indented_a_list_or_lines_with_any_character(capsys, tmp_path, experts):
    """A line separator inside a string is no end of a line."""
    record = {"id": "a\u2028b", "choices": [{"routed_experts": npy(experts)}]}
    for number, text in enumerate(
        (
            json.dumps(record, indent=1, ensure_ascii=False),
            json.dumps([record, record], indent=1),
            "\n" + json.dumps(record, ensure_ascii=False) + "\n\n" + json.dumps(record) + "\n",
        )
    ):
        (tmp_path / "x.json").write_text(text, encoding="utf-8")
        where = tmp_path / str(number)
        where.mkdir()
        trace, got, _ = stored(capsys, tmp_path / "x.json", where, "--n-experts", 8)
        assert trace.documents.column("name").to_pylist() == ["a\u2028b"] * (1 if number == 0 else 2)
        assert np.array_equal(subsets(got.experts[:12]), subsets(experts))
