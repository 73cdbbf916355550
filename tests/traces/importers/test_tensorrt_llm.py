import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.traces.importers.known import chosen, refused, stored, subsets

LAYERS = (3, 4, 5)


@pytest.fixture
def passes():
    """Three iterations of 6, 4 and 4 tokens in layers 3 to 5, 2 of 8."""
    rng = np.random.default_rng(11)
    return {number: chosen(rng, n, 3, 8, 2) for number, n in ((100, 6), (101, 4), (102, 4))}


def tensors(passes, layers=LAYERS):
    return {
        f"{number}_{layer}": np.ascontiguousarray(rows[:, LAYERS.index(layer)])
        for number, rows in passes.items()
        for layer in layers
    }


def save(folder, meta=None, **ranks):
    folder.mkdir(exist_ok=True)
    for name, held in ranks.items():
        save_file(held, folder / f"{name}.safetensors")
    if meta is not None:
        (folder / "meta_info.json").write_text(json.dumps(meta))
    return folder


META = {"num_experts": 8, "num_experts_per_token": 2}


def test_one_rank_is_a_document_an_iteration_and_one_cluster(capsys, tmp_path, passes):
    path = save(tmp_path / "s", META, rank0_raw=tensors(passes))
    trace, got, err = stored(capsys, path, tmp_path)
    assert "recognised as TensorRT-LLM's raw expert statistic" in err
    assert "neighbouring rows need not be of one text" in err
    assert "--cluster iteration" in err
    assert trace.meta.layers == LAYERS
    assert trace.meta.engine == "tensorrt-llm"
    assert trace.meta.routers[0].n_experts == 8
    assert got.document.tolist() == [0] * 6 + [1] * 4 + [2] * 4
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate(list(passes.values()))))
    assert trace.documents.column("name").to_pylist() == [
        f"rank 0 iteration {number}" for number in (100, 101, 102)
    ]
    assert len(set(trace.documents.column("cluster").to_pylist())) == 1


def test_iterations_may_be_said_to_be_independent(capsys, tmp_path, passes):
    path = save(tmp_path / "s", META, rank0_raw=tensors(passes))
    trace, _, err = stored(capsys, path, tmp_path, "--cluster", "iteration")
    assert "--cluster iteration" not in err
    assert len(set(trace.documents.column("cluster").to_pylist())) == 3


def test_a_single_file_is_read_with_the_facts_beside_it(capsys, tmp_path, passes):
    path = save(tmp_path / "s", META, rank1_raw=tensors(passes)) / "rank1_raw.safetensors"
    trace, got, _ = stored(capsys, path, tmp_path)
    assert trace.documents.column("rank").to_pylist() == [1, 1, 1]
    assert np.array_equal(subsets(got.experts[:6]), subsets(passes[100]))


def test_equal_ranks_are_one_and_others_are_clusters(capsys, tmp_path, passes):
    """Of rank 1 a tie fell apart, rank 2 routes other tokens, rank 3 was stopped before the last iteration."""
    flipped = {number: rows.copy() for number, rows in passes.items()}
    flipped[101][2, 1] = [6, 7] if set(flipped[101][2, 1]) != {6, 7} else [0, 1]
    other = {number: chosen(np.random.default_rng(12), len(rows), 3, 8, 2) for number, rows in passes.items()}
    part = {number: passes[number] for number in (100, 101)}
    path = save(
        tmp_path / "s",
        META,
        rank0_raw=tensors(passes),
        rank1_raw=tensors(flipped),
        rank2_raw=tensors(other),
        rank3_raw=tensors(part),
    )
    trace, got, err = stored(capsys, path, tmp_path)
    assert "dropped ranks 1, 3: they hold the tokens of another rank; 1 of their rows differ" in err
    assert trace.documents.column("rank").to_pylist() == [0, 0, 0, 2, 2, 2]
    assert np.array_equal(subsets(got.experts[14:]), subsets(np.concatenate(list(other.values()))))
    assert len(set(trace.documents.column("cluster").to_pylist())) == 2


def test_ranks_of_a_collapsed_router_are_not_taken_for_one(capsys, tmp_path):
    """Where nearly all tokens take the same experts, ranks with other tokens agree in nearly all rows."""
    ranks = {}
    for rank in range(2):
        rows = np.tile(np.array([0, 1], np.int32), (300, 3, 1))
        rows[rank * 5 :: 40] = [2, 3]
        ranks[f"rank{rank}_raw"] = tensors({100: rows})
    trace, _, err = stored(capsys, save(tmp_path / "s", META, **ranks), tmp_path)
    assert "dropped ranks" not in err
    assert trace.documents.column("rank").to_pylist() == [0, 1]


