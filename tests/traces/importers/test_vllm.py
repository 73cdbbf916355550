import json

import numpy as np
import pytest

from tests.traces.importers.known import chosen, npy, raw, refused, stored, subsets


@pytest.fixture
def experts():
    """Nine tokens (6 of the prompt), 4 layers, 3 of 16."""
    return chosen(np.random.default_rng(1), 9, 4, 16, 3)


def write(tmp_path, *records):
    path = tmp_path / ("x.json" if len(records) == 1 else "x.jsonl")
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_an_array_is_one_request(capsys, tmp_path, experts):
    np.save(tmp_path / "x.npy", experts)
    trace, got, err = stored(capsys, tmp_path / "x.npy", tmp_path, "--n-experts", 16)
    assert "recognised as vLLM's routed experts" in err
    assert np.array_equal(subsets(got.experts), subsets(experts))
    assert got.position.tolist() == list(range(9))
    assert got.decode is None
    assert trace.meta.engine == "vllm"
    assert "never forwarded" in trace.meta.extra["last_token"]
    assert any("the end of the prompt" in note for note in trace.meta.extra["notes"])


def test_an_npz_of_arrays_is_a_request_each(capsys, tmp_path, experts):
    np.savez(tmp_path / "x.npz", a=experts, b=experts[:4])
    trace, got, _ = stored(capsys, tmp_path / "x.npz", tmp_path, "--n-experts", 16)
    assert got.document.tolist() == [0] * 9 + [1] * 4
    assert trace.documents.column("name").to_pylist() == ["x a", "x b"]


def test_all_layers_zero_filled_need_the_names_of_the_moe_ones(capsys, tmp_path, experts):
    whole = np.zeros((9, 7, 3), np.int32)
    whole[:, [1, 3, 5, 6]] = experts
    np.save(tmp_path / "x.npy", whole)
    assert (
        "layers 0, 2, 4: dense layers, or never recorded; name the MoE layers: --layers 1,3,5-6"
        in refused(capsys, tmp_path / "x.npy", tmp_path)
    )
    trace, got, _ = stored(capsys, tmp_path / "x.npy", tmp_path, "--layers", "1,3,5-6", "--n-experts", 16)
    assert trace.meta.layers == (1, 3, 5, 6)
    assert np.array_equal(subsets(got.experts), subsets(experts))


def test_as_many_layers_as_there_are_are_their_names(capsys, tmp_path, experts):
    np.save(tmp_path / "x.npy", experts)
    trace, _, _ = stored(capsys, tmp_path / "x.npy", tmp_path, "--layers", "1-4", "--n-experts", 16)
    assert trace.meta.layers == (1, 2, 3, 4)


def nested(experts, cached=0, **more):
    prompt = experts[:6].copy()
    prompt[:cached] = -1
    return {
        "id": "r1",
        "prompt_routed_experts": prompt.tolist(),
        "choices": [{"index": 0, "routed_experts": experts[6:].tolist(), **more}],
    }


def test_nested_lists_with_cached_rows(capsys, tmp_path, experts):
    record = nested(experts, cached=2, token_ids=[7, 8, 9, 10])
    record["prompt_token_ids"] = [1, 2, 3, 4, 5, 6]
    trace, got, _ = stored(capsys, write(tmp_path, record), tmp_path, "--n-experts", 16)
    assert (got.experts[:2] == -1).all()
    assert np.array_equal(subsets(got.experts[2:]), subsets(experts[2:]))
    assert got.decode.tolist() == [False] * 6 + [True] * 3
    assert got.token.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert trace.documents.column("name").to_pylist() == ["r1"]
    assert trace.documents.column("unrouted_tokens").to_pylist() == [1]


def test_base64_of_an_npy_per_choice(capsys, tmp_path, experts):
    """Two choices of one prompt: two documents; usage counts both answers and says nothing of one."""
    choices = [
        {"routed_experts": npy(experts.astype(np.uint8))},
        {"routed_experts": npy(experts[:8].astype(np.uint16))},
    ]
    record = {"id": "r", "usage": {"prompt_tokens": 6, "completion_tokens": 7}, "choices": choices}
    single = {"usage": {"prompt_tokens": 5, "completion_tokens": 5}, "choices": choices[:1]}
    trace, got, _ = stored(capsys, write(tmp_path, record, single), tmp_path, "--n-experts", 16)
    assert got.document.tolist() == [0] * 9 + [1] * 8 + [2] * 9
    assert np.array_equal(subsets(got.experts[9:17]), subsets(experts[:8]))
    assert (
        got.decode.tolist() == [False] * 6 + [True] * 3 + [False] * 6 + [True] * 2 + [False] * 5 + [True] * 4
    )
    assert trace.documents.column("name").to_pylist() == ["r choice 0", "r choice 1", "x 2"]
    assert trace.documents.column("unrouted_tokens").to_pylist() == [None, None, 1]


