import json

import numpy as np
import pytest

from tests.traces.importers.known import chosen, npy, raw, refused, stored, subsets


@pytest.fixture
def experts():
    """Nine rows of ten tokens (6 of the prompt), 4 layers, 2 of 8."""
    return chosen(np.random.default_rng(61), 9, 4, 8, 2)


def vllm(experts, **changes):
    usage = {"prompt_tokens": 6, "completion_tokens": 4}
    return {"id": "v", "usage": usage, "choices": [{"routed_experts": npy(experts), **changes}]}


def sglang(experts, **changes):
    meta = {"id": "s", "prompt_tokens": 6, "completion_tokens": 4, "routed_experts": raw(experts)}
    return {"text": "x", "meta_info": meta | changes}


BAD = {
    "null": (lambda good: None, "null"),
    "error object": (
        lambda good: {"error": {"message": "too long", "code": 400}},
        "the request failed (error: too long)",
    ),
    "error text": (lambda good: {"error": "overloaded"}, "the request failed (error: overloaded)"),
    "vllm error": (lambda good: {"object": "error", "message": "bad"}, "the request failed (error: bad)"),
    "no choices": (lambda good: {"id": "q", "choices": []}, "no choices"),
    "abort": (lambda good: {"choices": [{"finish_reason": "abort"}]}, "the request did not end (abort)"),
    "sglang abort": (
        lambda good: {"text": "", "meta_info": {"finish_reason": {"type": "abort"}}},
        "the request did not end (abort)",
    ),
}
ENGINES = {"vllm": (vllm, ("--n-experts", 8)), "sglang": (sglang, ("--n-experts", 8, "--top-k", 2))}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("first", [True, False])
def test_a_failed_response_stops_or_is_left_out(capsys, tmp_path, experts, engine, case, first):
    make, options = ENGINES[engine]
    broken, why = BAD[case]
    records = [make(experts), make(experts[::-1])]
    records.insert(0 if first else 1, broken(make(experts)))
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    line = refused(capsys, path, tmp_path, *options)
    assert f"x.jsonl, line {1 if first else 2}" in line
    assert f"{why}; --skip-failed leaves such records out" in line
    _, got, err = stored(capsys, path, tmp_path, "--skip-failed", *options)
    assert "left out 1 of 3 records without routing (--skip-failed): " in err
    assert f"line {1 if first else 2}" in err
    assert why in err
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate([experts, experts[::-1]])))


@pytest.mark.parametrize("engine", ENGINES)
def test_null_routing_is_left_out(capsys, tmp_path, experts, engine):
    make, options = ENGINES[engine]
    record = make(experts, routed_experts=None)
    (tmp_path / "x.json").write_text(json.dumps([make(experts), record]))
    assert "item 1" in refused(capsys, tmp_path / "x.json", tmp_path, *options)
    _, got, err = stored(capsys, tmp_path / "x.json", tmp_path, "--skip-failed", *options)
    assert "left out 1 of 2 records" in err
    assert len(got.experts) == 9


def test_one_choice_of_several_is_left_out(capsys, tmp_path, experts):
    record = vllm(experts)
    record["choices"].append({"routed_experts": None, "finish_reason": "error"})
    del record["usage"]
    (tmp_path / "x.json").write_text(json.dumps(record))
    assert "x.json, choices[1]: the request did not end (error); --skip-failed" in refused(
        capsys, tmp_path / "x.json", tmp_path
    )
    trace, got, err = stored(capsys, tmp_path / "x.json", tmp_path, "--skip-failed", "--n-experts", 8)
    assert "left out 1 of 2 records" in err
    assert trace.documents.column("name").to_pylist() == ["v choice 0"]
    assert len(got.experts) == 9


def test_what_an_aborted_request_routed_is_kept_by_default(capsys, tmp_path, experts):
    record = vllm(experts, finish_reason="abort")
    (tmp_path / "x.json").write_text(json.dumps([vllm(experts), record]))
    _, got, _ = stored(capsys, tmp_path / "x.json", tmp_path, "--n-experts", 8)
    assert len(got.experts) == 18
    (tmp_path / "o").mkdir()
    _, got, err = stored(capsys, tmp_path / "x.json", tmp_path / "o", "--skip-failed", "--n-experts", 8)
    assert "the request did not end (abort)" in err
    assert len(got.experts) == 9


def test_all_failed_is_one_line(capsys, tmp_path):
    (tmp_path / "x.jsonl").write_text('null\n{"error": "a"}\n{"choices": [], "id": 1}\n{"error": "b"}\n')
    line = refused(capsys, tmp_path / "x.jsonl", tmp_path, "--skip-failed", "--format", "vllm")
    assert "all 4 records are without routing: " in line
    assert "line 3: no choices; …" in line


def test_many_are_counted_and_the_first_named(capsys, tmp_path, experts):
    records = [vllm(experts), *[{"error": f"e{i}"} for i in range(7)]]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, records)))
    err = stored(capsys, tmp_path / "x.jsonl", tmp_path, "--skip-failed", "--n-experts", 8)[2]
    assert "left out 7 of 8 records" in err
    assert "line 4: the request failed (error: e2); …" in err
    assert "e3" not in err


def test_samples_of_slime(capsys, tmp_path, experts):
    torch = pytest.importorskip("torch")
    good = {"rollout_routed_experts": torch.tensor(experts), "tokens": list(range(10)), "response_length": 4}
    bad = {"tokens": [1, 2], "response_length": 0, "status": "aborted", "rollout_routed_experts": None}
    torch.save({"samples": [bad, good, None]}, tmp_path / "x.pt")
    line = refused(capsys, tmp_path / "x.pt", tmp_path)
    assert "samples[0]: the request did not end (aborted); --skip-failed" in line
    _, got, err = stored(capsys, tmp_path / "x.pt", tmp_path, "--skip-failed", "--n-experts", 8)
    assert "left out 2 of 3 records" in err
    assert np.array_equal(subsets(got.experts), subsets(experts))


def test_samples_of_verl_that_are_padding(capsys, tmp_path, experts):
    routed = np.zeros((3, 10, 4, 2), np.int32)
    routed[0, :9], routed[2, :9] = experts, experts
    mask = np.ones((3, 10), np.int64)
    np.savez(tmp_path / "x.npz", routed_experts=routed, attention_mask=mask)
    assert "sample 1: nothing but zeros; --skip-failed" in refused(capsys, tmp_path / "x.npz", tmp_path)
    _, got, err = stored(capsys, tmp_path / "x.npz", tmp_path, "--skip-failed", "--n-experts", 8)
    assert "left out 1 of 3 records" in err
    assert got.document.tolist() == [0] * 9 + [1] * 9


def test_the_option_says_nothing_to_arrays(capsys, tmp_path, experts):
    np.savez(tmp_path / "x.npz", experts=experts)
    assert "--skip-failed is not used for plain arrays" in refused(
        capsys, tmp_path / "x.npz", tmp_path, "--skip-failed"
    )


def test_a_file_in_which_everything_failed(capsys, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("null\nnull\n")
    assert "every record is null" in refused(capsys, path, tmp_path, "--skip-failed")
