from itertools import pairwise

import numpy as np
import pytest

from routestat.traces.importers.llama_cpp_csv import new_prompts
from tests.traces.importers.known import chosen, refused, stored, subsets


@pytest.fixture
def sorted_experts():
    """What the argsort gives: all of 16 experts for 24 tokens of 3 layers; the first 2 are the choice."""
    return np.argsort(np.random.default_rng(5).random((24, 3, 16)), axis=2).astype(np.int32)


def dump(tmp_path, rows, suffix=".npy", layers=(1, 2, 3)):
    """A folder of one file per layer from ``[token, layer, slot]``."""
    folder = tmp_path / "dump"
    folder.mkdir(exist_ok=True)
    for index, layer in enumerate(layers):
        path = folder / f"ffn_moe_topk-{layer}{suffix}"
        if suffix == ".npy":
            np.save(path, rows[:, index])
        else:
            path.write_bytes(np.ascontiguousarray(rows[:, index]).astype("<i4").tobytes())
    return folder


@pytest.mark.parametrize("suffix", [".npy", ".bin", ".i32", ".raw", ""])
def test_a_dump_of_the_choice(capsys, tmp_path, sorted_experts, suffix):
    experts = sorted_experts[..., :2]
    folder = dump(tmp_path, experts, suffix)
    trace, got, err = stored(capsys, folder, tmp_path, "--top-k", 2, "--n-experts", 16)
    assert "recognised as llama.cpp's ffn_moe_topk" in err
    assert trace.meta.layers == (1, 2, 3)
    assert np.array_equal(subsets(got.experts), subsets(experts))
    assert got.position.tolist() == list(range(24))
    assert any("count as one" in note for note in trace.meta.extra["notes"])


@pytest.mark.parametrize("suffix", [".npy", ".bin"])
def test_whole_argsort_rows_are_cut_by_the_stride(capsys, tmp_path, sorted_experts, suffix):
    folder = dump(tmp_path, sorted_experts, suffix)
    trace, got, _ = stored(capsys, folder, tmp_path, "--stride", 16, "--top-k", 2)
    assert trace.meta.routers[0].n_experts == 16
    assert np.array_equal(subsets(got.experts), subsets(sorted_experts[..., :2]))


def test_whole_argsort_rows_are_not_taken_for_choices(capsys, tmp_path, sorted_experts):
    folder = dump(tmp_path, sorted_experts)
    assert "whole argsort rows; read them with --stride 16" in refused(capsys, folder, tmp_path)
    assert "rows of 16 where --stride says 8" in refused(
        capsys, folder, tmp_path, "--stride", 8, "--top-k", 2
    )
    assert "--stride needs --top-k" in refused(capsys, folder, tmp_path, "--stride", 16)
    folder = dump(tmp_path, np.where(sorted_experts == 3, 4, sorted_experts))
    assert "are not an argsort" in refused(capsys, folder, tmp_path, "--stride", 16, "--top-k", 2)


@pytest.mark.parametrize("top_k", [2, 3])
def test_a_flat_copy_of_the_view_is_refused(capsys, tmp_path, sorted_experts, top_k):
    """tokens × k integers from the start of the view: 16 / k rows share out the 16 experts."""
    flat = sorted_experts.transpose(1, 0, 2).reshape(3, -1)[:, : 24 * top_k]
    folder = dump(tmp_path, flat.reshape(3, 24, top_k).transpose(1, 0, 2))
    line = refused(capsys, folder, tmp_path, "--top-k", top_k)
    assert "a flat copy of the argsort view" in line
    assert f"--stride 16 --top-k {top_k}" in line


def test_chance_is_not_taken_for_the_trap(capsys, tmp_path):
    """Pairs of four experts share them out by turns now and then; only a long run of that is no chance."""
    rng = np.random.default_rng(6)
    rows = np.array([[[0, 1]], [[2, 3]], [[1, 3]], [[0, 2]], *chosen(rng, 60, 1, 4, 2)])
    folder = dump(tmp_path, rows, layers=(0,))
    _, got, _ = stored(capsys, folder, tmp_path, "--n-experts", 4)
    assert np.array_equal(subsets(got.experts), subsets(rows))
    np.save(folder / "ffn_moe_topk-0.npy", np.tile([[0, 1], [2, 3]], (30, 1)))
    assert "a flat copy" in refused(capsys, folder, tmp_path / "again")


