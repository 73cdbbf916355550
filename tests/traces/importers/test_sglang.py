import json

import numpy as np
import pytest

from tests.traces.importers.known import chosen, raw, refused, stored, subsets


@pytest.fixture
def experts():
    """Nine rows of ten tokens (6 of the prompt), 4 layers, 2 of 8."""
    return chosen(np.random.default_rng(2), 9, 4, 8, 2)


def response(experts, first=0, **changes):
    meta = {
        "id": "q",
        "prompt_tokens": 6,
        "completion_tokens": first + len(experts) + 1 - 6,
        "routed_experts": raw(experts.astype(np.int32)),
        **changes,
    }
    return {"text": "x", "meta_info": meta}


def write(tmp_path, *records):
    (tmp_path / "x.json").write_text(json.dumps(list(records)))
    return tmp_path / "x.json"


def test_generate_responses(capsys, tmp_path, experts):
    later = response(experts[3:], first=3, routed_experts_start_len=3, routed_experts_dtype="uint8")
    later["meta_info"]["routed_experts"] = raw(experts[3:].astype(np.uint8))
    path = write(tmp_path, response(experts) | {"output_ids": [7, 8, 9, 10]}, later)
    trace, got, err = stored(capsys, path, tmp_path, "--top-k", 2, "--n-experts", 8)
    assert "recognised as SGLang's" in err
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate([experts, experts[3:]])))
    assert got.document.tolist() == [0] * 9 + [1] * 6
    assert got.position.tolist() == [*range(9), *range(3, 9)]
    assert got.decode.tolist() == [False] * 6 + [True] * 3 + [False] * 3 + [True] * 3
    assert got.token[:9].tolist() == [-1] * 6 + [7, 8, 9]
    assert trace.meta.engine == "sglang"
    assert trace.documents.column("unrouted_tokens").to_pylist() == [1, 1]


def test_choices_of_the_openai_form_and_dense_layers(capsys, tmp_path, experts):
    whole = np.zeros((9, 5, 2), np.int32)
    whole[:, 1:] = experts
    usage = {"prompt_tokens": 6, "completion_tokens": 4}
    record = {"id": "c", "usage": usage, "choices": [{"sgl_ext": {"routed_experts": raw(whole)}}]}
    path = write(tmp_path, record)
    assert "--layers 1-4" in refused(capsys, path, tmp_path, "--top-k", 2)
    trace, got, _ = stored(capsys, path, tmp_path, "--top-k", 2, "--layers", "1-4", "--n-experts", 8)
    assert trace.meta.layers == (1, 2, 3, 4)
    assert np.array_equal(subsets(got.experts), subsets(experts))


def test_k_must_be_said(capsys, tmp_path, experts):
    path = write(tmp_path, response(experts))
    assert "8 ids per token, that is layers × k; give k with --top-k" in refused(capsys, path, tmp_path)
    assert "8 ids per token are not a multiple of --top-k 3" in refused(capsys, path, tmp_path, "--top-k", 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"routed_experts": "AAAA!"}, "not valid base64"),
        (
            {"routed_experts": raw(np.arange(7, dtype=np.int32))},
            "28 bytes of int32 do not divide into 9 rows",
        ),
        ({"completion_tokens": 5}, "do not divide into 10 rows (prompt 6 + answer 5 − 1 − start 0)"),
        ({"prompt_tokens": None}, "prompt_tokens must be a whole number"),
        ({"routed_experts_dtype": "float32"}, "routed_experts_dtype: expected an integer type, got float32"),
    ],
)
def test_what_is_wrong_is_named(capsys, tmp_path, experts, changes, message):
    line = refused(capsys, write(tmp_path, response(experts, **changes)), tmp_path, "--top-k", 2)
    assert message in line
    assert "x.json, item 0" in line


def test_a_response_without_routing_is_named(capsys, tmp_path, experts):
    path = write(tmp_path, response(experts), {"meta_info": {"id": "z"}})
    assert "item 1: no routed_experts in meta_info" in refused(capsys, path, tmp_path, "--top-k", 2)