def payload(experts, **changes):
    held = {"data": raw(experts.astype(np.uint8)), "shape": list(experts.shape), "dtype": "uint8", "start": 0}
    return {
        "choices": [{"routed_experts": held | changes}],
        "usage": {"prompt_tokens": 6, "completion_tokens": 4},
    }


def test_raw_bytes_with_a_start(capsys, tmp_path, experts):
    record = payload(experts[2:], start=2)
    _, got, _ = stored(capsys, write(tmp_path, record), tmp_path, "--n-experts", 16)
    assert got.position.tolist() == list(range(2, 9))
    assert got.decode.tolist() == [False] * 4 + [True] * 3
    assert np.array_equal(subsets(got.experts), subsets(experts[2:]))


def test_raw_bytes_without_a_dtype_are_as_wide_as_they_are(capsys, tmp_path, experts):
    record = payload(experts, dtype=None, start=None, data=raw(experts.astype(np.uint16)))
    _, got, _ = stored(capsys, write(tmp_path, record), tmp_path, "--n-experts", 16)
    assert np.array_equal(subsets(got.experts), subsets(experts))


def test_a_folder_is_read_whole(capsys, tmp_path, experts):
    folder = tmp_path / "responses"
    folder.mkdir()
    for name, part in (("a", experts), ("b", experts[:9])):
        (folder / f"{name}.json").write_text(json.dumps(payload(part)))
    _, got, _ = stored(capsys, folder, tmp_path, "--n-experts", 16)
    assert got.document.tolist() == [0] * 9 + [1] * 9


def broken(experts):
    """What is wrong, the record, and what the refusal says."""
    twice, outside = experts.copy(), experts.copy()
    twice[4, 2] = [5, 5, 1]
    outside[3, 1, 0] = 16
    cut = npy(experts)[:-40]
    return [
        (
            "truncated base64",
            {"choices": [{"routed_experts": cut[:-1]}]},
            "choices[0].routed_experts: not valid base64",
        ),
        ("truncated npy", {"choices": [{"routed_experts": cut[: len(cut) // 4 * 4]}]}, "not a readable .npy"),
        ("short data", payload(experts[1:], shape=[9, 4, 3]), "96 bytes where [9, 4, 3] of uint8 take 108"),
        ("float", payload(experts, dtype="float16"), ".dtype: expected an integer type, got float16"),
        ("dtype", payload(experts, dtype="uint4"), ".dtype: no such type: 'uint4'"),
        ("flat", payload(experts, shape=[9, 12]), ".shape: expected [tokens, layers, k], got [9, 12]"),
        (
            "two axes",
            {"routed_experts": experts[:, 0].tolist()},
            "expected integers of 3 axes, got int64 [9, 3]",
        ),
        ("ragged", {"routed_experts": [[[1, 2]], [[1]]]}, "rows of unequal length"),
        ("none", {"choices": [{"text": "x"}], "prompt_routed_experts": []}, "no routed_experts"),
        (
            "twice",
            payload(twice),
            "layer 2, choices[0], document x 0, position 4: [5, 5, 1] repeats an expert",
        ),
        ("outside", payload(outside), "layer 1, choices[0], document x 0, position 3: [16, "),
        (
            "too many",
            payload(np.concatenate([experts, experts])),
            "covers 18 tokens where prompt and answer have 10",
        ),
        ("prompt", nested(experts) | {"usage": {"prompt_tokens": 9}}, "has 6 rows, the prompt has 9 tokens"),
        ("zeros", payload(np.zeros_like(experts)), "nothing but zeros or −1 in every layer"),
    ]


@pytest.mark.parametrize("case", range(14))
def test_what_is_wrong_is_named(capsys, tmp_path, experts, case):
    _, record, message = broken(experts)[case]
    line = refused(capsys, write(tmp_path, record), tmp_path, "--n-experts", 16, "--format", "vllm")
    assert message in line
    assert "x.json" in line


def test_a_line_that_was_cut_off_is_named(capsys, tmp_path, experts):
    path = write(tmp_path, payload(experts), payload(experts))
    path.write_text(path.read_text()[:-30])
    assert "x.jsonl, line 2: not valid JSON" in refused(capsys, path, tmp_path)


def test_pickled_objects_are_not_loaded(capsys, tmp_path):
    class Boom:
        def __reduce__(self):
            return (print, ("executed",))

    np.save(tmp_path / "x.npy", np.array([Boom()], dtype=object), allow_pickle=True)
    assert "not a readable file of plain arrays" in refused(capsys, tmp_path / "x.npy", tmp_path)
    record = {"choices": [{"routed_experts": npy(np.array([Boom()], dtype=object))}]}
    line = refused(capsys, write(tmp_path, record), tmp_path)
    assert "not a readable .npy of plain numbers" in line


def test_responses_of_different_models_are_not_joined(capsys, tmp_path, experts):
    line = refused(capsys, write(tmp_path, payload(experts), payload(experts[:, :3])), tmp_path)
    assert "line 2" in line
    assert "[layers, k] is [3, 3], in" in line