def test_a_pruned_last_layer_is_named_and_can_be_left_out(capsys, tmp_path, sorted_experts):
    folder = dump(tmp_path, sorted_experts[..., :2])
    np.save(folder / "ffn_moe_topk-3.npy", sorted_experts[:1, 2, :2])
    line = refused(capsys, folder, tmp_path)
    assert "layer 3 is [1, 2], layer 1 [24, 2]; the last layer is evaluated only where logits" in line
    trace, _, _ = stored(capsys, folder, tmp_path, "--layers", "1-2")
    assert trace.meta.layers == (1, 2)


def test_what_is_wrong_with_a_dump_is_named(capsys, tmp_path, sorted_experts):
    experts = sorted_experts[..., :2].copy()
    folder = dump(tmp_path, experts, ".bin")
    assert "give the number per row with --top-k" in refused(capsys, folder, tmp_path)
    assert "48 integers are no multiple of the row of 5" in refused(capsys, folder, tmp_path, "--top-k", 5)
    (folder / "ffn_moe_topk-2.bin").write_bytes(b"123")
    assert "ffn_moe_topk-2.bin: 3 bytes are no whole number" in refused(
        capsys, folder, tmp_path, "--top-k", 2
    )
    (folder / "ffn_moe_topk-2.bin").unlink()
    # 65,543 is 7 in two bytes: it must not become an expert.
    experts[5, 1] = [65_543, 3]
    assert "[65543, 3] is outside 0 … 15" in refused(
        capsys, dump(tmp_path, experts), tmp_path, "--layers", "1-3", "--n-experts", 16
    )
    assert "an id of 65543: no router has so many" in refused(capsys, tmp_path / "dump", tmp_path)
    experts[5, 1] = [7, 7]
    folder = dump(tmp_path, experts)
    line = refused(capsys, folder, tmp_path, "--layers", "1-3")
    assert "layer 2, document 0, position 5: [7, 7] repeats an expert" in line
    assert "--layers 0 not in it; it holds 1-3" in refused(capsys, folder, tmp_path, "--layers", "0-2")
    np.save(folder / "ffn_moe_topk-2.npy", experts[:, 1].astype(np.float32))
    assert "ffn_moe_topk-2.npy: expected integers of 2 axes, got float32 [24, 2]" in refused(
        capsys, folder, tmp_path
    )


def trace_csv(path, ubatches, head="layer,expert\n"):
    """Lines of moe-trace: per ubatch and layer the choices of all its tokens."""
    lines = [
        f"{layer},{e}\n" for ubatch in ubatches for layer, rows in ubatch.items() for e in np.ravel(rows)
    ]
    path.write_text(head + "".join(lines))
    return path


def test_a_moe_trace_csv(capsys, tmp_path, sorted_experts):
    experts = sorted_experts[:8, :2, :2]
    # A prompt of six tokens in ubatches of four and two, then two single ones.
    cuts = [slice(0, 4), slice(4, 6), slice(6, 7), slice(7, 8)]
    ubatches = [{1: experts[cut, 0], 2: experts[cut, 1]} for cut in cuts]
    for head in ("layer,expert\n", ""):
        path = trace_csv(tmp_path / "moe_trace.csv", ubatches, head)
        where = tmp_path / f"with{len(head)}"
        where.mkdir()
        trace, got, err = stored(capsys, path, where, "--top-k", 2, "--n-experts", 16)
        assert "llama.cpp" in err
        assert trace.meta.layers == (1, 2)
        assert np.array_equal(subsets(got.experts), subsets(experts))
        assert got.decode.tolist() == [False] * 6 + [True] * 2