def test_pipeline_stages_are_joined(capsys, tmp_path, passes):
    path = save(tmp_path / "s", META, rank0_raw=tensors(passes, (3,)), rank1_raw=tensors(passes, (4, 5)))
    trace, got, err = stored(capsys, path, tmp_path)
    assert "joined as pipeline stages" in err
    assert trace.meta.layers == LAYERS
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate(list(passes.values()))))


def test_raw_tensors_under_other_names(capsys, tmp_path, passes):
    counts = {key: np.bincount(rows.ravel(), minlength=8) for key, rows in tensors(passes).items()}
    pairs = {key: np.ones((8, 8), np.int64) for key in counts}
    path = save(
        tmp_path / "s",
        META,
        token_selected_experts_rank4=tensors(passes),
        rank4=counts,
        cooccurrence_rank4=pairs,
    )
    trace, got, _ = stored(capsys, path, tmp_path)
    assert trace.documents.column("rank").to_pylist() == [4, 4, 4]
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate(list(passes.values()))))


def test_a_layer_without_a_tensor_is_missing_there(capsys, tmp_path, passes):
    held = tensors(passes)
    del held["101_4"]
    _, got, err = stored(capsys, save(tmp_path / "s", META, rank0_raw=held), tmp_path)
    assert "rank 0: in 1 iterations a layer has no tensor: missing there" in err
    assert (got.experts[6:10, 1] == -1).all()
    assert np.array_equal(subsets(got.experts[6:10, 0]), subsets(passes[101][:, 0]))


def test_an_idle_iteration_has_no_document(capsys, tmp_path, passes):
    path = save(tmp_path / "s", META, rank0_raw=tensors(passes | {103: passes[100][:0]}))
    trace, _, _ = stored(capsys, path, tmp_path)
    assert trace.documents.num_rows == 3


def cases(passes):
    good = tensors(passes)
    short = good | {"100_4": good["100_4"][:-1]}
    counts = {key: np.bincount(rows.ravel(), minlength=8) for key, rows in good.items()}
    wide = good | {"101_3": np.tile(np.arange(3, dtype=np.int32), (4, 1))}
    outside = good | {"102_5": np.full((4, 2), (1, 9), np.int32)}
    return {
        "unequal": ({"rank0_raw": short}, "100_4 has 5 tokens, 100_3 has 6"),
        "floats": (
            {"rank0_raw": good | {"100_3": np.ones((6, 2), np.float32)}},
            "100_3 [tokens, k]: expected",
        ),
        "name": ({"rank0_raw": good | {"layer": good["100_3"]}}, "a tensor called 'layer'"),
        "k": ({"rank0_raw": wide}, "rows of 2 and 3 ids; meta_info.json says num_experts_per_token 2"),
        "id": (
            {"rank0_raw": outside},
            "layer 5, document rank 0 iteration 102, position 0: [1, 9] is outside",
        ),
        "twice": ({"rank0_raw": good | {"0100_3": good["100_3"]}}, "is of the same iteration and layer"),
        "overlap": (
            {"rank0_raw": tensors(passes, (3, 4)), "rank1_raw": tensors(passes, (4, 5))},
            "neither the same layers nor different ones (rank 0: 3-4; rank 1: 4-5)",
        ),
        "stages": (
            {"rank0_raw": tensors(passes, (3,)), "rank1_raw": tensors({100: passes[100]}, (4, 5))},
            "not stages of one pipeline",
        ),
        "raw-counts": ({"rank0_raw": counts}, "counts per expert only (TensorRT-LLM's"),
        "counts": ({"rank0": counts, "rank1": counts}, "counts per expert only (TensorRT-LLM's"),
        "nothing": ({"rank0_raw": {"100_3": np.zeros((0, 2), np.int32)}}, "no tokens in it"),
    }


NAMES = [
    "unequal",
    "floats",
    "name",
    "k",
    "id",
    "twice",
    "overlap",
    "stages",
    "raw-counts",
    "counts",
    "nothing",
]


@pytest.mark.parametrize("case", NAMES)
def test_what_is_wrong_is_named(capsys, tmp_path, passes, case):
    ranks, message = cases(passes)[case]
    assert message in refused(capsys, save(tmp_path / "s", META, **ranks), tmp_path)


