import json

import numpy as np
import pytest

from tests.traces.importers.known import chosen, refused, stored, subsets


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def lines(experts, step=0, rank=0, layers=(2, 3), **changes):
    """The lines of one pass, ``[token, layer, slot]``."""
    return [
        {
            "step": step,
            "stage": "pre_dispatch",
            "block": "decoder",
            "layer": layer,
            "rank": rank,
            "num_tokens": len(experts),
            "topk": experts.shape[2],
            "top_indices": experts[:, i].tolist(),
            **changes,
        }
        for i, layer in enumerate(layers)
    ]


def write(folder, rank, records):
    folder.mkdir(exist_ok=True)
    path = folder / f"router_trace_rank{rank}.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_step_of_a_rank_is_a_document(capsys, tmp_path, rng):
    parts = [chosen(rng, n, 2, 8, 2) for n in (5, 4, 6, 3)]
    folder = tmp_path / "d"
    # Rank 0 has two micro-batches in step 0; a line of the MTP block is left out.
    mtp = {**lines(parts[0])[0], "block": "mtp", "mtp_idx": 0}
    write(folder, 0, [*lines(parts[0]), mtp, *lines(parts[1]), *lines(parts[2], step=1)])
    write(folder, 1, lines(parts[3], rank=1))
    trace, got, err = stored(capsys, folder, tmp_path, "--n-experts", 8)
    assert "recognised as Megatron-LM's router trace" in err
    assert trace.meta.layers == (2, 3)
    assert trace.meta.extra["unit"] == "step and rank"
    assert got.document.tolist() == [0] * 9 + [1] * 3 + [2] * 6
    assert got.position.tolist() == [*range(9), *range(3), *range(6)]
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate([parts[i] for i in (0, 1, 3, 2)])))
    assert trace.documents.column("name").to_pylist() == ["step 0 rank 0", "step 0 rank 1", "step 1 rank 0"]
    assert any("1 lines of other blocks" in note for note in trace.meta.extra["notes"])


def test_sequences_are_taken_out_of_the_flattened_batch(capsys, tmp_path, rng):
    """Two sequences of four tokens lie [sequence, batch] flattened: rows 0, 2, 4, 6 are the first."""
    experts = chosen(rng, 8, 2, 8, 2)
    path = write(tmp_path / "d", 0, lines(experts))
    trace, got, _ = stored(capsys, path, tmp_path, "--sequence-length", 4, "--n-experts", 8)
    assert got.document.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(subsets(got.experts), subsets(experts[[0, 2, 4, 6, 1, 3, 5, 7]]))
    assert trace.documents.column("name").to_pylist()[1] == "step 0 rank 0 pass 0 sequence 1"
    assert "8 rows are no multiple of --sequence-length 3" in refused(
        capsys, path, tmp_path / "again", "--sequence-length", 3
    )


def test_repeats_count_once_and_padding_is_missing(capsys, tmp_path, rng):
    experts = chosen(rng, 5, 2, 8, 2)
    labels = ["a", "b", None, "c", "d"]
    folder = tmp_path / "d"
    # Recomputation runs the pass again, and rank 1 is tensor-parallel with rank 0.
    write(folder, 0, [*lines(experts, semantic_token_ids=labels), *lines(experts, semantic_token_ids=labels)])
    write(folder, 1, lines(experts, rank=1, semantic_token_ids=labels))
    trace, got, _ = stored(capsys, folder, tmp_path, "--n-experts", 8)
    assert len(got.experts) == 5
    assert (got.experts[2] == -1).all()
    assert any("dropped 2 passes" in note for note in trace.meta.extra["notes"])


def test_pipeline_stages_are_joined(capsys, tmp_path, rng):
    a, b = chosen(rng, 5, 4, 8, 2), chosen(rng, 5, 4, 8, 2)
    folder = tmp_path / "d"
    for rank, part, layers in (
        (0, a[:, :2], (0, 1)),
        (1, b[:, :2], (0, 1)),
        (2, a[:, 2:], (2, 3)),
        (3, b[:, 2:], (2, 3)),
    ):
        write(folder, rank, lines(part, rank=rank, layers=layers))
    trace, got, _ = stored(capsys, folder, tmp_path, "--n-experts", 8)
    assert trace.meta.layers == (0, 1, 2, 3)
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate([a, b])))


def test_ranks_that_are_not_there_are_noted(capsys, tmp_path, rng):
    write(tmp_path / "d", 1, lines(chosen(rng, 5, 2, 8, 2), rank=1))
    write(tmp_path / "d", 3, lines(chosen(rng, 5, 2, 8, 2), rank=3))
    _, _, err = stored(capsys, tmp_path / "d", tmp_path, "--n-experts", 8)
    assert "ranks 0, 2 are not in it; were files left out?" in err


def test_layers_are_picked_by_their_number(capsys, tmp_path, rng):
    experts = chosen(rng, 5, 2, 8, 2)
    path = write(tmp_path / "d", 0, lines(experts))
    trace, got, _ = stored(capsys, path, tmp_path, "--layers", "3", "--n-experts", 8)
    assert trace.meta.layers == (3,)
    assert np.array_equal(subsets(got.experts[:, 0]), subsets(experts[:, 1]))
    assert "--layers 4 not in it; it holds 2 layers, 2-3" in refused(
        capsys, path, tmp_path / "n", "--layers", "3-4"
    )