def test_a_csv_whose_last_layer_was_pruned(capsys, tmp_path, sorted_experts):
    experts = sorted_experts[..., :2]
    ubatches = [
        {1: experts[:4, 0], 2: experts[:4, 1], 3: experts[3:4, 2]},
        {1: experts[4, 0], 2: experts[4, 1], 3: experts[4, 2]},
    ]
    path = trace_csv(tmp_path / "x.csv", ubatches)
    assert "in ubatch 0 (line 2) layer 3 has 1 tokens, layer 1 has 4" in refused(
        capsys, path, tmp_path, "--top-k", 2
    )
    _, got, _ = stored(capsys, path, tmp_path, "--top-k", 2, "--layers", "1-2", "--n-experts", 16)
    assert np.array_equal(subsets(got.experts), subsets(experts[:5, :2]))
    assert got.decode.tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("head", ["layer,expert\n", ""])
def test_joined_files_are_cut_where_a_new_prompt_begins(capsys, tmp_path, sorted_experts, head):
    experts = sorted_experts[:, :2, :2]
    # Ubatches of four: prompts of six and two answers, of five and one, of eight without an answer, of three.
    sizes = [4, 2, 1, 1, 4, 1, 1, 4, 4, 3]
    bounds = np.cumsum([0, *sizes])
    ubatches = [{1: experts[a:b, 0], 2: experts[a:b, 1]} for a, b in pairwise(bounds) if b <= 24]
    path = trace_csv(tmp_path / "x.csv", ubatches, head)
    _, got, err = stored(capsys, path, tmp_path, "--top-k", 2, "--n-experts", 16)
    # The prompt of eight follows what looks like two answers; 4, 4 and then 3 may be one prompt of eleven.
    assert np.flatnonzero(np.diff(got.document)).tolist() == [7, 13]
    assert got.position[:8].tolist() == list(range(8))
    assert got.decode.tolist() == [False] * 6 + [True] * 2 + [False] * 4 + [True] * 2 + [False] * 8
    assert "cut into 3 documents" in err
    assert "count as one" not in err


def test_a_header_inside_begins_a_prompt_whatever_the_sizes(capsys, tmp_path, sorted_experts):
    experts = sorted_experts[..., :2]
    one = trace_csv(tmp_path / "a.csv", [{1: experts[:4, 0], 2: experts[:4, 1]}]).read_text()
    (tmp_path / "x.csv").write_text(one + one.replace("\n", "\r\n") + "\n" + one + "1,x\n")
    assert "line 53: not layer,expert" in refused(capsys, tmp_path / "x.csv", tmp_path, "--top-k", 2)
    (tmp_path / "x.csv").write_text(one + one.replace("\n", "\r\n") + "\n" + one)
    _, got, err = stored(capsys, tmp_path / "x.csv", tmp_path, "--top-k", 2, "--n-experts", 16)
    assert np.bincount(got.document).tolist() == [4, 4, 4]
    assert "2 of them by a second header" in err
    assert np.array_equal(subsets(got.experts[4:8]), subsets(experts[:4, :2]))


def test_sequences_decoded_side_by_side_are_not_cut():
    assert not new_prompts(np.array([100, 4, 4, 4, 4]), np.zeros(5, bool)).any()
    assert np.flatnonzero(new_prompts(np.array([4, 2, 512, 40, 512]), np.zeros(5, bool))).tolist() == [2, 4]


def test_what_is_wrong_with_a_csv_is_named(capsys, tmp_path, sorted_experts):
    experts = sorted_experts[:4, :, :2]
    path = trace_csv(tmp_path / "x.csv", [{1: experts[:, 0], 2: experts[:, 1]}])
    assert "give the number per token with --top-k" in refused(capsys, path, tmp_path)
    assert "line 2: 8 lines of layer 1 are no multiple of --top-k 3" in refused(
        capsys, path, tmp_path, "--top-k", 3
    )
    path.write_text("layer,expert\n1,2\n1,x\n")
    assert "line 3: not layer,expert" in refused(capsys, path, tmp_path, "--top-k", 1)
    path.write_text("phase,token,layer,rank,expert\n")
    assert "the first line must be layer,expert, got 'phase" in refused(
        capsys, path, tmp_path, "--format", "llama-cpp", "--top-k", 1
    )


def test_an_importance_matrix_holds_no_choices(capsys, tmp_path):
    (tmp_path / "imatrix.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(80))
    assert "sums and counts per expert; what a token chose is not in it" in refused(
        capsys, tmp_path / "imatrix.gguf", tmp_path
    )