def test_unequal_layers_are_left_out_by_name(capsys, tmp_path, passes):
    held = tensors(passes)
    held["100_4"] = held["100_4"][:-1]
    trace, got, _ = stored(capsys, save(tmp_path / "s", META, rank0_raw=held), tmp_path, "--layers", "3,5")
    assert trace.meta.layers == (3, 5)
    assert np.array_equal(subsets(got.experts[:6]), subsets(passes[100][:, [0, 2]]))


def test_the_counts_beside_the_raw_tensors_are_left_alone(capsys, tmp_path, passes):
    counts = {key: np.bincount(rows.ravel(), minlength=8) for key, rows in tensors(passes).items()}
    path = save(tmp_path / "s", META, rank0=counts, rank0_raw=tensors(passes))
    trace, _, _ = stored(capsys, path, tmp_path)
    assert trace.n_tokens == 14


def test_a_file_of_counts_is_refused_with_the_reason(capsys, tmp_path, passes):
    counts = {key: np.bincount(rows.ravel(), minlength=8) for key, rows in tensors(passes).items()}
    path = save(tmp_path / "s", META, rank0=counts)
    for one in (path, path / "rank0.safetensors", path / "meta_info.json"):
        line = refused(capsys, one, tmp_path)
        assert "counts per expert only" in line
        assert "balance and placement" in line
        assert "rank*_raw.safetensors" in line


def test_routed_experts_may_be_called_after_their_rank(capsys, tmp_path):
    rows = chosen(np.random.default_rng(15), 9, 4, 16, 3)
    path = save(tmp_path / "s", rank0={"request 7": rows}, rank1={"request 8": rows[:4]})
    trace, _, _ = stored(capsys, path, tmp_path, "--n-experts", 16)
    assert trace.documents.column("name").to_pylist() == ["rank0 request 7", "rank1 request 8"]


def test_a_damaged_file_is_one_line(capsys, tmp_path, passes):
    path = save(tmp_path / "s", META, rank0_raw=tensors(passes)) / "rank0_raw.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    assert "rank0_raw.safetensors: not a readable .safetensors" in refused(
        capsys, path, tmp_path, "--format", "tensorrt-llm"
    )


def test_routed_experts_of_completions(capsys, tmp_path):
    """int16, a row less than tokens, −1 where the engine has none."""
    rows = chosen(np.random.default_rng(13), 9, 4, 16, 3).astype(np.int16)
    rows[2] = -1
    np.savez(tmp_path / "x.npz", a=rows, b=rows[:5])
    trace, got, _ = stored(
        capsys, tmp_path / "x.npz", tmp_path, "--format", "tensorrt-llm", "--n-experts", 16
    )
    assert trace.meta.engine == "tensorrt-llm"
    assert got.document.tolist() == [0] * 9 + [1] * 5
    assert np.array_equal(subsets(got.experts[:9]), subsets(rows))


def test_completions_in_a_pt(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    rows = chosen(np.random.default_rng(14), 9, 4, 16, 3).astype(np.int16)
    good = {
        "routed_experts": torch.tensor(rows),
        "prompt_token_ids": [1, 2, 3, 4, 5, 6],
        "token_ids": [7, 8, 9, 10],
    }
    torch.save([good, {"routed_experts": None, "finish_reason": "error"}], tmp_path / "x.pt")
    line = refused(capsys, tmp_path / "x.pt", tmp_path, "--format", "tensorrt-llm")
    assert "x.pt: 1: the request did not end (error); --skip-failed leaves such records out" in line
    _, got, err = stored(
        capsys, tmp_path / "x.pt", tmp_path, "--format", "tensorrt-llm", "--skip-failed", "--n-experts", 16
    )
    assert "left out 1 of 2 records without routing (--skip-failed)" in err
    assert np.array_equal(subsets(got.experts), subsets(rows))
    assert got.token.tolist() == list(range(1, 10))
    assert got.decode.tolist() == [False] * 6 + [True] * 3


def test_swapped_axes_are_questioned(capsys, tmp_path):
    rows = chosen(np.random.default_rng(16), 40, 4, 16, 3)
    save_file({"a": rows.transpose(1, 0, 2).copy()}, tmp_path / "x.safetensors")
    line = refused(capsys, tmp_path / "x.safetensors", tmp_path, "--n-experts", 16)
    assert "more layers (40) than tokens (4); give the order" in line
    _, got, _ = stored(
        capsys, tmp_path / "x.safetensors", tmp_path, "--n-experts", 16, "--axes", "layers,tokens,k"
    )
    assert np.array_equal(subsets(got.experts), subsets(rows))