def test_what_is_wrong_is_named(capsys, tmp_path, rng):
    experts = chosen(rng, 5, 2, 8, 2)
    good = lines(experts)

    def said(*records, **more):
        path = write(tmp_path / "d", 0, records)
        return refused(capsys, path, tmp_path, "--n-experts", 8)

    assert "line 2: top_indices is [4, 2] where num_tokens, topk say [5, 2]" in said(
        good[0], good[1] | {"top_indices": experts[:4, 1].tolist()}
    )
    assert "layer 2 has 5 rows, layer 3 has 4" in said(
        good[0], good[1] | {"num_tokens": 4, "top_indices": experts[:4, 1].tolist()}
    )
    assert "step 1, rank 0: layers 2, elsewhere 2-3; was it cut off?" in said(*good, good[0] | {"step": 1})
    assert "line 1: step must be a whole number" in said({**good[0], "step": "0"}, good[1])
    assert "line 3: stages mix" in said(*good, good[0] | {"stage": "post_dispatch"})
    assert "line 3: top_indices is [5, 2] where num_tokens, topk say [5, 1]" in said(
        *good, good[0] | {"topk": 1}
    )
    one = {"topk": 1, "top_indices": experts[:, 0, :1].tolist()}
    assert "line 3: topk is 1, before it was 2" in said(*good, good[0] | one)
    twice = experts.copy()
    twice[3, 1] = [6, 6]
    assert "layer 3, document step 0 rank 0, position 3: [6, 6] repeats" in said(*lines(twice))
    twice[3, 1] = [8, 1]
    assert "layer 3, document step 0 rank 0, position 3: [8, 1] is outside 0 … 7" in said(*lines(twice))
    assert "nothing but zeros or −1 in layers 3" in said(good[0], good[1] | {"top_indices": [[0, 0]] * 5})


def test_a_folder_without_traces_and_ranks_that_do_not_fit(capsys, tmp_path, rng):
    experts = chosen(rng, 5, 3, 8, 2)
    (tmp_path / "d").mkdir()
    line = refused(capsys, tmp_path / "d", tmp_path, "--format", "megatron")
    assert "no router_trace_rank*.jsonl here" in line
    write(tmp_path / "d", 0, lines(experts[:, :2], layers=(0, 1)))
    write(tmp_path / "d", 1, lines(experts[:, 1:], rank=1, layers=(1, 2)))
    assert "ranks hold layers 0-1 and 1-2: neither the same nor pipeline stages" in refused(
        capsys, tmp_path / "d", tmp_path
    )


def ranks_of(folder, texts, ranks, batch=1):
    """Sequence parallelism: each of the ranks holds [sequence / ranks, batch] of every micro-batch, flattened."""
    per_rank = [[] for _ in range(ranks)]
    for step in range(0, len(texts), batch):
        flat = np.stack(texts[step : step + batch], axis=1)
        for rank, part in enumerate(np.split(flat, ranks)):
            per_rank[rank] += lines(part.reshape(-1, *flat.shape[2:]), step=step, rank=rank)
    for rank, records in enumerate(per_rank):
        write(folder, rank, records)
    return folder


def test_parts_of_sequences_are_noted_and_joined_where_the_user_says_so(capsys, tmp_path, rng):
    texts = [chosen(rng, 12, 2, 8, 2) for _ in range(6)]
    folder = ranks_of(tmp_path / "d", texts, 2)
    (tmp_path / "a").mkdir()
    _, got, err = stored(capsys, folder, tmp_path / "a", "--n-experts", 8)
    assert len(got.documents["document"]) == 12
    assert "would hold a part of every sequence" in err
    assert "--sequence-parallel N" in err
    trace, got, err = stored(capsys, folder, tmp_path, "--n-experts", 8, "--sequence-parallel", 2)
    assert np.bincount(got.document).tolist() == [12] * 6
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate(texts)))
    assert trace.documents.column("name")[0].as_py() == "step 0 ranks 0 to 1"
    assert "would hold a part" not in err


@pytest.mark.parametrize(("ranks", "batch"), [(2, 1), (3, 2), (4, 3)])
def test_the_length_of_a_sequence_says_which_ranks_belong_together(capsys, tmp_path, rng, ranks, batch):
    texts = [chosen(rng, 12, 2, 8, 2) for _ in range(2 * batch)]
    folder = ranks_of(tmp_path / "d", texts, ranks, batch)
    said = [] if (ranks, batch) == (2, 1) else ["--sequence-parallel", ranks]
    _, got, err = stored(capsys, folder, tmp_path, "--n-experts", 8, "--sequence-length", 12, *said)
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate(texts)))
    assert ("2 neighbouring ranks were joined" in err) == (not said)


def test_ranks_that_hold_no_parts_of_the_same_sequences_are_named(capsys, tmp_path, rng):
    folder = tmp_path / "d"
    for rank, n in enumerate((6, 6, 5)):
        write(folder, rank, lines(chosen(rng, n, 2, 8, 2), rank=rank))
    assert "3 ranks (0-2) are no multiple of --sequence-parallel 2" in refused(
        capsys, folder, tmp_path, "--sequence-parallel", 2
    )
    assert "rank 2 has other numbers of tokens than rank 0" in refused(
        capsys, folder, tmp_path, "--sequence-parallel", 3
    )
    _, _, err = stored(capsys, folder, tmp_path, "--n-experts", 8)
    assert "would hold a part" not in err
    texts = [chosen(rng, 24, 2, 8, 2) for _ in range(2)]
    folder = ranks_of(tmp_path / "e", texts, 4, 2)
    (tmp_path / "f").mkdir()
    assert "2 or 4 together do: give the number with --sequence-parallel" in refused(
        capsys, folder, tmp_path / "f", "--sequence-length", 24
    )
