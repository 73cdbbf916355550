import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.traces.importers.known import chosen, refused, stored, subsets


@pytest.fixture
def experts():
    """Twelve tokens, 2 layers, 3 of 16."""
    return chosen(np.random.default_rng(4), 12, 2, 16, 3)


TOKENS = [4, 9, 0, 5, 6, 7, 0, 8, 8, 1, 2, 3]


def lists(values, kind):
    flat = pa.array(np.asarray(values).reshape(-1).tolist(), kind)
    offsets = np.arange(0, len(flat) + 1, np.shape(values)[1])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)


def write(tmp_path, experts, iterations=(540,), scores=True, samples=(5, 7)):
    folder = tmp_path / "flame-moe-290m"
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    start = 0
    for number, size in enumerate(samples):
        part = pa.table({"token_id": pa.array(TOKENS[start : start + size], pa.int32())})
        pq.write_table(part, folder / "samples" / f"{number:03d}.parquet")
        start += size
    falling = np.tile(np.array([0.5, 0.25, 0.125], np.float16), (len(experts), 1))
    for iteration in iterations:
        where = folder / "actives" / f"iter_{iteration}"
        where.mkdir(parents=True, exist_ok=True)
        for index, layer in enumerate((2, 3)):
            columns = {"indices": lists(experts[:, index], pa.int16())}
            if scores:
                columns["scores"] = lists(falling, pa.float16())
            pq.write_table(pa.table(columns), where / f"layer_{layer:02d}.parquet", row_group_size=5)
    return folder


def test_documents_end_with_a_token(capsys, tmp_path, experts):
    folder = write(tmp_path, experts)
    trace, got, err = stored(capsys, folder, tmp_path, "--end-of-document", 0, "--n-experts", 16)
    assert "recognised as FLAME-MoE-Traces" in err
    assert trace.meta.layers == (2, 3)
    assert trace.meta.extra["iteration"] == 540
    assert np.array_equal(subsets(got.experts), subsets(experts))
    assert got.token.tolist() == TOKENS
    assert got.document.tolist() == [0] * 3 + [1] * 4 + [2] * 5
    assert got.position.tolist() == [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4]
    # The scores fall, so the first slot is the heaviest.
    assert trace.meta.slot_order == "weight"
    assert np.array_equal(got.experts[:, :, 0], experts[:, :, 0])


def test_documents_of_fixed_length_or_one(capsys, tmp_path, experts):
    folder = write(tmp_path, experts, scores=False)
    trace, got, _ = stored(capsys, folder, tmp_path, "--sequence-length", 5, "--layers", "3")
    assert got.document.tolist() == [0] * 5 + [1] * 5 + [2] * 2
    assert trace.meta.slot_order == "unknown"
    assert np.array_equal(subsets(got.experts[:, 0]), subsets(experts[:, 1]))
    (tmp_path / "b").mkdir()
    trace, got, err = stored(capsys, folder, tmp_path / "b")
    assert set(got.document.tolist()) == {0}
    assert "all tokens count as one document" in err


def test_one_of_several_checkpoints_is_chosen(capsys, tmp_path, experts):
    folder = write(tmp_path, experts, iterations=(540, 1080))
    assert "choose one with --iteration: 540, 1080" in refused(capsys, folder, tmp_path)
    assert "no iter_7; it has 540, 1080" in refused(capsys, folder, tmp_path, "--iteration", 7)
    trace, _, _ = stored(capsys, folder, tmp_path, "--iteration", 1080)
    assert trace.meta.extra["iteration"] == 1080


def test_what_is_wrong_is_named(capsys, tmp_path, experts):
    folder = write(tmp_path, experts)
    layer = folder / "actives" / "iter_540" / "layer_03.parquet"

    def said(table, *options):
        pq.write_table(table, layer)
        return refused(capsys, folder, tmp_path, "--n-experts", 16, *options)

    short = pa.table({"indices": lists(experts[:9, 1], pa.int16())})
    assert "layer_03.parquet: 9 rows where the samples have 12 tokens" in said(short)
    other = pa.table({"experts": lists(experts[:, 1], pa.int16())})
    assert "layer_03.parquet: no column indices of the right type; it has experts list" in said(other)
    pairs = pa.table({"indices": lists(experts[:, 1, :2], pa.int16())})
    assert "layer_03.parquet: k is 2, in layer_02.parquet it is 3" in said(pairs)
    rows = experts[:, 1].tolist()
    ragged = pa.table({"indices": pa.array([*rows[:11], rows[11][:2]], pa.list_(pa.int16()))})
    assert "row 11: 2 indices, before it were 3" in said(ragged)
    null = pa.table({"indices": pa.array([None, *rows[1:]], pa.list_(pa.int16()))})
    assert "row 0: indices is null" in said(null)
    twice = [*rows[:7], [3, 3, 1], *rows[8:]]
    line = said(pa.table({"indices": lists(twice, pa.int16())}), "--sequence-length", 4)
    assert "layer 3, document 1, position 3: [3, 3, 1] repeats an expert" in line
    outside = [*rows[:7], [3, 16, 1], *rows[8:]]
    assert "[3, 16, 1] is outside 0 … 15" in said(pa.table({"indices": lists(outside, pa.int16())}))
    wide = [*rows[:7], [3, 300, 1], *rows[8:]]
    assert "[3, 300, 1] is outside 0 … 15" in said(pa.table({"indices": lists(wide, pa.int16())}))
    # −200 is 56 in one byte: it must not become an expert.
    below = [*rows[:7], [3, -200, 1], *rows[8:]]
    assert "[3, -200, 1] is outside 0 … 15" in said(pa.table({"indices": lists(below, pa.int16())}))
    assert "nothing but zeros or −1 in layers 3" in said(
        pa.table({"indices": lists([[0, 0, 0]] * 12, pa.int16())})
    )
    layer.write_bytes(layer.read_bytes()[:-20])
    assert "layer_03.parquet: not a readable Parquet" in refused(capsys, folder, tmp_path)


def test_options_that_contradict_or_never_occur(capsys, tmp_path, experts):
    folder = write(tmp_path, experts)
    assert "not both" in refused(capsys, folder, tmp_path, "--end-of-document", 0, "--sequence-length", 4)
    assert "token 77 (--end-of-document) never occurs" in refused(
        capsys, folder, tmp_path, "--end-of-document", 77
    )
    assert "--layers 9 not in it; it holds 2-3" in refused(capsys, folder, tmp_path, "--layers", 9)
    assert "--stride is not used for FLAME-MoE-Traces" in refused(capsys, folder, tmp_path, "--stride", 64)