def test_without_torch_a_recording_says_what_to_install(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04")
    line = refused(capsys, tmp_path / "x.pt", tmp_path, "--format", "sglang")
    assert "pip install 'routestat[capture]'" in line


# Two requests of two MoE layers behind a dense one; layer 1 swaps experts 0 and 1, and expert 3 has a replica, 4.
TO_LOGICAL = np.array([[0, 1, 2, 3, 3], [1, 0, 2, 3, 3], [0, 1, 2, 3, 3]])


def recording(torch):
    def record(number, tokens, positions, lengths, mode, ids):
        held = np.full((3, len(tokens), 8), -1, np.int32)
        held[1:, :, :2] = ids
        return {
            "forward_pass_id": number, "rank": 0, "gatherer_key": "primary", "input_ids": tokens,
            "positions": positions, "extend_seq_lens": lengths, "forward_mode": mode,
            "topk_ids_of_layer": torch.from_numpy(held), "misc_objects": [],
        }  # fmt: skip

    passes = [
        record(
            0, [5, 6, 7, 8, 9], [0, 1, 2, 0, 1], [3, 2], 1, [[[0, 1], [2, 4], [3, 0], [1, 2], [0, 4]]] * 2
        ),
        record(1, [10, 11], [3, 2], None, 2, [[[0, 2], [1, 4]]] * 2),
        record(2, [12], [4], None, 2, [[[4, 2]]] * 2),
    ]
    return {"records": passes, "last_physical_to_logical_map": torch.from_numpy(TO_LOGICAL)}


def test_a_recording_is_put_together_by_position_and_mapped_to_experts(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    held = recording(torch)
    torch.save(held, tmp_path / "x.pt")
    trace, got, _ = stored(capsys, tmp_path / "x.pt", tmp_path, "--layers", "1-2")
    assert trace.meta.layers == (1, 2)
    assert (trace.meta.routers[0].n_experts, trace.meta.routers[0].top_k) == (4, 2)
    assert got.document.tolist() == [0] * 5 + [1] * 3
    assert got.position.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert got.token.tolist() == [5, 6, 7, 10, 12, 8, 9, 11]
    assert got.decode.tolist() == [False] * 3 + [True] * 2 + [False] * 2 + [True]
    # By hand: physical 4 is expert 3; in layer 1 physical 0 and 1 are experts 1 and 0.
    first = [[0, 1], [2, 3], [1, 3], [1, 2], [2, 3], [0, 2], [1, 3], [0, 3]]
    second = [[0, 1], [2, 3], [0, 3], [0, 2], [2, 3], [1, 2], [0, 3], [1, 3]]
    assert subsets(got.experts)[:, 0].tolist() == first
    assert subsets(got.experts)[:, 1].tolist() == second
    assert any("last map" in note for note in trace.meta.extra["notes"])


def test_chunks_go_to_the_request_that_expects_them_and_guesses_are_counted(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    held = recording(torch)
    # A (3 tokens) and the first chunk of B; B's second chunk; a step of B alone, A having ended at once; then
    # B goes on by a chunk of one (as after a retraction) and a step.
    steps = [
        ([1, 2, 3, 4, 5], [0, 1, 2, 0, 1], [3, 2], 1),
        ([6, 7], [2, 3], [2], 1),
        ([8], [4], None, 2),
        ([9], [5], [1], 1),
        ([10], [6], None, 2),
    ]
    held["records"] = [
        held["records"][0]
        | {
            "forward_pass_id": number,
            "input_ids": tokens,
            "positions": positions,
            "extend_seq_lens": lengths,
            "forward_mode": mode,
            "topk_ids_of_layer": torch.tensor([[0, 1, *[-1] * 6]] * len(tokens), dtype=torch.int32).repeat(
                3, 1, 1
            ),
        }
        for number, (tokens, positions, lengths, mode) in enumerate(steps)
    ]
    torch.save(held, tmp_path / "x.pt")
    trace, got, _ = stored(capsys, tmp_path / "x.pt", tmp_path)
    # The chunk of one may as well be a new request whose prefix was cached: two documents of one cluster.
    assert got.document.tolist() == [0] * 3 + [1] * 5 + [2] * 2
    assert trace.units.cluster.tolist() == [0, 1, 1]
    assert any("1 stretches of rows begin where" in note for note in trace.meta.extra["notes"])
    assert got.token.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert got.decode.tolist() == [False] * 7 + [True, False, True]
    assert not any("fitted several" in note for note in trace.meta.extra["notes"])
    # Two requests of equal length and one row for the position both expect: one guess.
    held["records"] = [held["records"][0], held["records"][2]]
    held["records"][0]["input_ids"], held["records"][0]["positions"] = [1, 2, 3, 4], [0, 1, 0, 1]
    held["records"][0]["extend_seq_lens"] = [2, 2]
    held["records"][0]["topk_ids_of_layer"] = held["records"][0]["topk_ids_of_layer"][:, :4]
    held["records"][1]["positions"] = [2]
    torch.save(held, tmp_path / "y.pt")
    (tmp_path / "y").mkdir()
    trace, got, _ = stored(capsys, tmp_path / "y.pt", tmp_path / "y")
    assert got.document.tolist() == [0, 0, 0, 1, 1]
    assert any("1 stretches of rows fitted several requests" in note for note in trace.meta.extra["notes"])


def test_a_request_with_a_cached_prefix_is_not_appended_to_one_that_is_as_long(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    held = recording(torch)
    rows = [
        (list(range(6)), list(range(6)), [6], 1),
        (list(range(100, 104)), list(range(6, 10)), [4], 1),
        ([6, 104], [6, 10], None, 2),
    ]
    choice = torch.tensor([0, 1, *[-1] * 6], dtype=torch.int32)
    held["records"] = [
        held["records"][0]
        | {
            "forward_pass_id": number,
            "input_ids": tokens,
            "positions": positions,
            "extend_seq_lens": lengths,
            "forward_mode": mode,
            "topk_ids_of_layer": choice.repeat(3, len(tokens), 1),
        }
        for number, (tokens, positions, lengths, mode) in enumerate(rows)
    ]
    torch.save(held, tmp_path / "x.pt")
    _, got, err = stored(capsys, tmp_path / "x.pt", tmp_path)
    assert got.document.tolist() == [0] * 7 + [1] * 5
    assert got.token.tolist() == [*range(7), *range(100, 105)]
    assert got.position.tolist() == [*range(7), *range(6, 11)]
    assert "1 requests begin beyond position 0" in err


def test_ranks_that_recorded_the_same_count_once(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    folder = tmp_path / "ranks"
    folder.mkdir()
    for rank in range(2):
        held = recording(torch)
        for record in held["records"]:
            record["rank"] = rank
        torch.save(held, folder / f"expert_distribution_recorder_1.5_{rank}.pt")
    trace, got, _ = stored(capsys, folder, tmp_path, "--layers", "1-2")
    assert len(got.experts) == 8
    assert any("dropped 3 passes" in note for note in trace.meta.extra["notes"])


def test_what_is_no_recording_of_tokens_is_refused(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pt"
    torch.save({"rank": 0, "logical_count": torch.zeros(2, 3, 4)}, path)
    assert "keeps counts per expert" in refused(capsys, path, tmp_path)
    held = recording(torch)
    held["records"][1]["topk_ids_of_layer"][1, 0, 0] = 5
    torch.save(held, path)
    assert "records[1], row 0: topk_ids_of_layer has ids -1 … 5 where the map knows 5" in refused(
        capsys, path, tmp_path
    )
    held = recording(torch)
    held["records"][0]["extend_seq_lens"] = [3, 3]
    torch.save(held, path)
    assert "records[0]: extend_seq_lens [3, 3] do not add up to 5" in refused(capsys, path, tmp_path)
    held = recording(torch)
    held["records"][0]["forward_mode"] = 5
    torch.save(held, path)
    assert "speculative decoding" in refused(capsys, path, tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    assert "x.pt: not a readable .pt" in refused(capsys, path, tmp_path)


def test_code_in_a_pt_is_not_run(capsys, tmp_path):
    torch = pytest.importorskip("torch")

    class Boom:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"records": [Boom()]}, tmp_path / "x.pt")
    assert "could run code" in refused(capsys, tmp_path / "x.pt", tmp_path)
    assert not (tmp_path / "executed").exists()
